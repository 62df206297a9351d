"""Containers and PID namespaces as lanes of a picture, each in the lane of the namespace around it. Pure."""

from __future__ import annotations

import msgspec

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.metadata import Container
from tracer.stream.pidns import INITIAL_PIDNS, PidnsId, chain_of


class Lane(msgspec.Struct):
    """The processes of one life of a container, or of a PID namespace that is no container's. Namespaces that a
    container's processes begin inside of its own have lanes of their own.

    spaces: the PID namespace of its processes and those around it, the host's first. What sets a container up runs in
    one of those around, before its first process. around: the container that it lies in, by id and life. counts: how
    many rows of each kind it has.
    """

    container: Container | None
    spaces: tuple[PidnsId, ...]
    around: tuple[str, int] | None = None
    counts: dict[str, int] = {}

    @property
    def pidns(self) -> PidnsId:
        """The namespace."""
        return self.spaces[-1]

    @property
    def level(self) -> int:
        """How deep it is; 0: the host's."""
        return len(self.spaces) - 1

    @property
    def label(self) -> str:
        """The name of the container, else what it is."""
        if self.container:
            return self.container.label
        return "host" if self.pidns == INITIAL_PIDNS else f"pidns:{self.pidns.inum}"


class Lanes:
    """Numbers the lanes in the order in which they appear. all: by number."""

    def __init__(self) -> None:
        self.all: list[Lane] = []
        self._numbers: dict[tuple[str, int, PidnsId], int] = {}
        self._by_pidns: dict[PidnsId, int] = {}
        self._by_container: dict[tuple[str, int], int] = {}

    def number(self, batch: Batch, at: int, attribution: Attribution) -> int:
        """The number of the lane of the row at an index, which is about a process."""
        chain, container = chain_of(batch, at), attribution.of_row(batch, at)
        inside = chain if batch.rows["level"][at] else ()
        spaces = (INITIAL_PIDNS, *(number.pidns for number in inside))
        key = (container.id, container.incarnation, spaces[-1]) if container else ("", 0, spaces[-1])
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = self._found(container, spaces, attribution)
            if found == len(self.all):
                around = attribution.enclosing(chain, int(batch.rows["cgroup_id"][at]))[1:2] if container else ()
                self.all.append(Lane(container, spaces, next(((one.id, one.incarnation) for one in around), None)))
        self.all[found].container = container  # an engine may name it late
        if container or spaces[-1] not in self._by_pidns:
            self._by_pidns.setdefault(spaces[-1], found)
        return found

    def _found(self, container: Container | None, spaces: tuple[PidnsId, ...], attribution: Attribution) -> int:
        """The container's lane, where processes with these namespaces belong into that; else a new one."""
        if container is None:
            return len(self.all)
        found = self._by_container.setdefault((container.id, container.incarnation), len(self.all))
        if found == len(self.all):
            return found
        lane = self.all[found]
        if lane.spaces[: len(spaces)] == spaces:
            return found
        owner = attribution.owner(lane.pidns)
        is_anothers = lane.pidns == INITIAL_PIDNS or (owner is not None and owner.id != container.id)
        if is_anothers and spaces[: len(lane.spaces)] == lane.spaces:
            lane.spaces = spaces  # so far only what has set it up was seen
            return found
        return len(self.all)

    def parent(self, lane: Lane) -> int | None:
        """The number of the lane around it; None: there is none, or it has not appeared."""
        found = self._by_pidns.get(lane.spaces[-2]) if lane.level > 1 else None
        return found if found is not None or lane.around is None else self._by_container.get(lane.around)

    def of_container(self, container: Container | None) -> int | None:
        """The number of a container's lane; None: it has not appeared."""
        if container is None:
            return None
        return self._by_container.get((container.id, container.incarnation))
