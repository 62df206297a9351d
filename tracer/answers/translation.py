"""The answer to translate: one process with all its numbers, living or of a recording. Pure, and light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracer.answers.census import Entry
from tracer.stream.metadata import Container
from tracer.stream.pidns import INITIAL_PIDNS, PidnsId
from tracer.text.escape import safe_text
from tracer.text.times import utc
from tracer.text.wait_status import ending

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class Place:
    """A PID namespace that a process is in, and its number there.

    pidns: None where it cannot be read. container: the one that began it; None: it is the host's, no container's, or
    cannot be read.
    """

    nr: int
    pidns: PidnsId | None
    container: Container | None


@dataclass(frozen=True)
class Life:
    """What a recording holds about a process's end. Times are wall clock, in ns.

    ended_ns: None: not known. at_the_latest: no event reported the end, it was found later: the process may have ended
    at any time between seen_ns and ended_ns. seen_ns: until then it lived for certain. status: as wait(2) reports it,
    None: not known. is_certain: whether it had the number at the given moment.
    """

    ended_ns: int | None
    at_the_latest: bool
    seen_ns: int
    status: int | None
    is_certain: bool

    @property
    def ended(self) -> datetime | None:
        """ended_ns as a datetime in UTC; None: not known."""
        return None if self.ended_ns is None else utc(self.ended_ns)

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None: a signal has ended it, or it is not known."""
        return None if self.status is None else ending(self.status).exit_code

    @property
    def signal(self) -> str | None:
        """The signal that has ended it, such as SIGKILL; None: none has, or it is not known."""
        return None if self.status is None else ending(self.status).signal


@dataclass(frozen=True, repr=False)
class Translation:
    """A process that a PROC may mean.

    asked: the PROC; is_of_host: it was a PID on the host, not a number inside; is_thread: its number is that of a
    thread of this process. owners: for each of the process's numbers the container that began the namespace.
    life: of a recorded process; None: it lives.
    """

    asked: str
    is_of_host: bool
    is_thread: bool
    entry: Entry
    owners: tuple[Container | None, ...]
    life: Life | None = None

    def __repr__(self) -> str:
        return f"<{safe_text(self.asked)} is {self.result}: {self.entry!r}>"

    @property
    def process(self) -> Entry:
        """The process: another name of entry."""
        return self.entry

    @property
    def pids(self) -> tuple[int, ...]:
        """Its PIDs in all its PID namespaces, the host's first."""
        return self.entry.numbers

    @property
    def pid(self) -> int:
        """Its PID on the host."""
        return self.entry.numbers[0]

    @property
    def result(self) -> int:
        """The one number that answers: for a number inside that on the host, for one on the host the innermost."""
        return self.entry.numbers[-1 if self.is_of_host else 0]

    @property
    def home(self) -> Container | None:
        """The container that its innermost number belongs to."""
        return home(self.owners)

    @property
    def places(self) -> tuple[Place, ...]:
        """All its numbers, the host's first."""
        numbers = self.entry.numbers
        hidden = [INITIAL_PIDNS, *(None for _ in numbers[1:])]
        spaces = [number.pidns for number in self.entry.chain] if self.entry.chain else hidden
        return tuple(map(Place, numbers, spaces, self.owners))


def home(owners: tuple[Container | None, ...]) -> Container | None:
    """The container that the numbers of the innermost namespace belong to: that which began it, unless it was begun
    inside of that container: web/1 is not every first process in web. None: there is none, or it cannot be read.

    owners: as for Translation. The process itself may be another container's (--pid=container:web, nsenter).
    """
    innermost, around = owners[-1], owners[-2] if len(owners) > 1 else None
    return innermost if innermost and (around is None or around.id != innermost.id) else None
