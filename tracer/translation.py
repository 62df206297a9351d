"""The answer to translate: one process with all its numbers, living or of a recording. Pure, and light."""

from __future__ import annotations

from dataclasses import dataclass

from tracer.census import Entry
from tracer.facts import Container
from tracer.pidns import PidnsId


@dataclass(frozen=True)
class Place:
    """A PID namespace that a process is in, and its number there.

    pidns: None where it is not ours to see. container: whose namespace it is; for the innermost the container that the
    process belongs to. None: no container's.
    """

    nr: int
    pidns: PidnsId | None
    container: Container | None


@dataclass(frozen=True)
class Translation:
    """A process that a PROC may mean.

    asked: the PROC; is_of_host: it was a PID on the host, not a number inside; is_thread: its number is that of a
    thread of this process. owners: for each of the process's numbers the container whose namespace it is.
    """

    asked: str
    is_of_host: bool
    is_thread: bool
    entry: Entry
    owners: tuple[Container | None, ...]

    @property
    def result(self) -> int:
        """The one number that answers: of a number inside that of the host, of the host's the innermost."""
        return self.entry.numbers[-1 if self.is_of_host else 0]

    @property
    def places(self) -> tuple[Place, ...]:
        """All its numbers, the host's first."""
        numbers = self.entry.numbers
        spaces = [number.pidns for number in self.entry.chain] if self.entry.chain else [None] * len(numbers)
        return tuple(map(Place, numbers, spaces, self.owners))
