"""nstrace as a session runs it, in this process: trace, source and table, held against /proc."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from oracle import nspid

from tracer.containers.cgroups import Cgroups
from tracer.events import Batch, Kind
from tracer.kernel.load import Loading, LoadOptions
from tracer.kernel.trace import Trace
from tracer.kernel.wire import Decoded
from tracer.live import LiveSource
from tracer.pidns import PidnsId
from tracer.table import Table
from tracer.targets import parse_target

DEADLINE_S = 30.0
DEFAULT = LoadOptions()
NOTHING = Decoded(Batch.concat([]), [])


def open_trace(options: LoadOptions) -> Trace:
    return Trace(Loading(options).wait(), options)


def close_trace(trace: Trace) -> None:
    trace.finish()  # does nothing the second time
    loaded = trace.loaded
    for fd in (loaded.ring, loaded.counts, loaded.decisions, loaded.losses, loaded.wake, loaded.iterator):
        os.close(fd)
    for fd in loaded.programs:
        os.close(fd)


class Stack:
    """A live source into a table; `read` goes on until a condition holds, `batch` is all that came."""

    def __init__(self, *targets: str, options: LoadOptions = DEFAULT, table: Table | None = None) -> None:
        self.trace = open_trace(options)
        self.table = table or Table()
        parsed = tuple(map(parse_target, targets or ("all",)))
        self.source = LiveSource(self.trace, parsed, Cgroups(lambda _runtime, _id: None), NOTHING, self.table)
        self._parts: list[Batch] = []
        self._wait: float | None = 0.05
        self._batches = self.source.batches(lambda: self._wait)

    def __enter__(self) -> Self:
        self.read(lambda: True)  # the processes that are there
        return self

    def __exit__(self, *_: object) -> None:
        close_trace(self.trace)

    def read(self, until: Callable[[], bool]) -> None:
        """Read and apply until the condition holds."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            batch = next(self._batches)
            self.table.apply(batch)
            if len(batch):
                self._parts.append(batch)
            if until():
                return
        raise AssertionError(f"not within {DEADLINE_S} s")

    def stop(self) -> Batch:
        """End the trace; everything that came."""
        self._wait = None
        for batch in self._batches:
            self.table.apply(batch)
            self._parts.append(batch)
        return self.batch

    @property
    def batch(self) -> Batch:
        return Batch.concat(self._parts)

    def has_exit_of(self, tgid: int) -> bool:
        return any(((part.rows["tgid"] == tgid) & (part.rows["kind"] == Kind.EXIT)).any() for part in self._parts)

    def pidns(self, inum: int) -> PidnsId:
        """The namespace that has this inode number now, as the table knows it."""
        return next(p.path[-1] for p in self.table.living() if p.path[-1].inum == inum)

    def numbers(self, inum: int) -> dict[int, int]:
        """The table's answer: host PID by number in a namespace, of its living processes."""
        inside = (process for process in self.table.living() if process.path[-1].inum == inum)
        return {process.nr: process.tgid for process in inside}


def numbers_of_proc(inum: int) -> dict[int, int]:
    """The kernel's answer by another way: as `Stack.numbers`, from /proc. Zombies have ended."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            tgid = int(entry.name)
            if (entry / "ns/pid").stat().st_ino == inum:
                found[nspid(tgid)[-1]] = tgid
    return found


def in_pidns(*argv: object) -> subprocess.Popen[bytes]:
    """Run a command as the first process of a PID namespace of its own, with pipes; it is killed with `unshare`."""
    words = ["unshare", "--fork", "--pid", "--kill-child", *map(str, argv)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def init_of(unshare: subprocess.Popen[bytes]) -> int:
    """The host PID of the first process in the namespace."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if children := Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text().split():
            return int(children[0])
        time.sleep(0.001)
    raise AssertionError("unshare has no child")
