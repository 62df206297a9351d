"""One step ahead: the next item is made by another thread while this one is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Ahead:
    """A thread that makes items ahead. Until it has begun they are made when they are asked for: in a process that
    begins no threads. pool: has this thread alone; None: it has not begun.

    What makes an item must not wait for an item of the same Ahead.
    """

    def __init__(self) -> None:
        self.pool: Executor | None = None

    def begin(self) -> None:
        """Begin the thread, while threads can be made."""
        self.pool = ThreadPoolExecutor(1)
        self.pool.submit(int).result()

    def of(self, items: Iterable[T]) -> Iterator[T]:
        """The same items, in order; what making one raises is raised here."""
        if self.pool is None:
            yield from items
            return
        steps, end = iter(items), object()
        waiting: Future[Any] = self.pool.submit(next, steps, end)
        while (item := waiting.result()) is not end:
            waiting = self.pool.submit(next, steps, end)
            yield item
