"""Durations as users type them, in options and in moments. Pure.

5s  1.5m  2h  1d  500ms  1h30m  90 (seconds)  5 minutes  1 hour 30 min
"""

from __future__ import annotations

import re

from tracer.errors import ExitCode, NstraceError

EXAMPLES = "for example 5s, 1.5m, 2h, 1h30m, 500ms, or plain seconds"
_SECOND_NS = 1_000_000_000
_UNITS_NS = {
    ("d", "day", "days"): 86_400 * _SECOND_NS,
    ("h", "hr", "hrs", "hour", "hours"): 3_600 * _SECOND_NS,
    ("m", "min", "mins", "minute", "minutes"): 60 * _SECOND_NS,
    ("s", "sec", "secs", "second", "seconds", ""): _SECOND_NS,
    ("ms", "millisecond", "milliseconds"): 10**6,
    ("us", "µs", "microsecond", "microseconds"): 10**3,
    ("ns", "nanosecond", "nanoseconds"): 1,
}
_LENGTHS_NS = {name: length_ns for names, length_ns in _UNITS_NS.items() for name in names}
NUMBER = r"[0-9]{1,10}(?:\.[0-9]{1,9})?"
_STEP = re.compile(rf"({NUMBER}) ?([a-zµ]*) ?")


def duration_ns(text: str) -> int | None:
    """The duration in ns, never negative; None: the text is none. A number without a unit is seconds, and stands
    alone."""
    steps = _steps(text.strip())
    if not steps or any(unit not in _LENGTHS_NS for _number, unit in steps):
        return None
    if len(steps) > 1 and any(not unit for _number, unit in steps):
        return None
    return sum(billionths(number) * _LENGTHS_NS[unit] // _SECOND_NS for number, unit in steps)


def _steps(text: str) -> list[tuple[str, str]]:
    """The pairs of number and unit that the text consists of; none where it has anything else."""
    found, at = [], 0
    while at < len(text):
        if not (match := _STEP.match(text, at)):
            return []
        found.append((match[1], match[2]))
        at = match.end()
    return found


def parse_duration(text: str) -> int:
    """The duration in ns. Raises NstraceError (usage)."""
    length_ns = duration_ns(text)
    if length_ns is None:
        raise NstraceError(f"{text!r} is not a valid duration", EXAMPLES, ExitCode.USAGE)
    return length_ns


def billionths(text: str) -> int:
    """A decimal number in billionths, exactly: seconds in ns."""
    whole, _dot, fraction = text.partition(".")
    return int(whole) * _SECOND_NS + int(fraction.ljust(9, "0") or 0)
