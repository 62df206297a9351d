"""--since and --until: which part of recordings a command reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from tracer.recording.source import RecordedSource

F = TypeVar("F", bound=Callable[..., Any])


def window_options(*also: str) -> Callable[[F], F]:
    """Add --since and --until to a command. also: other names of the two, in this order."""
    since, until = (("--since", *also[:1]), ("--until", *also[1:]))

    def add(function: F) -> F:
        function = click.option(*until, "until", metavar="TIME", help="End at TIME; +5m is 5 minutes after --since.")(
            function
        )
        return click.option(*since, "since", metavar="TIME", help="Begin at TIME.")(function)

    return add


def in_window(
    sources: list[RecordedSource], since: str | None, until: str | None, *, with_living: bool = False
) -> list[RecordedSource]:
    """The sources that have events in the window, set to show it alone. with_living: as for `RecordedSource.show`.
    Raises NstraceError (usage) where none has."""
    from tracer.typed.moments import parse_windows

    if since is None and until is None:
        return sources
    windows = parse_windows(since, until, [source.span() for source in sources])
    for source, window in zip(sources, windows, strict=True):
        if window:
            source.show(window, with_living=with_living)
    return [source for source, window in zip(sources, windows, strict=True) if window]
