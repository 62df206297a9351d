"""--where and its short forms: from options to what lets rows pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from tracer.errors import NstraceError
from tracer.system import imports

if TYPE_CHECKING:
    from tracer.ask.event_filter import EventFilter
    from tracer.ask.process_filter import ProcessFilter
    from tracer.recording.source import RecordedSource
    from tracer.stream.attribution import Attribution
    from tracer.stream.batch import Batch
    from tracer.wiring.live import LiveSource
    from tracer.wiring.options import StreamOptions

T = TypeVar("T")
Passing = Callable[["Batch", "Attribution"], "Batch"]
"""Takes a batch and who knows its containers; returns what passes."""
USES = ("tracer.recording.some_columns", *imports.OF_ARROW)
"""Modules that are used for the first time when a batch comes."""


class Unanswerable(NstraceError):
    """A condition that could not be evaluated for a row of the stream."""


def everything(batch: Batch, _containers: Attribution) -> Batch:
    """The batch: without a condition all passes."""
    return batch


def make_filter(options: StreamOptions) -> EventFilter | None:
    """What lets rows pass; None: all do. Made before anything is traced or read. Raises NstraceError (usage)."""
    return filter_of(options.where)


def filter_of(where: Sequence[str]) -> EventFilter | None:
    """As `make_filter`, of conditions as they were typed, of which all have to be true; None: there are none."""
    if not where:
        return None
    with named():
        from tracer.ask.event_filter import EventFilter

        imports.load(*USES)
        return _made(EventFilter, where)


def processes_of(where: Sequence[str]) -> ProcessFilter | None:
    """What lets processes of a list pass, as `filter_of`; None: all do. Raises NstraceError (usage)."""
    if not where:
        return None
    with named():
        from tracer.ask.process_filter import ProcessFilter

        return _made(ProcessFilter, where)


def _made(make: Callable[[str], T], where: Sequence[str]) -> T:
    """A filter for which all of these are true. Each is made by itself first: what is wrong is said with its place in
    what was typed, and no bracket of one closes that of another."""
    if len(where) == 1:
        return make(where[0])
    for one in where:
        make(one)
    return make(" and ".join(f"({one}\n)" for one in where))  # a condition can end in a comment


def passing_live(found: EventFilter | None, source: LiveSource) -> tuple[Passing, Passing]:
    """What of a live source is shown, and what is recorded. A condition has a fixed cost a batch: events gather for
    longer ahead of it."""
    from tracer.kernel.trace import ASKED_S, LIVE_S

    if found is None:
        return everything, everything
    source.trace.gather_from_s, source.trace.gather_up_to_s = LIVE_S, ASKED_S
    found.add_run(source.attribution, source.wall_offset_ns, os.uname().nodename)
    return _named(found.passing), _named(found.kept)


def let_pass(found: EventFilter | None, sources: Sequence[RecordedSource]) -> None:
    """Make recorded sources yield what passes alone."""
    if found is None:
        return
    for source in sources:
        found.add_run(source.attribution, source.wall_offset_ns, source.recordings[0].facts.host)
        source.passing = _named(found.passing)


def _named(passing: Passing) -> Passing:
    """The same, whose errors say that they are about the condition."""

    def named_passing(batch: Batch, containers: Attribution) -> Batch:
        try:
            with named():
                return passing(batch, containers)
        except NstraceError as error:
            raise Unanswerable(error.message, error.hint, error.exit_code) from error

    return named_passing


@contextmanager
def named() -> Iterator[None]:
    """Say in an error that it is about the condition."""
    try:
        yield
    except NstraceError as error:
        raise NstraceError(f"--where: {error.message}", error.hint, error.exit_code) from error
