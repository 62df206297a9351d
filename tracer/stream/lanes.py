"""Containers and PID namespaces as lanes of a picture, each in the lane of the namespace around it. Pure."""

from __future__ import annotations

import msgspec

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.metadata import Container
from tracer.stream.pidns import INITIAL_PIDNS, PidnsId, chain_of


class Lane(msgspec.Struct):
    """The processes of one container in one PID namespace, or of a namespace that is no container's.

    spaces: that namespace and those around it, the host's first. counts: how many rows of each kind it has.
    """

    container: Container | None
    spaces: tuple[PidnsId, ...]
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
    def outer(self) -> PidnsId | None:
        """The namespace around it; None: the host's, or it is the host's."""
        return self.spaces[-2] if len(self.spaces) > 2 else None

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
        pidns = spaces[-1]
        key = (container.id, container.incarnation, pidns) if container else ("", 0, pidns)
        if key not in self._numbers:
            self._numbers[key] = len(self.all)
            self._by_container.setdefault(key[:2], len(self.all))
            self.all.append(Lane(container, spaces))
        found = self._numbers[key]
        self.all[found].container = container  # an engine may name it late
        if container or pidns not in self._by_pidns:
            self._by_pidns.setdefault(pidns, found)
        return found

    def parent(self, lane: Lane) -> int | None:
        """The number of the lane around it; None: there is none, or it has not appeared."""
        return self._by_pidns.get(lane.outer) if lane.outer else None

    def of_container(self, container: Container | None) -> int | None:
        """The number of a container's first lane; None: none has appeared."""
        if container is None:
            return None
        return self._by_container.get((container.id, container.incarnation))
