"""Wall-clock times as text. Pure, apart from the time zone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tracer.text.zone import fields

if TYPE_CHECKING:
    from datetime import datetime

_SECOND_NS = 1_000_000_000
_MILLISECOND_NS = 1_000_000


def year(wall_ns: int) -> int:
    """The year of a time, in the zone that text is in."""
    return fields(wall_ns // _SECOND_NS).tm_year


def rfc3339(wall_ns: int) -> str:
    """A time for JSON: UTC, with nanoseconds."""
    second, rest = divmod(wall_ns, _SECOND_NS)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{rest:09}Z"


def utc(wall_ns: int) -> datetime:
    """A time as a datetime with its time zone, UTC. Its nanoseconds are cut to microseconds."""
    from datetime import UTC, datetime

    second, rest = divmod(wall_ns, _SECOND_NS)
    return datetime.fromtimestamp(second, UTC).replace(microsecond=rest // 1000)


def short(wall_ns: int, now_ns: int) -> str:
    """A time for a column: of today the time of day, of this year the day, else the date. Local time."""
    then, now = (fields(ns // _SECOND_NS) for ns in (wall_ns, now_ns))
    if then[:3] == now[:3]:
        return time.strftime("%H:%M:%S", then)
    return time.strftime("%b %d" if then[0] == now[0] else "%Y-%m-%d", then)


def full(wall_ns: int) -> str:
    """A time for a line of its own: local date and time, with its offset from UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z", fields(wall_ns // _SECOND_NS))


def precise(wall_ns: int) -> str:
    """A recorded time: local date and time, to the millisecond, which is never rounded up."""
    second, rest = divmod(wall_ns, _SECOND_NS)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', fields(second))}.{rest // 1_000_000:03}"


def between(begin_ns: int, end_ns: int | None) -> str:
    """A period: both ends as `precise`, cut so that both are still in it; the day once where it is the same. end_ns:
    None: not known."""
    first = precise(begin_ns + _MILLISECOND_NS - 1)
    if end_ns is None:
        return f"from {first} on"
    last = precise(end_ns)
    if end_ns - begin_ns < _MILLISECOND_NS:
        first, last = (f"{precise(ns)}{ns % _MILLISECOND_NS:06}" for ns in (begin_ns, end_ns))
    day, clock = last.split(" ")
    return f"{first} to {clock if first.startswith(day) else last}"


def duration(ns: int) -> str:
    """A duration in its largest unit."""
    if ns < 10**6:
        return f"{ns // 10**3} us"
    if ns < 10**9:
        return f"{ns // 10**6} ms"
    if ns < 60 * 10**9:
        return f"{ns / 10**9:.1f} s"
    minutes = ns // (60 * 10**9)
    return f"{minutes} min" if minutes < 180 else f"{minutes // 60} h"


def elapsed(seconds: float) -> str:
    """How long something took, in the two largest units: 2.2 s, 5 min 12 s, 3 h 20 min, 2 d 4 h."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    rest = round(seconds)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    at = next(at for at, (_name, size) in enumerate(units) if rest >= size)
    parts = [(rest // units[at][1], units[at][0]), (rest % units[at][1] // units[at + 1][1], units[at + 1][0])]
    return " ".join(f"{count} {name}" for count, name in parts if count)
