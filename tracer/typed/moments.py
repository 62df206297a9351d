"""Moments of a recording as users type them, and windows between two. Pure, apart from clock and time zone.

2026-11-24T08:15:19.5Z  with or without fraction and zone; without one this host's; a blank for the T; or a day alone
08:15:19.5              that time of day, on the day of the recording
1732435200.5            seconds since 1970; also with an @ in front, in any length
+1m30s                  after the recording's beginning      -10s  before its end
5m, 5m ago, 5 minutes ago, now: before now, as docker logs --since has it

In the end of a window + counts from where it begins, and a time of day is one after that.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from tracer.errors import ExitCode, NstraceError
from tracer.text.times import between
from tracer.text.zone import aware, fields
from tracer.typed.durations import billionths, duration_ns

_SECOND_NS = 1_000_000_000
_CLOCK = re.compile(
    r"(?:(\d{4}-\d\d-\d\d)[T ])?(\d?\d:\d\d(?::\d\d)?)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", re.IGNORECASE
)
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_UNIX = re.compile(r"@[0-9]{1,10}(?:\.[0-9]{1,9})?|[0-9]{9,10}(?:\.[0-9]{1,9})?")
_EXAMPLES = "for example 08:15:19, 2026-11-24T08:15:19.5Z, 5m ago, +90s (from its beginning) or -10s (before its end)"


UNKNOWN_NS = (1 << 63) - 1
_MOST_NS = 1 << 62  # from 1970; nothing was recorded further from it
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
    """A moment as wall clock in ns, at most 2^62 from 1970: one beyond that is the last one, or the first. Raises
    NstraceError (usage)."""
    return max(-_MOST_NS, min(_moment(text.strip(), span), _MOST_NS))


def _moment(text: str, span: Span) -> int:
    if text[:1] in ("+", "-"):
        length_ns = duration_ns(text[1:])
        if length_ns is not None and text[0] == "-" and span.end_ns == UNKNOWN_NS:
            raise NstraceError(f"{text!r}: when a stream ends is not known in advance", _EXAMPLES, ExitCode.USAGE)
        if length_ns is not None:
            return span.begin_ns + length_ns if text[0] == "+" else span.end_ns - length_ns
    if _UNIX.fullmatch(text):
        return billionths(text.removeprefix("@"))
    if (length_ns := _before_now_ns(text)) is not None:
        return time.time_ns() - length_ns
    if match := _CLOCK.fullmatch(f"{text}T00:00" if _DAY.fullmatch(text) else text):
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
            f"{text!r} is not a valid range of time", "for example 08:15:19..08:16 or 08:15..+5m", ExitCode.USAGE
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


def _before_now_ns(text: str) -> int | None:
    """How long before now in ns; None: the text is no such thing. A bare number could be anything, and is none."""
    if text.lower() == "now":
        return 0
    length = text.removesuffix("ago")
    return None if length == text and text[-1:].isdecimal() else duration_ns(length)


def _clock_ns(match: re.Match[str], span: Span) -> int:
    day, clock, fraction, zone = match.groups()
    clock = clock if clock[2] == ":" else f"0{clock}"
    fraction_ns = int((fraction or "0").ljust(9, "0"))
    days = [day]
    if not day:
        first = date(*fields(span.begin_ns // _SECOND_NS)[:3])
        days = [(first + timedelta(days=offset)).isoformat() for offset in (-1, 0, 1)]
    moments = [stamp + fraction_ns for day in days for stamp in _stamps(f"{day}T{clock}", zone)]
    # of these the one inside the recording, else the nearest
    end_ns = span.begin_ns if span.end_ns == UNKNOWN_NS else span.end_ns
    return min(moments, key=lambda moment: max(span.begin_ns - moment, moment - end_ns, 0))


def _stamps(text: str, zone: str | None) -> list[int]:
    """What a clock time can mean, in ns: two moments where the clock is put back, for it shows the same hour twice."""
    moment = datetime.fromisoformat(text + (zone or "").upper())
    both = [moment] if moment.tzinfo else [aware(moment.replace(fold=fold)) for fold in (0, 1)]
    return [int(one.timestamp()) * _SECOND_NS for one in both]
