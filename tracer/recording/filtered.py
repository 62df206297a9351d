"""What a recording of what passed a condition (--where) can answer: it shows the events that it has, and says that
there were others. Of processes and lives, which are worked out from all of their events, it says nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tracer.errors import ExitCode, NstraceError
from tracer.recording.source import RecordedSource

_HAS = "has only what passed a condition (--where)"
NUMBERS, LIVES = "who had which number is not known", "how processes began, lived and ended is not known"
"""What is not known of such a recording, in words: what a question is about."""


def check_complete(sources: Iterable[RecordedSource], unknown: str = NUMBERS) -> None:
    """Raises NstraceError where events were left out by a condition. unknown: what is not known then."""
    for source in _filtered(sources):
        hint = "nstrace replay shows what passed; a recording that is to be asked needs all events"
        raise NstraceError(f"{source.name} {_HAS}: {unknown}", hint, ExitCode.FAILURE)


def say_incomplete(sources: Iterable[RecordedSource], say: Callable[[str], None]) -> None:
    """Say of what shows or counts events that it has not all of them. say: writes a line for people."""
    for source in _filtered(sources):
        say(f"{source.name} {_HAS}: other events are not in it")


def is_filtered(source: RecordedSource) -> bool:
    """Whether events were left out by a condition."""
    return any(recording.facts.is_filtered for recording in source.recordings)


def _filtered(sources: Iterable[RecordedSource]) -> Iterator[RecordedSource]:
    return filter(is_filtered, sources)
