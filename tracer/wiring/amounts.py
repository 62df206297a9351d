"""Durations and sizes as values of options: one notation for all of them."""

from __future__ import annotations

import math
from typing import Any

import click

from tracer.errors import ExitCode, NstraceError
from tracer.typed import durations, sizes


def _option(param: click.Parameter | None) -> str:
    """The option as it is typed, before a colon."""
    return f"{max(param.opts, key=len)}: " if param else ""


class Duration(click.ParamType):  # type: ignore[type-arg]
    """An option's value in seconds. least_s, most_s: what is allowed."""

    name = "duration"

    def __init__(self, least_s: float = 0.001, most_s: float = math.inf) -> None:
        self._least_s, self._most_s = least_s, most_s

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds. Raises NstraceError (usage)."""
        try:
            seconds = durations.parse_duration(str(value)) / 1e9
        except NstraceError as error:
            raise NstraceError(f"{_option(param)}{error.message}", error.hint, error.exit_code) from error
        if not self._least_s <= seconds <= self._most_s:
            limits = f"at least {self._least_s:g} s"
            limits += f" and at most {self._most_s:g} s" if self._most_s < math.inf else ""
            message = f"{_option(param)}{value!r} is out of range: {limits}"
            raise NstraceError(message, durations.EXAMPLES, ExitCode.USAGE)
        return seconds


class Size(click.ParamType):  # type: ignore[type-arg]
    """An option's value in bytes. plain_bytes: what a number without a unit counts."""

    name = "size"

    def __init__(self, least: int, most: int | None = None, plain_bytes: int = 1) -> None:
        self._least, self._most, self._plain_bytes = least, most, plain_bytes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The bytes. Raises NstraceError (usage)."""
        try:
            size = sizes.parse_size(str(value), self._plain_bytes)
        except NstraceError as error:
            raise NstraceError(f"{_option(param)}{error.message}", error.hint, error.exit_code) from error
        if not (self._least <= size and (self._most is None or size <= self._most)):
            limits = f"at least {_shown(self._least)}" + (f" and at most {_shown(self._most)}" if self._most else "")
            raise NstraceError(f"{_option(param)}{value!r} is out of range: {limits}", sizes.EXAMPLES, ExitCode.USAGE)
        return size


def _shown(size: int) -> str:
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("kB", 1000)):
        if size % length == 0:
            return f"{size // length} {unit}"
    return f"{size} bytes"
