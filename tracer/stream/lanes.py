"""Containers and PID namespaces as lanes of a picture, each in the lane of the namespace around it. Pure."""

from __future__ import annotations

import msgspec

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, of_kind
from tracer.stream.membership import Member
from tracer.stream.metadata import Container
from tracer.stream.pidns import INITIAL_PIDNS, PidnsId, chain_of
from tracer.stream.schema import Kind

_Life = tuple[str, int, int]
"""A life of a container: its id; the id of the cgroup that is its own; where that is not known, its number."""


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
        self._numbers: dict[tuple[_Life | None, PidnsId], int] = {}
        self._of_life: dict[_Life, list[int]] = {}
        self._of_pair: dict[tuple[int, ...], int] = {}  # as long as nothing is learned
        self._learned = -1
        self._by_pidns: dict[PidnsId, int] = {}
        self._by_container: dict[tuple[str, int], int] = {}

    def learn(self, batch: Batch, attribution: Attribution) -> None:
        """What the rows say of how containers are called: an engine may name one late, or give it another name, and
        then nothing need happen in it. To be called ahead of `number`, with each batch."""
        for cgroup_id in batch.rows["cgroup_id"][of_kind(batch.rows, Kind.CGROUP)].tolist():
            if fact := attribution.cgroups.get(cgroup_id):
                found = [Member(fact.container, fact.root)] if fact.container else []
                for member in (*found, *(Member(inner.container, inner.root) for inner in fact.inner)):
                    self._named(_life(member), member.container)

    def _named(self, life: _Life, container: Container) -> None:
        for number in self._of_life.get(life, ()):
            self.all[number].container = container
            self._by_container.setdefault((container.id, container.incarnation), number)

    def number(self, batch: Batch, at: int, attribution: Attribution) -> int:
        """The number of the lane of the row at an index, which is about a process."""
        row = batch.rows[at]
        pair = *row["chain"][0].tolist()[::2], int(row["level"]), int(row["cgroup_id"])
        if self._learned != attribution.learned:
            self._learned = attribution.learned
            self._of_pair.clear()
        if (found := self._of_pair.get(pair)) is None:
            found = self._of_pair[pair] = self._number(batch, at, attribution)
        return found

    def _number(self, batch: Batch, at: int, attribution: Attribution) -> int:
        chain, cgroup_id = chain_of(batch, at), int(batch.rows["cgroup_id"][at])
        member = attribution.member(chain, cgroup_id)
        inside = chain if batch.rows["level"][at] else ()
        spaces = (INITIAL_PIDNS, *(number.pidns for number in inside))
        life = _life(member) if member else None
        found = self._numbers.get((life, spaces[-1]))
        if found is None:
            found = self._numbers[life, spaces[-1]] = self._found(member, spaces, attribution)
            if found == len(self.all):
                around = attribution.enclosing(chain, cgroup_id)[1:2] if member else ()
                lane = Lane(None, spaces, next(((one.id, one.incarnation) for one in around), None))
                self.all.append(lane)
            if life and found not in self._of_life.setdefault(life, []):
                self._of_life[life].append(found)
        if life and member:
            self._named(life, member.container)
        if member or spaces[-1] not in self._by_pidns:
            self._by_pidns.setdefault(spaces[-1], found)
        return found

    def _found(self, member: Member | None, spaces: tuple[PidnsId, ...], attribution: Attribution) -> int:
        """The container's lane, where processes with these namespaces belong into that; else a new one."""
        if member is None:
            return len(self.all)
        container = member.container
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

    def is_nested(self, lane: Lane) -> bool:
        """Whether it lies in another lane of its container."""
        parent = self.parent(lane)
        return parent is not None and self.all[parent].label == lane.label

    def title(self, lane: Lane) -> str:
        """Its label, with what tells it from the other lanes of its container."""
        return f"{lane.label} pidns:{lane.pidns.inum} (level {lane.level})" if self.is_nested(lane) else lane.label

    def of_container(self, container: Container | None) -> int | None:
        """The number of a container's lane; None: it has not appeared."""
        if container is None:
            return None
        return self._by_container.get((container.id, container.incarnation))


def _life(member: Member) -> _Life:
    container, root = member
    return container.id, root, 0 if root else container.incarnation
