"""The tree of cgroups as the kernel tells it, and the container that each of them belongs to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tracer.attribution import CgroupFact, CgroupName, Container
from tracer.containers import paths

K = TypeVar("K")
V = TypeVar("V")

MAX_CGROUPS = 65536


@dataclass(frozen=True)
class Description:
    """What an engine tells of a container beyond its id."""

    name: str | None
    image: str | None
    labels: dict[str, str] = field(default_factory=dict)


class Cgroups:
    """Takes names of cgroups in any order, gives facts: path, container, and which of its lives.

    describe: (runtime, id) -> name, image and labels, or None; asked once for each life of a container.
    max_cgroups bounds each table here: who was named, or was above one that was, longest ago goes first.
    """

    def __init__(self, describe: Callable[[str, str], Description | None], max_cgroups: int = MAX_CGROUPS) -> None:
        self._describe = describe
        self._known: _Recent[int, CgroupName] = _Recent(max_cgroups)
        self._waiting: _Recent[int, dict[int, CgroupName]] = _Recent(max_cgroups)  # by the parent that is missing
        self._lives: _Recent[tuple[str, str], int] = _Recent(max_cgroups)
        self._containers: _Recent[int, Container] = _Recent(max_cgroups)  # by the root of their cgroups

    @property
    def evicted(self) -> int:
        """Cgroups forgotten for lack of room."""
        return self._known.evicted

    def learn(self, names: Iterable[CgroupName]) -> list[tuple[int, CgroupFact]]:
        """The facts, by cgroup id, that these names complete, parents first. A cgroup whose parent is unknown waits
        for it; one that is known gives nothing."""
        facts = []
        for name in names:
            if self._known.get(name.cgroup_id):
                self._ancestry(name.cgroup_id)
            elif name.parent_id and name.parent_id not in self._known:
                self._wait(name)
            else:
                facts += self._settle(name)
        return facts

    def _wait(self, name: CgroupName) -> None:
        siblings = self._waiting.get(name.parent_id) or {}
        if len(siblings) < self._waiting.limit:
            self._waiting.put(name.parent_id, siblings | {name.cgroup_id: name})

    def _settle(self, name: CgroupName) -> list[tuple[int, CgroupFact]]:
        """The fact of a cgroup whose parent is known, and of all that waited for it."""
        facts, ready = [], [name]
        while ready:
            name = ready.pop()
            self._known.put(name.cgroup_id, name)
            facts.append((name.cgroup_id, self._fact(name.cgroup_id)))
            ready += (self._waiting.pop(name.cgroup_id) or {}).values()
        return facts

    def _ancestry(self, cgroup_id: int) -> list[CgroupName]:
        """The cgroup and all above it, from below the root. Marks them as used, the root last: no cgroup is
        forgotten before those below it."""
        found = []
        while name := self._known.get(cgroup_id):
            found.append(name)
            cgroup_id = name.parent_id
        if found[-1].name in ("", "/"):
            found.pop()
        return found[::-1]

    def _fact(self, cgroup_id: int) -> CgroupFact:
        ancestry = self._ancestry(cgroup_id)
        path = "/" + "/".join(name.name.replace("/", r"\x2f") for name in ancestry)
        found = paths.find(path)
        return CgroupFact(path, self._container(found, ancestry[found.depth - 1].cgroup_id) if found else None)

    def _container(self, found: paths.Found, root_id: int) -> Container:
        """The life that began with the cgroup root_id: an engine makes a new one at every start, and the kernel
        gives none of its numbers twice (kernfs_node.id)."""
        life = self._lives.get(found[:2]) or 0
        container = self._containers.get(root_id)
        if container is None:
            life += 1
            told = self._describe(found.runtime, found.id) or Description(None, None)
            container = Container(found.id, found.runtime, told.name, told.image, told.labels, life)
            self._lives.put(found[:2], life)
            self._containers.put(root_id, container)
        return container


class _Recent(Generic[K, V]):
    """A table with room for limit entries; the one that was used longest ago makes room, and is counted."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.evicted = 0
        self._entries: dict[K, V] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def get(self, key: K) -> V | None:
        """The value, marked as just used."""
        value = self.pop(key)
        if value is not None:
            self._entries[key] = value
        return value

    def put(self, key: K, value: V) -> None:
        """Add or replace."""
        self._entries.pop(key, None)
        self._entries[key] = value
        while len(self._entries) > self.limit:
            del self._entries[next(iter(self._entries))]
            self.evicted += 1

    def pop(self, key: K) -> V | None:
        """The value, taken away."""
        return self._entries.pop(key, None)
