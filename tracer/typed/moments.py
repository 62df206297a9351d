"""Moments of a recording as users type them, and windows between two. Pure, apart from clock and time zone.

2026-11-24T08:15:19.5Z  with or without fraction and zone; without one this host's; a blank for the T
08:15:19.5              that time of day, on the day of the recording
@1732435200.5           seconds since 1970
+1m30s                  after the recording's beginning      -10s  before its end
3m ago                  before now

In the end of a window + counts from where it begins, and a time of day is one after that.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tracer.errors import ExitCode, NstraceError
from tracer.text.times import between

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


UNKNOWN_NS = (1 << 63) - 1
_MAX_SHOWN = 3


@dataclass(frozen=True)
class Span:
    """From when to when a recording has events: wall clock, ns. end_ns: UNKNOWN_NS where it is a stream."""

    begin_ns: int
    end_ns: int

    @property
    def is_empty(self) -> bool:
        """Whether it ends where it begins, or before."""
        return self.end_ns <= self.begin_ns

    def meets(self, other: Span) -> bool:
        """Whether they have a moment in common."""
        return self.begin_ns <= other.end_ns and self.end_ns >= other.begin_ns

    def __str__(self) -> str:
        """The span as local times, for people."""
        return between(self.begin_ns, None if self.end_ns == UNKNOWN_NS else self.end_ns)


def parse_moment(text: str, span: Span) -> int:
    """A moment as wall clock in ns. Raises NstraceError (usage)."""
    text = text.strip()
    if text[:1] in ("+", "-"):
        length_ns = _length_ns(text[1:])
        if length_ns is not None and text[0] == "-" and span.end_ns == UNKNOWN_NS:
            raise NstraceError(f"{text!r}: when a stream ends is not known in advance", _EXAMPLES, ExitCode.USAGE)
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
    raise NstraceError(f"{text!r} is not a valid time", _EXAMPLES, ExitCode.USAGE)


def parse_range(text: str, spans: Sequence[Span]) -> list[Span | None]:
    """The windows of A..B, as `parse_windows`."""
    first, dots, last = text.partition("..")
    if not dots:
        raise NstraceError(
            f"{text!r} is not a valid range of time", "for example 08:15:19..08:16 or +10s..+5s", ExitCode.USAGE
        )
    return parse_windows(first.strip() or None, last.strip() or None, spans)


def parse_windows(first: str | None, last: str | None, spans: Sequence[Span]) -> list[Span | None]:
    """The window in each of these recordings, None where it does not meet it. Without first it begins with the
    recording, without last it ends with it. Raises NstraceError (usage) where it meets none, or is empty."""
    if first is None and last is None:
        return list(spans)
    windows = [_window(first, last, span) for span in spans]
    found = [window if window.meets(span) else None for window, span in zip(windows, spans, strict=True)]
    text = " to ".join(repr(moment) for moment in (first, last) if moment is not None)
    empty = NstraceError(
        f"{text} is empty: its end is not after its beginning", "put the earlier time first", ExitCode.USAGE
    )
    if None not in (first, last) and all(window.is_empty for window in windows):
        raise empty
    if not any(found):
        raise outside(text, spans)
    if last is not None and any(window and window.is_empty for window in found):
        raise empty
    return found


def _window(first: str | None, last: str | None, span: Span) -> Span:
    begin_ns = span.begin_ns if first is None else parse_moment(first, span)
    end_ns = span.end_ns if last is None else parse_moment(last, Span(begin_ns, span.end_ns))
    return Span(begin_ns, end_ns)


def outside(text: str, spans: Sequence[Span]) -> NstraceError:
    """The error for a time at which none of these recordings has events."""
    shown = ", ".join(map(str, spans[:_MAX_SHOWN])) + (", ..." if len(spans) > _MAX_SHOWN else "")
    what = "the recording" if len(spans) == 1 else "all recordings"
    return NstraceError(f"{text} is outside {what} ({shown})", _EXAMPLES, ExitCode.USAGE)


def _length_ns(text: str) -> int | None:
    """The length of 1h2m3.5s, or of plain seconds, in ns; None: the text is neither."""
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
    # of the three the one inside the recording, else the nearest
    end_ns = span.begin_ns if span.end_ns == UNKNOWN_NS else span.end_ns
    return min(moments, key=lambda moment: max(span.begin_ns - moment, moment - end_ns, 0))


def _stamp(text: str, zone: str | None) -> int:
    moment = datetime.fromisoformat(text + (zone or "").upper())
    aware = moment if moment.tzinfo else moment.astimezone()
    return int(aware.timestamp()) * _SECOND_NS
