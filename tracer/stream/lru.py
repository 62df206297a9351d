"""A table with a bounded number of entries. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """A table for at most limit entries: the entry that was used longest ago is evicted. evicted: how many were.

    weigh: returns what a value counts; all together count max_weight at the most, unless one alone counts more.
    """

    def __init__(self, limit: int, weigh: Callable[[V], int] = lambda _value: 0, max_weight: int = 0) -> None:
        self.evicted = 0
        self._limit = limit
        self._weigh, self._max_weight, self._weight = weigh, max_weight, 0
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[K]:
        """The keys as of now, longest unused first: `get` changes their order during an iteration."""
        return iter(list(self._entries))

    def pop(self, key: K) -> None:
        """Remove the entry, if there is one."""
        if key in self._entries:
            self._weight -= self._weigh(self._entries.pop(key))

    def trim(self, limit: int) -> None:
        """Evict what was used longest ago, until there are so many at the most."""
        while len(self._entries) > limit:
            self.pop(next(iter(self._entries)))
            self.evicted += 1

    def get(self, key: K) -> V | None:
        """The value, which counts as just used; None: there is none."""
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        """Add or replace an entry."""
        self.pop(key)
        self._entries[key] = value
        self._weight += self._weigh(value)
        while len(self._entries) > self._limit or (self._weight > self._max_weight and len(self._entries) > 1):
            self.pop(next(iter(self._entries)))
            self.evicted += 1
