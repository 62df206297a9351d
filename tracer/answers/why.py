"""The answer to why: how a life of a container ended, or a process, and what led to it. Pure, and light.

All times are wall clock, in ns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tracer.stream.metadata import NEVER_RAN, Container, Killer, LifeFact, SignalSent
from tracer.stream.pidns import ProcId
from tracer.text.wait_status import ending

OOM = "oom"
_SIGNALLED = 128
_KILLED = 137  # of a shell whose child SIGKILL has ended, or of a program that chose it


@dataclass(frozen=True)
class Exit:
    """A process that has ended. pids: its PIDs, the host's first. args: None: not known. status: as wait(2) reports it;
    None: no event reported its end. container: of the process; None: it was in none. proc_id: its identity; parent:
    that of its parent when it ended."""

    at_ns: int
    started_ns: int
    pids: tuple[int, ...]
    comm: bytes
    exe: bytes
    args: bytes | None
    status: int | None
    killer: Killer | None
    container: Container | None
    proc_id: ProcId
    parent: ProcId

    @property
    def signal(self) -> str | None:
        """The signal that has ended it; None: none has, or it is not known."""
        return None if self.status is None else ending(self.status).signal

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None: a signal has ended it, or it is not known."""
        return None if self.status is None else ending(self.status).exit_code


@dataclass(frozen=True)
class Step:
    """Something that happened in a life before its end."""

    at_ns: int
    fact: LifeFact


@dataclass(frozen=True)
class Ending:
    """A life that has ended. stopped: how. first: its first process; None: its exit was not recorded. before: the last
    processes that ended ahead of it, in order; died: by name, how many ended with it, as far as that was recorded.
    steps: what happened before, signals: what an engine says that it had sent, in order. doubts: how what an engine
    says differs. foreboding: the process whose end may be what the exit code repeats (`foreboding_of`)."""

    at_ns: int
    stopped: LifeFact
    first: Exit | None
    before: tuple[Exit, ...]
    died: dict[bytes, int]
    steps: tuple[Step, ...] = ()
    signals: tuple[SignalSent, ...] = ()
    doubts: tuple[str, ...] = ()
    foreboding: Exit | None = None

    @property
    def container(self) -> Container:
        """Whose life it was."""
        return self.stopped.container

    @property
    def began_ns(self) -> int | None:
        """When it began; None: not known."""
        return None if self.stopped.duration_ns is None else self.at_ns - self.stopped.duration_ns


def foreboding_of(first: Exit | None, before: Iterable[Exit]) -> Exit | None:
    """The process that a signal has ended which the exit code of the first process may repeat: 137 is what a shell
    makes of SIGKILL. It was the last child of the first process to end, or the last one of a child that has passed the
    code on (docker run --init). Whether that is why the first process chose the code is not known. None: there is none.

    before: who ended ahead of the first process, in order.
    """
    code = first.exit_code if first else None
    if first is None or code is None or code <= _SIGNALLED:
        return None
    last = {one.parent: one for one in before}
    found = last.get(first.proc_id)
    while found is not None and found.exit_code == code:
        found = last.get(found.proc_id)
    is_it = found is not None and found.status is not None and found.status & 0x7F == code - _SIGNALLED
    return found if is_it else None


@dataclass(frozen=True)
class LastWord:
    """What an engine says of a container now. state: its word for it. finished_ns, started_ns: None: it does not
    say."""

    container: Container
    engine: str
    state: str
    exit_code: int
    oom: bool
    error: str
    started_ns: int | None
    finished_ns: int | None
    restarts: int


def cause_of(stopped: LifeFact) -> str:
    """The cause of an end in a few words, the same for ends of the same kind."""
    killer = stopped.killed_by
    if killer and killer.reason == OOM:
        return "out of memory"
    if stopped.doubt == NEVER_RAN:
        return "its command was never run"
    if killer:
        by = (
            "itself"
            if not killer.kernel and killer.pid is not None and killer.pid == stopped.first_pid
            else sender_of(killer)
        )
        return f"{stopped.signal} by {by}"
    if stopped.signal is None and stopped.exit_code is None:
        return "not known: its end was not seen"
    how = f"{stopped.signal}, sender not known" if stopped.signal else f"exit code {stopped.exit_code}"
    return how + (MEMORY_BEFORE if stopped.oom and _is_killed(stopped) else "")


MEMORY_BEFORE = ", memory had run out before"
"""Of an end that this may have led to, though nothing shows that it has."""


def _is_killed(stopped: LifeFact) -> bool:
    return stopped.signal == "SIGKILL" or stopped.exit_code == _KILLED


def sender_of(killer: Killer) -> str:
    """Who has sent a signal, without numbers."""
    if killer.kernel:
        return f"the kernel ({killer.reason})" if killer.reason else "the kernel"
    return killer.comm or "a process"


def by_cause(ends: Iterable[Ending]) -> dict[str, list[Ending]]:
    """The ends of each cause, those of the most frequent cause first."""
    found: dict[str, list[Ending]] = {}
    for end in ends:
        found.setdefault(cause_of(end.stopped), []).append(end)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))
