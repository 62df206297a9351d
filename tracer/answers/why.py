"""The answer to why: how a life of a container ended, or a process, and what led to it. Pure, and light.

All times are wall clock, in ns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tracer.stream.metadata import Container, Killer, LifeFact, SignalSent
from tracer.text.wait_status import ending

OOM = "oom"
_KILLED_FOR_MEMORY = 137  # what a shell exits with where SIGKILL has ended its child
_SIGNALLED = 128


@dataclass(frozen=True)
class Exit:
    """A process that has ended. pids: its PIDs, the host's first. args: None: not known. status: as wait(2) reports it;
    None: no event reported its end. container: of the process; None: it was in none."""

    at_ns: int
    started_ns: int
    pids: tuple[int, ...]
    comm: bytes
    exe: bytes
    args: bytes | None
    status: int | None
    killer: Killer | None
    container: Container | None

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
    says differs."""

    at_ns: int
    stopped: LifeFact
    first: Exit | None
    before: tuple[Exit, ...]
    died: dict[bytes, int]
    steps: tuple[Step, ...] = ()
    signals: tuple[SignalSent, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def container(self) -> Container:
        """Whose life it was."""
        return self.stopped.container

    @property
    def began_ns(self) -> int | None:
        """When it began; None: not known."""
        return None if self.stopped.duration_ns is None else self.at_ns - self.stopped.duration_ns

    @property
    def foreboding(self) -> Exit | None:
        """The process whose end by a signal explains the exit code: 137 is what a shell says of a child that SIGKILL
        has ended. None: there is none."""
        code = self.stopped.exit_code
        if code is None or code <= _SIGNALLED:
            return None
        ends = (one for one in reversed(self.before) if one.status is not None)
        return next((one for one in ends if (one.status or 0) & 0x7F == code - _SIGNALLED), None)


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
    if (killer and killer.reason == OOM) or (not killer and stopped.oom and _was_killed(stopped)):
        return "out of memory"
    if stopped.signal is None:
        return "not known: its end was not seen" if stopped.exit_code is None else f"exit code {stopped.exit_code}"
    return f"{stopped.signal} by {sender_of(killer)}" if killer else f"{stopped.signal}, sender not known"


def _was_killed(stopped: LifeFact) -> bool:
    return stopped.signal == "SIGKILL" or stopped.exit_code == _KILLED_FOR_MEMORY


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
