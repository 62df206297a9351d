"""A table with a bounded number of entries. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """A table for at most limit entries: the entry that was used longest ago is evicted. evicted: how many were."""

    def __init__(self, limit: int) -> None:
        self.evicted = 0
        self._limit = limit
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
        self._entries.pop(key, None)

    def get(self, key: K) -> V | None:
        """The value, which counts as just used; None: there is none."""
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        """Add or replace an entry."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)
            self.evicted += 1
