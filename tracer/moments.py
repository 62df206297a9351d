"""Moments of a recording as users type them. Pure, apart from clock and time zone.

2026-11-24T08:15:19.5Z  with or without fraction and zone; without one this host's; a blank for the T
08:15:19.5              that time of day, on the day of the recording
@1732435200.5           seconds since 1970
+1m30s                  after the recording's beginning      -10s  before its end
3m ago                  before now
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from tracer.errors import ExitCode, NstraceError

_SECOND_NS = 1_000_000_000
_UNITS_NS = {
    "h": 3600 * _SECOND_NS,
    "m": 60 * _SECOND_NS,
    "s": _SECOND_NS,
    "ms": 10**6,
    "us": 10**3,
    "ns": 1,
    "": _SECOND_NS,
}
_NUMBER = r"\d{1,10}(?:\.\d{1,9})?"
_STEPS = re.compile(rf"({_NUMBER})(h|ms|m|s|us|ns|)")
_CLOCK = re.compile(
    r"(?:(\d{4}-\d\d-\d\d)[T ])?(\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", re.IGNORECASE
)
_EXAMPLES = "for example 08:15:19, 2026-11-24T08:15:19.5Z, +90s (from its beginning) or -10s (before its end)"


@dataclass(frozen=True)
class Span:
    """From when to when a recording tells of events: wall clock, ns."""

    begin_ns: int
    end_ns: int


def parse_moment(text: str, span: Span) -> int:
    """Wall clock in ns. Raises NstraceError (usage)."""
    text = text.strip()
    if text[:1] in ("+", "-"):
        length_ns = _length_ns(text[1:])
        if length_ns is not None:
            return span.begin_ns + length_ns if text[0] == "+" else span.end_ns - length_ns
    if text.endswith(" ago") and (length_ns := _length_ns(text.removesuffix(" ago").strip())) is not None:
        return time.time_ns() - length_ns
    if text[:1] == "@" and re.fullmatch(_NUMBER, text[1:], re.ASCII):
        return _decimal_ns(text[1:])
    if match := _CLOCK.fullmatch(text):
        try:
            return _clock_ns(match, span)
        except (ValueError, OverflowError):
            pass
    raise NstraceError(f"{text!r} is no time", _EXAMPLES, ExitCode.USAGE)


def parse_range(text: str, span: Span) -> tuple[int, int]:
    """A..B; without A from the beginning, without B to the end. Raises NstraceError (usage)."""
    first, dots, last = text.partition("..")
    if not dots:
        raise NstraceError(f"{text!r} is no range of time", "for example 08:15:19..08:16 or +10s..+20s", ExitCode.USAGE)
    begin_ns = parse_moment(first, span) if first.strip() else span.begin_ns
    end_ns = parse_moment(last, span) if last.strip() else span.end_ns
    if end_ns < begin_ns:
        raise NstraceError(f"{text!r} ends before it begins", "the earlier time comes first", ExitCode.USAGE)
    return begin_ns, end_ns


def _length_ns(text: str) -> int | None:
    """1h2m3.5s, or plain seconds."""
    steps = _STEPS.findall(text)
    if not steps or "".join(number + unit for number, unit in steps) != text or not text.isascii():
        return None
    if len(steps) > 1 and any(not unit for _number, unit in steps):
        return None
    return sum(_decimal_ns(number) * _UNITS_NS[unit] // _SECOND_NS for number, unit in steps)


def _decimal_ns(text: str) -> int:
    whole, _dot, fraction = text.partition(".")
    return int(whole) * _SECOND_NS + int(fraction.ljust(9, "0") or 0)


def _clock_ns(match: re.Match[str], span: Span) -> int:
    day, clock, fraction, zone = match.groups()
    fraction_ns = int((fraction or "0").ljust(9, "0"))
    if day:
        return _stamp(f"{day}T{clock}", zone) + fraction_ns
    first = datetime.fromtimestamp(span.begin_ns // _SECOND_NS).astimezone()
    days = (first.date() + timedelta(days=offset) for offset in (-1, 0, 1))
    moments = [_stamp(f"{day.isoformat()}T{clock}", zone) + fraction_ns for day in days]
    # of the three the one that is in the recording, else the one that is nearest
    return min(moments, key=lambda moment: max(span.begin_ns - moment, moment - span.end_ns, 0))


def _stamp(text: str, zone: str | None) -> int:
    moment = datetime.fromisoformat(text + (zone or "").upper())
    aware = moment if moment.tzinfo else moment.astimezone()
    return int(aware.timestamp()) * _SECOND_NS
