"""Which of several cgroups that are called by the id of one container is that container's own. Pure.

A container is the PID namespace of its first process, and the id of the cgroup that this process was in. Root alone may
make a cgroup where its name counts by itself; but it may also make a second one, somewhere else, that is called as a
container is. As long as the container lives, it is where a PID namespace has begun first, or where an engine says that
its first process is; the other cgroup is no container's. What is at the same path is a later life: no two cgroups can
be there at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tracer.stream.lru import Lru


class Home(NamedTuple):
    """The first process of a PID namespace that lives: its start in ns, and its PID on the host."""

    start_ns: int
    tgid: int


HomesOf = Callable[[int], list[Home]]
"""Own cgroup of a container (its id) -> the PID namespaces that began in it or below it."""


class Places:
    """Remembers the cgroups that are called by each id, limit of them. What was refused once stays refused: the name is
    free when its container ends, and the next life of it comes at its own path."""

    def __init__(self, limit: int) -> None:
        self._paths: Lru[str, dict[int, str]] = Lru(limit)
        self._refused: Lru[int, None] = Lru(limit)

    def add(self, container_id: str, root: int, path: str) -> None:
        """Note a cgroup (its id) and its path."""
        paths = self._paths.get(container_id) or {}
        if root not in paths:
            kept = {one: other for one, other in paths.items() if other != path}  # the life before has ended
            self._paths.put(container_id, {**kept, root: path})

    def forget(self, container_id: str, root: int) -> None:
        """A cgroup (its id) was removed."""
        self._refused.pop(root)
        paths = self._paths.get(container_id) or {}
        if left := {one: path for one, path in paths.items() if one != root}:
            self._paths.put(container_id, left)
        else:
            self._paths.pop(container_id)

    def has(self, container_id: str) -> bool:
        """Whether a cgroup is called by this id."""
        return container_id in self._paths

    def others(self, container_id: str, root: int) -> list[int]:
        """The cgroups elsewhere that are called by the same id, and were not refused."""
        paths = self._paths.get(container_id) or {}
        return [one for one in paths if one != root and one not in self._refused]

    def is_contested(self, container_id: str) -> bool:
        """Whether several cgroups are called by this id, and none of them was refused."""
        paths = self._paths.get(container_id) or {}
        return len(paths) > 1 and not any(root in self._refused for root in paths)

    def is_elsewhere(
        self, container_id: str, root: int, homes_of: HomesOf, first_of: Callable[[str], int | None]
    ) -> bool:
        """Whether the container of this id is in another cgroup than this one. first_of: id of a container -> its first
        process, as an engine reports it, where that is to be asked; None: it does not say."""
        if root in self._refused:
            return True
        others = [home for one in self.others(container_id, root) for home in homes_of(one)]
        own = homes_of(root) if others else []
        if others and _is_theirs(others, own, first_of(container_id) if own else None):
            self._refused.put(root, None)
            return True
        return False


def _is_theirs(others: list[Home], own: list[Home], reported: int | None) -> bool:
    """Whether a container is where others have begun."""
    for homes, is_theirs in ((own, False), (others, True)):
        if any(home.tgid == reported for home in homes):
            return is_theirs
    return not own or min(others) < min(own)
