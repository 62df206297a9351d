"""Cgroups whose parent's name has not come yet. Pure."""

from __future__ import annotations

from collections import OrderedDict

from tracer.stream.metadata import CgroupName


class Orphans:
    """Names that wait for their parent's, at most limit: those that wait for the oldest missing parent are dropped."""

    def __init__(self, limit: int) -> None:
        self.evicted = 0
        self._limit = limit
        self._count = 0
        self._by_parent: OrderedDict[int, dict[int, CgroupName]] = OrderedDict()

    def add(self, name: CgroupName) -> None:
        """Let a name wait, once."""
        siblings = self._by_parent.setdefault(name.parent_id, {})
        self._count += name.cgroup_id not in siblings
        siblings[name.cgroup_id] = name
        if self._count > self._limit:
            self.evicted += len(self.take(next(iter(self._by_parent))))

    def take(self, parent_id: int) -> list[CgroupName]:
        """Remove and return the names that waited for this parent."""
        siblings = self._by_parent.pop(parent_id, {})
        self._count -= len(siblings)
        return list(siblings.values())
