"""nstrace follow as a user runs it: a process whose JSON lines are read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

DEADLINE_S = 30.0
Event = dict[str, Any]


def lost(events: list[Event]) -> int:
    return sum(event["lost"] for event in events if event["event"] == "gap")


def alive(events: list[Event]) -> list[Event]:
    """The last event of each process that lives, as far as they tell."""
    found: dict[str, Event] = {}
    for event in events:
        if event["event"] == "exit":
            found.pop(event["proc_id"], None)
        elif event.get("state") == "Z":
            pass  # its exit was before the first event
        elif "proc_id" in event:
            found[event["proc_id"]] = event
    return list(found.values())


class Following:
    """Runs `nstrace follow --json TARGET...`; `stop` ends it and gives all events. stderr_to: a file in place of a
    pipe, for `said`. prefix: what runs it."""

    def __init__(self, *args: str, stderr_to: Path | None = None, prefix: Sequence[str] = ()) -> None:
        self._out = tempfile.NamedTemporaryFile("rb", suffix=".jsonl")  # noqa: SIM115 - closed in __exit__
        argv = [*prefix, sys.executable, "-m", "tracer", "follow", "--json", *args]
        self._err = stderr_to
        with Path(self._out.name).open("wb") as out, ExitStack() as stack:
            err = stack.enter_context(stderr_to.open("wb")) if stderr_to else subprocess.PIPE
            env = os.environ | {"PYTHONFAULTHANDLER": "1"}
            self.process = subprocess.Popen(argv, stdout=out, stderr=err, env=env)
        self.stderr = ""
        self._events: list[Event] = []
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        if self.process.stderr and not self.process.stderr.closed:
            self.process.communicate()
        self._out.close()

    def events(self) -> list[Event]:
        """All events so far; a line that is not whole yet is left out."""
        *lines, self._rest = (self._rest + self._out.read()).split(b"\n")
        self._events += map(json.loads, lines)
        return list(self._events)

    def until(self, wanted: Callable[[list[Event]], bool]) -> list[Event]:
        """Wait until the events so far are as wanted."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            if wanted(events := self.events()):
                return events
            assert self.process.poll() is None, self.ended()
            time.sleep(0.02)
        raise AssertionError(f"not within {DEADLINE_S} s; last: {self.events()[-3:]}")

    def output(self) -> bytes:
        """All that it has printed."""
        return Path(self._out.name).read_bytes()

    def said(self) -> str:
        """All that it has said on stderr, with stderr_to."""
        assert self._err
        return self._err.read_text()

    def ended(self) -> str:
        """Wait for its end; all that it has said."""
        try:
            stderr = self.process.communicate(timeout=DEADLINE_S)[1]
        except subprocess.TimeoutExpired:
            raise AssertionError(f"does not end: {self._where_it_is()}") from None
        return self.said() if stderr is None else stderr.decode()

    def _where_it_is(self) -> str:
        """What it and its children do in the kernel, and its lines of Python, of which SIGABRT makes it tell."""
        pid = self.process.pid
        found = []
        for each in [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]:
            for name in ("status", "wchan", "syscall", "stack"):
                with suppress(OSError):
                    found.append(f"/proc/{each}/{name}: {Path(f'/proc/{each}/{name}').read_text()}")
        self.process.send_signal(signal.SIGABRT)
        stderr = self.process.communicate(timeout=DEADLINE_S)[1]
        return "\n".join([*found, self.said() if stderr is None else stderr.decode()])

    def ready(self) -> Self:
        """Wait until the processes that are there have been shown."""
        self.until(lambda events: any(event["event"] == "snapshot" for event in events))
        return self

    def stop(self) -> list[Event]:
        """Ctrl-C; everything that came."""
        self.process.send_signal(signal.SIGINT)
        self.stderr = self.ended()
        assert self.process.returncode == 0, self.stderr
        return self.events()
