"""--where and its short forms: from options to what lets rows pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tracer.errors import NstraceError

if TYPE_CHECKING:
    from tracer.ask.event_filter import EventFilter
    from tracer.ask.process_filter import ProcessFilter
    from tracer.recording.source import RecordedSource
    from tracer.stream.attribution import Attribution
    from tracer.stream.batch import Batch
    from tracer.wiring.live import LiveSource
    from tracer.wiring.options import StreamOptions

Passing = Callable[["Batch", "Attribution"], "Batch"]
"""Takes a batch and who knows its containers; returns what passes."""
USES = ("tracer.recording.some_columns", "numpy.ma", "numpy.strings")
"""Modules that are used for the first time when a batch comes."""


def everything(batch: Batch, _containers: Attribution) -> Batch:
    """The batch: without a condition all passes."""
    return batch


def make_filter(options: StreamOptions) -> EventFilter | None:
    """What lets rows pass; None: all do. Made before anything is traced or read. Raises NstraceError (usage)."""
    return filter_of(options.where)


def filter_of(where: str | None) -> EventFilter | None:
    """As `make_filter`, of a condition as it was typed; None: there is none."""
    if where is None:
        return None
    with named():
        from tracer.ask.event_filter import EventFilter
        from tracer.system import imports

        imports.load(*USES)
        return EventFilter(where)


def processes_of(where: str | None) -> ProcessFilter | None:
    """What lets processes of a list pass; None: all do. Raises NstraceError (usage)."""
    if where is None:
        return None
    with named():
        from tracer.ask.process_filter import ProcessFilter

        return ProcessFilter(where)


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
        with named():
            return passing(batch, containers)

    return named_passing


@contextmanager
def named() -> Iterator[None]:
    """Say in an error that it is about the condition."""
    try:
        yield
    except NstraceError as error:
        raise NstraceError(f"--where: {error.message}", error.hint, error.exit_code) from error
