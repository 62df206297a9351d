"""nstrace as a session runs it, in this process: trace, source and table, held against /proc."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import numpy as np
from oracle import nspid

from tracer.containers.cgroups import Cgroups
from tracer.host.proc_operations import Proc, proc_operations
from tracer.kernel.loader_client import Loading
from tracer.kernel.options import LoadOptions
from tracer.kernel.trace import Trace
from tracer.stream.account import Account
from tracer.stream.batch import Batch
from tracer.stream.decoding import Decoded
from tracer.stream.first_processes import FirstProcesses
from tracer.stream.pidns import PidnsId
from tracer.stream.schema import Flag, Kind
from tracer.stream.table import Table
from tracer.system.broker import Local
from tracer.system.clock_offset import wall_offset_ns
from tracer.system.pidfd import has_process
from tracer.typed.targets import parse_target
from tracer.wiring.live import LiveSource

LONG = os.environ.get("NSTRACE_STRESS") == "long"
DEADLINE_S = 600.0 if LONG else 60.0
DEFAULT = LoadOptions()
NOTHING = Decoded(Batch.concat([]), [])


def size(short: int, long: int) -> int:
    """How much of it: the long form is for scripts/soak."""
    return long if LONG else short


def open_trace(options: LoadOptions) -> Trace:
    return Trace(Loading(options).wait(), options)


def close_trace(trace: Trace) -> None:
    trace.finish()  # does nothing the second time
    trace.close()


class Stack:
    """A live source into a table; `read` goes on until a condition holds, `batch` is all that came, `last` what came
    last, which may be empty."""

    def __init__(self, *targets: str, options: LoadOptions = DEFAULT, table: Table | None = None) -> None:
        self.trace = open_trace(options)
        self.table = Table() if table is None else table
        parsed = tuple(map(parse_target, targets or ("all",)))
        proc = Proc(Local(proc_operations(4097)))
        firsts = FirstProcesses(has_process)
        parts = (parsed, Cgroups(lambda _id: None, firsts=firsts.living), firsts, NOTHING, self.table)
        self.source = LiveSource(self.trace, proc, wall_offset_ns(), *parts)
        self._parts: list[Batch] = []
        self.last = Batch.concat([])
        self._wait: float | None = 0.05
        self._batches = self.source.batches(lambda: self._wait)

    def __enter__(self) -> Self:
        self.read(lambda: True)  # the processes that are there
        return self

    def __exit__(self, *_: object) -> None:
        self._account = self.source.account()
        close_trace(self.trace)

    @property
    def account(self) -> Account:
        """At the end of the trace."""
        return self._account

    def read(self, until: Callable[[], bool]) -> None:
        """Read and apply until the condition holds."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            self.last = batch = next(self._batches)
            if len(batch):
                self._parts.append(batch)
            if until():
                return
        raise AssertionError(f"not within {DEADLINE_S} s")

    def read_until_as_proc(self) -> None:
        """Read until each difference between table and /proc has been gone once: others on this machine come and go
        meanwhile. With targets `all` and `host` alone the table has everyone."""
        wrong = unlike_proc(self.table)

        def is_right() -> bool:
            nonlocal wrong
            wrong = wrong and wrong & unlike_proc(self.table)
            return not wrong

        try:
            self.read(is_right)
        except AssertionError:
            raise AssertionError(f"in the table or in /proc alone, with all numbers: {wrong}") from None

    def stop(self) -> Batch:
        """End the trace; everything that came."""
        self._wait = None
        self._parts += self._batches
        return self.batch

    @property
    def batch(self) -> Batch:
        return Batch.concat(self._parts)

    def has_exit_of(self, tgid: int) -> bool:
        return any(((part.rows["tgid"] == tgid) & (part.rows["kind"] == Kind.EXIT)).any() for part in self._parts)

    def rows(self, space: Space, *kinds: Kind) -> np.ndarray:
        """What was told of processes in a namespace, nested ones not among them; inferred rows left out. Others on
        this machine make namespaces too, and one can have had the same inode number."""
        rows = self.batch.rows
        innermost = rows["chain"][:, 0]
        first = (rows["tgid"] == space.init) & (innermost["inum"] == space.inum)
        own = (innermost["inum"] == space.inum) & (innermost["gen"] == innermost["gen"][first][-1])
        found: np.ndarray = rows[own & np.isin(rows["kind"], kinds) & (rows["flags"] & Flag.INFERRED == 0)]
        return found

    def pidns(self, inum: int) -> PidnsId:
        """The namespace that has this inode number now, as the table knows it."""
        return next(p.path[-1] for p in self.table.living() if p.path[-1].inum == inum)

    def numbers(self, inum: int) -> dict[int, int]:
        """The table's answer: host PID by number in a namespace, of its living processes."""
        inside = (process for process in self.table.living() if process.path[-1].inum == inum)
        return {process.nr: process.tgid for process in inside}


def unlike_proc(table: Table) -> set[tuple[int, ...]]:
    """All numbers of each living process that is in the table or in /proc and not in both."""
    return {tuple(number.nr for number in process.chain) for process in table.living()} ^ set(living_of_proc())


def living_of_proc() -> Iterator[tuple[int, ...]]:
    """All numbers of each process that has a living thread, from /proc."""
    for entry in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            fields = dict(line.split(":\t", 1) for line in entry.read_text(errors="replace").splitlines())
            if fields["State"][0] not in "ZX" or int(fields["Threads"]) > 1:
                yield tuple(map(int, fields["NSpid"].split()))


def numbers_of_proc(inum: int) -> dict[int, int]:
    """The kernel's answer by another way: as `Stack.numbers`, from /proc; with who has ended and is not reaped."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            tgid = int(entry.name)
            if (entry / "ns/pid").stat().st_ino == inum:
                found[nspid(tgid)[-1]] = tgid
    return found


class Space:
    """A PID namespace of its own, where a command becomes the first process when `go` is called, or at once.

    With pipes; the command is killed with `process`, the unshare(1) around it. inum: the namespace's inode number.
    """

    def __init__(self, *argv: object, go: bool = True) -> None:
        gate = ["sh", "-c", 'read line; exec "$@"', "sh"]
        words = ["unshare", "--fork", "--pid", "--kill-child", *gate, *map(str, argv)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.init = self._only_child()
        self.inum = Path(f"/proc/{self.init}/ns/pid").stat().st_ino
        if go:
            self.go()

    def _only_child(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        eventually(lambda: bool(children.read_text()))
        return int(children.read_text())

    def go(self) -> None:
        """Let the command begin."""
        assert self.process.stdin
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def line(self) -> bytes:
        """The next line that the command prints."""
        assert self.process.stdout
        return self.process.stdout.readline()

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def kill(self) -> None:
        """End all of it, and wait until nothing is left in the namespace."""
        if not self.is_empty():  # unshare's end is its child's only once that child has asked for it
            with suppress(ProcessLookupError):
                os.kill(self.init, signal.SIGKILL)
        self.process.kill()
        self.process.communicate()
        eventually(self.is_empty)

    def is_empty(self) -> bool:
        """Whether its first process is gone, and so all others; another namespace may have its number by now."""
        return numbers_of_proc(self.inum).get(1) != self.init


def eventually(holds: Callable[[], bool], every_s: float = 0.001) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s"
        time.sleep(every_s)


def identities(rows: np.ndarray) -> list[tuple[int, int]]:
    """Of each row its process: host PID and start."""
    return list(zip(rows["tgid"].tolist(), rows["start_ns"].tolist(), strict=True))
