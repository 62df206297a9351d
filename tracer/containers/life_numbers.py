"""The numbers of lives of containers: web, web#2, ... Pure."""

from __future__ import annotations

import msgspec

from tracer.stream.lru import Lru
from tracer.stream.metadata import Container


class LifeNumbers:
    """Numbers lives by what is shown of them, so that no two are shown alike: a container with another id that gets the
    same name continues the count. limit: how many labels are remembered."""

    def __init__(self, limit: int) -> None:
        self._last: Lru[str, int] = Lru(limit)  # by the label without a number
        self._given: Lru[str, None] = Lru(limit)
        self._of_life: Lru[tuple[int, str], int] = Lru(limit)
        self._promised: Lru[str, Container] = Lru(limit)  # by id

    def keep(self, container: Container, life: int) -> None:
        """A container lives: what is known of it is forgotten last. life: its root cgroup."""
        name = msgspec.structs.replace(container, incarnation=1).label
        self._last.get(name)
        self._given.get(container.label)
        self._of_life.get((life, name))

    def trim(self, limit: int) -> None:
        """Remember so many at the most from now on."""
        self._last.trim(limit)
        self._given.trim(limit)
        self._of_life.trim(limit)
        self._promised.trim(limit)

    def promised(self, container: Container, is_new: bool) -> Container:
        """The container with the number that its first life will have. is_new: promise one, if none is yet."""
        if is_new and self._promised.get(container.id) is None:
            first = msgspec.structs.replace(container, incarnation=1)
            self._promised.put(container.id, self.number(first))
        known = self._promised.get(container.id)
        return msgspec.structs.replace(container, incarnation=known.incarnation) if known else container

    def number(self, container: Container, at_least: int = 1, life: int = 0) -> Container:
        """The container with the number of its life. at_least: that which the life had by the name before: it has one
        number, unless the name has had as many lives. life: its root cgroup; a life that is called again as it was
        called before has the number that it had then; 0: not known."""
        key = life, container.label
        if life and (before := self._of_life.get(key)):
            return msgspec.structs.replace(container, incarnation=before)
        if life and (promised := self._promised.get(container.id)) and promised.name == container.name:
            self._promised.pop(container.id)
            self._of_life.put(key, promised.incarnation)
            return msgspec.structs.replace(container, incarnation=promised.incarnation)
        number = max(at_least, (self._last.get(container.label) or 0) + 1)
        while (numbered := msgspec.structs.replace(container, incarnation=number)).label in self._given:
            number += 1  # a name may look like another's label
        self._last.put(container.label, number)
        self._given.put(numbered.label, None)
        self._of_life.put(key, number)
        return numbered
