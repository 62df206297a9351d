"""What signals do where nothing has to be shown or recorded to its end: they interrupt."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from tracer.interrupt import arrived, interrupt


def interrupt_at_signals() -> None:
    """Let signals end the command in order: nothing is left of what was begun."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, interrupt)


@contextlib.contextmanager
def until_interrupted() -> Iterator[None]:
    """For what goes on until a signal comes, which is its normal end."""
    interrupt_at_signals()
    try:
        yield
    except KeyboardInterrupt:
        arrived()
