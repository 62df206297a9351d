"""The tree of cgroups as the kernel tells it, and the container that each of them belongs to. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tracer.containers import paths
from tracer.facts import CgroupFact, CgroupName, Container
from tracer.recent import Recent

MAX_CGROUPS = 65536
MAX_ASKED = 10  # times for each life of a container, before it keeps its id for a name


@dataclass(frozen=True)
class Description:
    """What an engine tells of a container beyond its id."""

    name: str | None
    image: str | None
    labels: dict[str, str] = field(default_factory=dict)


class Cgroups:
    """Takes names of cgroups in any order, gives facts: path, container, and which of its lives.

    describe: (runtime, id) -> name, image and labels, or None; asked for each life of a container until it answers.
    max_cgroups bounds each table here: what was named, or was above what was named, longest ago goes first.
    """

    def __init__(self, describe: Callable[[str, str], Description | None], max_cgroups: int = MAX_CGROUPS) -> None:
        self._describe = describe
        self._known: Recent[int, CgroupName] = Recent(max_cgroups)
        self._orphans = _Orphans(max_cgroups)
        self._lives: Recent[tuple[str, str], int] = Recent(max_cgroups)
        self._containers: Recent[int, Container] = Recent(max_cgroups)  # by their root cgroup
        self._nameless: Recent[int, int] = Recent(max_cgroups)  # root cgroup -> how often it was asked for

    @property
    def evicted(self) -> int:
        """Names forgotten for lack of room."""
        return self._known.evicted + self._orphans.evicted

    def learn(self, names: Iterable[CgroupName]) -> list[tuple[int, CgroupFact]]:
        """The facts, by cgroup id, that these names complete, parents first. A cgroup whose parent is unknown waits
        for it; one that is known gives nothing."""
        facts = []
        for name in names:
            if name.cgroup_id in self._known:
                self._ancestry(name.cgroup_id)
            elif name.parent_id and name.parent_id not in self._known:
                self._orphans.add(name)
            else:
                facts += self._settle(name)
        return facts

    @property
    def nameless(self) -> frozenset[str]:
        """The ids of containers that an engine may yet name."""
        found = (self._containers.get(root_id) for root_id in self._nameless)
        return frozenset(container.id for container in found if container)

    def renew(self) -> list[tuple[int, CgroupFact]]:
        """Ask again for the names that are missing; the facts that this changes. An engine that is slow, or starts
        after us, names its containers late."""
        renewed = set()
        for root_id in list(self._nameless):
            container, asked = self._containers.get(root_id), self._nameless.get(root_id) or 0
            told = self._describe(container.runtime, container.id) if container else None
            if container and told:
                self._containers.put(root_id, _named(container, told))
                renewed.add(root_id)
            if told or asked + 1 >= MAX_ASKED or container is None:
                self._nameless.pop(root_id)
            else:
                self._nameless.put(root_id, asked + 1)
        if not renewed:
            return []
        return [
            (cgroup_id, self._fact(cgroup_id)) for cgroup_id in sorted(self._known) if self._root(cgroup_id) in renewed
        ]

    def _settle(self, name: CgroupName) -> list[tuple[int, CgroupFact]]:
        """The fact of a cgroup whose parent is known, and of all that waited for it."""
        facts, ready = [], [name]
        while ready:
            name = ready.pop()
            self._ancestry(name.parent_id)
            self._known.put(name.cgroup_id, name)
            facts.append((name.cgroup_id, self._fact(name.cgroup_id)))
            ready += self._orphans.take(name.cgroup_id)
        return facts

    def _ancestry(self, cgroup_id: int) -> list[CgroupName]:
        """The cgroup and all above it, from below the root. Marks them as used, the root last: so no cgroup is
        forgotten before those below it."""
        found = []
        while name := self._known.get(cgroup_id):
            found.append(name)
            cgroup_id = name.parent_id
        if found and found[-1].name in ("", "/"):
            found.pop()
        return found[::-1]

    def _fact(self, cgroup_id: int) -> CgroupFact:
        path, found, root_id = self._place(cgroup_id)
        return CgroupFact(path, self._container(found, root_id) if found else None)

    def _root(self, cgroup_id: int) -> int:
        """The root cgroup of the container that this cgroup is in; 0: it is in none."""
        return self._place(cgroup_id)[2]

    def _place(self, cgroup_id: int) -> tuple[str, paths.Found | None, int]:
        ancestry = self._ancestry(cgroup_id)
        path = "/" + "/".join(name.name.replace("/", r"\x2f") for name in ancestry)
        found = paths.find(path)
        return path, found, ancestry[found.depth - 1].cgroup_id if found else 0

    def _container(self, found: paths.Found, root_id: int) -> Container:
        """The life of a container that has this root cgroup: a start makes a new one, and the kernel gives no
        cgroup id twice (kernfs_node.id)."""
        lives = self._lives.get(found[:2]) or 0
        container = self._containers.get(root_id)
        if container is None:
            container = Container(found.id, found.runtime, incarnation=lives + 1)
            if told := self._describe(found.runtime, found.id):
                container = _named(container, told)
            else:
                self._nameless.put(root_id, 1)
            self._lives.put(found[:2], container.incarnation)
            self._containers.put(root_id, container)
        return container


def _named(container: Container, told: Description) -> Container:
    return Container(container.id, container.runtime, told.name, told.image, told.labels, container.incarnation)


class _Orphans:
    """Names that wait for their parent's, at most limit: who waits for the oldest missing parent is given up."""

    def __init__(self, limit: int) -> None:
        self.evicted = 0
        self._limit = limit
        self._count = 0
        self._by_parent: OrderedDict[int, dict[int, CgroupName]] = OrderedDict()

    def add(self, name: CgroupName) -> None:
        """Let it wait; once is enough."""
        siblings = self._by_parent.setdefault(name.parent_id, {})
        self._count += name.cgroup_id not in siblings
        siblings[name.cgroup_id] = name
        if self._count > self._limit:
            self.evicted += len(self.take(next(iter(self._by_parent))))

    def take(self, parent_id: int) -> list[CgroupName]:
        """Those that waited for this parent."""
        siblings = self._by_parent.pop(parent_id, {})
        self._count -= len(siblings)
        return list(siblings.values())
