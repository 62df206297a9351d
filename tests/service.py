"""An agent of a test's own: nstrace agent with a folder and a configuration, which tells us what it tells systemd."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

DEADLINE_S = 60.0
NSTRACE = [sys.executable, "-m", "tracer"]


class Agent:
    """An agent with a configuration and a folder of its own, which tells us what it would tell systemd."""

    def __init__(self, folder: Path, record: str = "", more: str = "", targets: str = "host") -> None:
        self.config, self.store = folder / "agent.toml", folder / "store"
        self._targets = targets
        self.configure(record, more)
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notified.bind(str(folder / "notify"))
        self.env = os.environ | {"NSTRACE_AGENT_CONFIG": str(self.config), "NOTIFY_SOCKET": str(folder / "notify")}
        self.stderr = folder / "stderr"
        self.stderr.touch()
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, record: str, more: str = "") -> None:
        lines = f'targets = "{self._targets}"\nfolder = "{self.store}"\nmin_free = "0B"'
        self.config.write_text(f"[record]\n{lines}\n{record}\n{more}\n")

    def __enter__(self) -> Self:
        return self.start()

    def start(self) -> Self:
        with self.stderr.open("ab") as err:
            self.process = subprocess.Popen([*NSTRACE, "agent"], env=self.env, stderr=err)
        self.hear("READY=1")
        return self

    def hear(self, assignment: str) -> None:
        """Wait until it says so."""
        assert self.process
        self._notified.settimeout(0.2)
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until and self.process.poll() is None:
            with suppress(TimeoutError):
                if assignment in self._notified.recv(4096).decode().splitlines():
                    return
        raise AssertionError(f"{assignment} was not said: {self.said}")

    @property
    def said(self) -> str:
        return self.stderr.read_text()

    def children(self) -> list[int]:
        assert self.process
        return below(self.process.pid)

    def kill(self) -> None:
        """As a machine that loses its power: all processes at once."""
        assert self.process
        for pid in (self.process.pid, *self.children()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        assert self.process
        self.process.terminate()
        return self.process.wait(60)

    def __exit__(self, *_: object) -> None:
        if self.process and self.process.poll() is None:
            self.stop()
        self._notified.close()

    def write_now(self) -> None:
        """Have it write what has happened until now."""
        assert self.process
        self.process.send_signal(signal.SIGUSR1)

    def ask(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*NSTRACE, *args], env=self.env, capture_output=True, text=True, timeout=60)

    def rows(self, query: str) -> list[dict[str, object]]:
        done = self.ask("sql", "--json", query)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


def below(pid: int) -> list[int]:
    """All descendants of a process."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [found for child in map(int, children) for found in (child, *below(child))]
