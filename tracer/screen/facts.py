"""What a filter asks of a process on the screen: what `tracer.ask.process_filter.ProcessFilter` reads. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tracer.stream.metadata import Container
from tracer.stream.pidns import PidnsId, ProcId
from tracer.stream.samples import ProcKey

if TYPE_CHECKING:
    from tracer.screen.model import Group, Proc


class Facts:
    """A process of a group; without one, the brief processes of this name there, of which nothing else is known.
    procs, groups: all that there are; wall_offset_ns: wall clock minus boottime."""

    __slots__ = ("_group", "_groups", "_name", "_proc", "_procs", "_wall_offset_ns")

    def __init__(
        self, proc: Proc | None, name: bytes, group: Group, procs: Mapping[ProcKey, Proc], groups: Mapping[int, Group],
        wall_offset_ns: int,
    ) -> None:  # fmt: skip
        self._proc, self._name, self._group = proc, name, group
        self._procs, self._groups, self._wall_offset_ns = procs, groups, wall_offset_ns

    @property
    def container(self) -> Container | None:
        """The container that it is in."""
        return self._group.facts.container

    @property
    def numbers(self) -> list[int]:
        """Its PIDs, the host's first."""
        return self._proc.pids if self._proc else []

    @property
    def spaces(self) -> list[PidnsId]:
        """All its namespaces, the host's first."""
        spaces = self._group.facts.spaces[: len(self._proc.pids) if self._proc else None]
        return [PidnsId(*space) for space in spaces]

    @property
    def level(self) -> int:
        """How deep the innermost is."""
        return len(self.spaces) - 1

    @property
    def proc_id(self) -> ProcId | None:
        """Its identity."""
        return ProcId(*self._proc.key) if self._proc else None

    @property
    def parent(self) -> ProcId | None:
        """Its parent; None: that has ended, so another one has it, or it is not shown."""
        found = self._parent
        return ProcId(*found.key) if found else None

    @property
    def _parent(self) -> Proc | None:
        found = self._procs.get(self._proc.parent) if self._proc else None
        return found if found and found.ended_ns is None else None

    @property
    def ns_ppid(self) -> int | None:
        """The parent's number in its namespace; 0: it has none there; None: the parent is not known."""
        parent = self._parent
        if parent is None or parent.lane not in self._groups:
            return None
        spaces, level = self._groups[parent.lane].facts.spaces, self.level
        is_seen = len(parent.pids) > level and list(spaces[: level + 1]) == list(self._group.facts.spaces[: level + 1])
        return parent.pids[level] if is_seen else 0

    @property
    def comm(self) -> bytes:
        """Its name."""
        return self._proc.comm if self._proc else self._name

    @property
    def exe(self) -> bytes:
        """The file that it runs."""
        return self._proc.exe if self._proc else b""

    @property
    def args(self) -> bytes | None:
        """Its arguments, NUL-ended."""
        return self._proc.args or None if self._proc else None

    @property
    def args_truncated(self) -> bool:
        """Whether it has more arguments than these."""
        return self._proc.is_cut if self._proc else False

    @property
    def uid(self) -> int | None:
        """Its user."""
        return self._proc.uid if self._proc else None

    @property
    def state(self) -> str:
        """The letter that ps shows, as far as anybody has looked."""
        return self._proc.state.strip() if self._proc else ""

    @property
    def started_ns(self) -> int | None:
        """When it began, by the wall clock."""
        return self._proc.since_ns + self._wall_offset_ns if self._proc else None
