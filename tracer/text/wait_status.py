"""The parts of a wait status: exit code, signal, core."""

from __future__ import annotations

import signal
from functools import cache, lru_cache
from typing import NamedTuple

_MOST = 64  # _NSIG, include/uapi/asm-generic/signal.h
_SIGNALLED = 128


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
        return ExitStatus(None, signal_name(number), bool(status & 0x80))
    return ExitStatus(status >> 8 & 0xFF, None, False)


def reported_code(name: str | None, exit_code: int | None) -> int | None:
    """The exit code that a shell and an engine report of an end: of a signal 128 and its number. name: of the signal
    (`signal_name`); None: it was none. None: not known."""
    if name is None:
        return exit_code
    number = _numbers().get(name)
    return None if number is None else _SIGNALLED + number


def signal_of(text: str) -> str | None:
    """The name of the signal that an engine gives by its number or name; None: there is none."""
    if text.isascii() and text.isdigit() and len(text) < 4:
        return signal_name(int(text)) if 0 < int(text) <= _MOST else None
    return text if text in _numbers() else None


@cache
def _numbers() -> dict[str, int]:
    return {signal_name(number): number for number in range(1, _MOST + 1)}


def signal_name(number: int) -> str:
    """Such as SIGKILL or SIGRTMIN+3, as glibc counts them."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if number > signal.SIGRTMIN else f"SIG{number}"
