"""The processes of one moment, as ps and tree show them: of the living host, or of a recording. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracer.stream.metadata import Container, first_args, split_args
from tracer.stream.pidns import INITIAL_PIDNS, Chain, Number, PidnsId, ProcId
from tracer.text.escape import command_line, decode, safe, safe_text
from tracer.text.times import utc
from tracer.text.width import cut
from tracer.typed.targets import Target

if TYPE_CHECKING:
    from datetime import datetime

NOBODY = ProcId(0, 0)
_HIDDEN = PidnsId(0, 0)
_MAX_SHOWN_ARGS = 1 << 14
_REPR_COLUMNS = 60  # of a command in a repr


@dataclass(frozen=True, slots=True)
class Later:
    """What the next event of a process reports differently from the one before: each changed between the two. None: not
    changed, as far as is known.

    at_ns: when that event was, by the wall clock. comm: without changes by an exec.
    """

    at_ns: int
    uid: int | None
    comm: bytes | None
    parent: ProcId | None


@dataclass(frozen=True, slots=True)
class AsOf:
    """The event of a recording that an Entry describes a process by: its last one until the given moment. A process can
    change its user, its name and its parent without an event.

    at_ns: when it was, by the wall clock; at_the_latest: then or before. last_parent: the parent then, None: not known;
    parent_ended_ns: when that parent had ended, at the latest; None: it had not, or that is not known.
    later: what had changed by the process's next event; None: nothing, or no event came.
    """

    at_ns: int
    at_the_latest: bool
    last_parent: ProcId | None
    parent_ended_ns: int | None
    later: Later | None


@dataclass(frozen=True, slots=True, repr=False)
class Entry:
    """One process of a moment: what `tracer.ps` lists. The attributes are as the kernel reports them, the properties as
    people read them.

    parent: the process that reaps it, NOBODY where none does, None where that is not known. ns_ppid: the parent's
    number in the process's innermost namespace, 0 where it has none there, None: not known. numbers: its PIDs, the
    host's first; chain: the same with their namespaces, None where those cannot be read. containers: its own, then
    those around it; () on the host. comm, exe: b"" where they are not known. args: NUL-ended, as the kernel keeps them;
    None: not known; args_truncated: there are more than these. uid: in the initial user namespace; None: not known.
    state: the letter of proc(5), "" where it is not known. started_ns: by the wall clock. as_of: of a recording, the
    moment of comm, uid, containers and parent; None: now.
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
    args_truncated: bool = False

    def __repr__(self) -> str:
        where = f" in {safe_text(self.container.label)}" if self.container else ""
        return f"<process {'>'.join(map(str, self.numbers))}{where}: {cut(self.command, _REPR_COLUMNS)}>"

    @property
    def pid(self) -> int:
        """Its PID on the host."""
        return self.numbers[0]

    @property
    def ns_pid(self) -> int:
        """Its PID in the innermost PID namespace; on the host the same as pid."""
        return self.numbers[-1]

    @property
    def pids(self) -> tuple[int, ...]:
        """Its PIDs in all its PID namespaces, the host's first."""
        return self.numbers

    @property
    def ppid(self) -> int | None:
        """Its parent's PID on the host; 0: it has none, None: not known."""
        return self.parent.tgid if self.parent else None

    @property
    def name(self) -> str:
        """Its name (comm), at most 15 bytes; "" where it is not known. Bytes that are not UTF-8 become \\xNN."""
        return decode(self.comm)

    @property
    def argv(self) -> list[str] | None:
        """Its arguments; None: not known. Bytes that are not UTF-8 become \\xNN."""
        return None if self.args is None else [decode(arg) for arg in split_args(self.args)]

    @property
    def command(self) -> str:
        """Its command line, quoted for a shell and safe for a terminal, with … at its end where it was cut; [its name]
        where it has none, or none is known."""
        is_other = self.as_of and self.as_of.later and self.as_of.later.comm is not None
        args, has_more = first_args(self.args or b"", _MAX_SHOWN_ARGS)
        if not args:
            return f"[{safe(self.comm)}{'?' if is_other else ''}]"
        return f"{command_line(args)} …" if has_more or self.args_truncated else command_line(args)

    @property
    def started(self) -> datetime:
        """When it was started, in UTC; started_ns is the same in ns."""
        return utc(self.started_ns)

    @property
    def container(self) -> Container | None:
        """The container that it is in; None: it is on the host, or in a namespace of no known container."""
        return self.containers[0] if self.containers else None

    @property
    def pidns(self) -> PidnsId | None:
        """The innermost namespace that it is in; None: it cannot be read."""
        return self.chain[-1].pidns if self.chain else None

    @property
    def spaces(self) -> tuple[PidnsId, ...] | None:
        """All its namespaces, the host's first; None: they cannot be read."""
        return tuple(number.pidns for number in self.chain) if self.chain else None

    @property
    def level(self) -> int:
        """The nesting depth of that namespace; 0: the host's."""
        return len(self.numbers) - 1

    @property
    def is_zombie(self) -> bool:
        """Whether it has exited and keeps its numbers until its parent reaps it."""
        return self.state == "Z"

    def is_meant(self, target: Target) -> bool:
        """Whether a TARGET means this process."""
        return target.means(self.containers, self.chain or self._chain_of_numbers())

    def _chain_of_numbers(self) -> Chain:
        """A chain whose namespaces cannot be read: only their number is known."""
        return (Number(INITIAL_PIDNS, self.numbers[0]), *(Number(_HIDDEN, nr) for nr in self.numbers[1:]))


class Census:
    """All processes of a moment in order of their start, shown or not."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        ordered = sorted(entries, key=lambda entry: (entry.proc_id.start_ns, entry.proc_id.tgid))
        self._by_id = {entry.proc_id: entry for entry in ordered}

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._by_id.values())

    def parent(self, entry: Entry) -> Entry | None:
        """The parent of an entry; None: it is not in the census."""
        return self._by_id.get(entry.parent) if entry.parent else None
