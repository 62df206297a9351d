"""What `tracer.follow` and `tracer.follow_typed` return: events as they happen, and a trace that ends when told to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Generic, TypeVar

from tracer.api import lines_of, names_of, texts_of
from tracer.errors import ExitCode, NstraceError
from tracer.kernel.options import LoadOptions
from tracer.wiring.following import RESTART_S, followed
from tracer.wiring.streaming import kinds_named

T = TypeVar("T")


class Events(Iterator[T], Generic[T]):
    """Events as they happen: an iterator, and a context manager.

    As a context manager it traces from the beginning of the block to its end, where everything is closed at once:
    `with tracer.follow("web") as events: ...`. Without, it begins when the first event is requested, and ends when
    `close` is called, or when nothing refers to it any more.
    """

    def __init__(self, what: str, events: Generator[T | None, None, None]) -> None:
        """events: its first value, None, says that tracing has begun."""
        self._what, self._events = what, events
        self._state = "not begun"

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        self._begin()
        event = next(self._events)
        assert event is not None
        return event

    def __enter__(self) -> Events[T]:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> None:
        if self._state == "not begun":
            self._state = "following"
            next(self._events)

    def close(self) -> None:
        """End the trace; nothing stays open. There are no more events then."""
        self._state = "closed"
        self._events.close()

    def __repr__(self) -> str:
        return f"<events of {self._what}: {self._state}>"


def follow_objects(
    targets: Sequence[str | Iterable[str]],
    events: str | Collection[str],
    threads: bool,
    duration: float | None,
    decode: Callable[[bytes], T],
) -> Events[T]:
    """`tracer.follow`, with the arguments checked at once. decode: converts a line of JSON to what is yielded."""
    texts = texts_of(targets)
    names = names_of(events)
    if duration is not None and not duration > 0:
        raise NstraceError(f"{duration} s is not a valid duration", "use more than 0 seconds, or None", ExitCode.USAGE)
    return Events(", ".join(texts) or "all containers", _objects(texts, names, threads, duration, decode))


def _objects(
    targets: Sequence[str],
    events: Collection[str],
    threads: bool,
    duration: float | None,
    decode: Callable[[bytes], T],
) -> Generator[T | None, None, None]:
    from tracer.stream.table import MAX_PROCESSES
    from tracer.views.jsonl import JsonLines
    from tracer.wiring.session import Limits, Session

    kinds = kinds_named(events, threads)
    following = followed(targets, LoadOptions(threads=threads), MAX_PROCESSES, lambda _line: None)
    with following as (source, lifetime, _engines):
        view = JsonLines(kinds=kinds, threads=threads, wall_offset_ns=source.wall_offset_ns)
        limits = Limits(duration, None, lifetime.is_over, RESTART_S, is_gone=lifetime.is_gone)
        session = Session(source, view, kinds, limits, watcher=lifetime)
        texts: list[bytes] = []
        yield None
        for _step in session.steps(texts.append):
            for text in texts:
                yield from map(decode, lines_of(text))
            texts.clear()
