"""The parts of a wait status: exit code, signal, core."""

from __future__ import annotations

import signal
from functools import lru_cache
from typing import NamedTuple


class ExitStatus(NamedTuple):
    """How a process ended. exit_code: None where a signal ended it; signal: its name, or None."""

    exit_code: int | None
    signal: str | None
    core_dumped: bool


@lru_cache(maxsize=1024)
def ending(status: int) -> ExitStatus:
    """The parts of a status as wait(2) reports it."""
    number = status & 0x7F
    if number:
        return ExitStatus(None, _signal_name(number), bool(status & 0x80))
    return ExitStatus(status >> 8 & 0xFF, None, False)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if number > signal.SIGRTMIN else f"SIG{number}"
