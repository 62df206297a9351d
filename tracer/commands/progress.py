"""A progress bar on stderr while a long recording is read."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from tracer.gate import ungated

if TYPE_CHECKING:
    from rich.progress import Progress

    from tracer.recording.source import RecordedSource

_LONG_BYTES = 16_000_000
_STEP_S = 0.2


def is_wanted(quiet: bool, to_stdout: bool) -> bool:
    """Whether a person watches stderr, and sees nothing else happen. Call it before privileges are given up."""
    wanted = not quiet and sys.stderr.isatty() and not (to_stdout and sys.stdout.isatty())
    if wanted:
        with _bar(io.StringIO()) as bar:  # unseen: rich imports much of itself when it draws
            bar.update(bar.add_task("", total=2), completed=1, refresh=True)
    return wanted


def _bar(out: TextIO) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    return Progress(
        *("nstrace:", BarColumn(), DownloadColumn(), TimeRemainingColumn()),
        console=Console(file=out, force_terminal=True),
        transient=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )


@contextmanager
def progress(sources: Sequence[RecordedSource], is_wanted: bool) -> Iterator[None]:
    """While this lasts, show how much of the files has been read; nothing for short files, or streams."""
    sizes = [source.total_bytes for source in sources]
    if not is_wanted or not all(sizes) or sum(sizes) < _LONG_BYTES:
        yield
        return
    with _bar(ungated(sys.stderr)) as bar:
        task = bar.add_task("", total=sum(sizes))
        shown_at = 0.0

        def show() -> None:
            nonlocal shown_at
            if time.monotonic() - shown_at >= _STEP_S:
                shown_at = time.monotonic()
                bar.update(task, completed=sum(source.read_bytes for source in sources), refresh=True)

        for source in sources:
            source.on_progress = show
        yield
