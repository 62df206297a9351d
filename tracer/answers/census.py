"""The processes of one moment, as ps and tree show them: of the living host, or of a recording. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tracer.stream.metadata import Container
from tracer.stream.pidns import INITIAL_PIDNS, Chain, Number, PidnsId, ProcId
from tracer.typed.targets import Target

NOBODY = ProcId(0, 0)
_HIDDEN = PidnsId(0, 0)


@dataclass(frozen=True, slots=True)
class Later:
    """What the next event of a process reports otherwise than the one before: each changed between these two. None: it
    did not, as far as is known.

    at_ns: when the event was, by the wall clock. comm: not that which an exec gives a process.
    """

    at_ns: int
    uid: int | None
    comm: bytes | None
    parent: ProcId | None


@dataclass(frozen=True, slots=True)
class AsOf:
    """The event of a recording that an Entry describes a process by: its last one until the moment asked for. A process
    can change its user, its name and its parent without an event.

    at_ns: when it was, by the wall clock; at_the_latest: then or before. last_parent: the parent then, None: not known;
    parent_ended_ns: when that one had ended, at the latest; None: it had not, or that is not known.
    later: what had changed by the process's next event; None: nothing, or no event came.
    """

    at_ns: int
    at_the_latest: bool
    last_parent: ProcId | None
    parent_ended_ns: int | None
    later: Later | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One process.

    parent: who reaps it, NOBODY where nobody does, None where that is not known. ns_ppid: the parent's number in the
    process's innermost namespace, 0 where it is not in there, None: not known. numbers: its PIDs, the host's first;
    chain: the same with their namespaces, None where those are not ours to see. containers: its own, then those
    around it; () on the host. comm, exe: b"" where they are not known. args: NUL-ended, as the kernel keeps them; None:
    not known. uid: as the host counts; None: not known. state: the letter of proc(5), "" where it is not known.
    started_ns: by the wall clock. as_of: of a recording, when comm, uid, containers and parent were so; None: now.
    """

    proc_id: ProcId
    parent: ProcId | None
    ns_ppid: int | None
    numbers: tuple[int, ...]
    chain: Chain | None
    containers: tuple[Container, ...]
    comm: bytes
    exe: bytes
    args: bytes | None
    uid: int | None
    state: str
    started_ns: int
    as_of: AsOf | None = None

    @property
    def container(self) -> Container | None:
        """The one that it is in; None: it is on the host, or in a namespace that no engine knows."""
        return self.containers[0] if self.containers else None

    @property
    def pidns(self) -> PidnsId | None:
        """The innermost namespace that it is in; None: not ours to see."""
        return self.chain[-1].pidns if self.chain else None

    @property
    def level(self) -> int:
        """How deep that namespace is nested; 0: the host's."""
        return len(self.numbers) - 1

    @property
    def is_zombie(self) -> bool:
        """Whether it has exited and keeps its numbers until its parent reaps it."""
        return self.state == "Z"

    def is_meant(self, target: Target) -> bool:
        """Whether a TARGET means this process."""
        return target.means(self.containers, self.chain or self._told_by_numbers())

    def _told_by_numbers(self) -> Chain:
        """What is known of a chain whose namespaces are not ours to see: how many they are."""
        return (Number(INITIAL_PIDNS, self.numbers[0]), *(Number(_HIDDEN, nr) for nr in self.numbers[1:]))


class Census:
    """All processes of a moment in order of their start, be they shown or not."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        ordered = sorted(entries, key=lambda entry: (entry.proc_id.start_ns, entry.proc_id.tgid))
        self._by_id = {entry.proc_id: entry for entry in ordered}

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._by_id.values())

    def parent(self, entry: Entry) -> Entry | None:
        """The parent, where it is in the census."""
        return self._by_id.get(entry.parent) if entry.parent else None
