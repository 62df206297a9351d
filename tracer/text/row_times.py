"""The column TIME of text, in each form of --time.

The times of rows come in the order of their lines, however they were cut into batches: what a row shows depends on it
and on the rows before it alone. So replay shows what live has shown, also where times are counted from another row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tracer.text import zone
from tracer.text.clock import Clock, calendar
from tracer.text.width import pad, pad_left
from tracer.views.sheet import Sheet

Values = NDArray[Any]
_Aligned = Callable[[str, int], str]
_SECOND_NS, _MICROSECOND_NS = 1_000_000_000, 1_000
_MILLISECONDS, _MICROSECONDS, _NANOSECONDS = 3, 6, 9  # digits of a fraction
_UPTIME, _ELAPSED = 15, 13  # cells: three years and eleven days with microseconds


class RowTimes(Protocol):
    """title: of the column, as wide as the column."""

    title: str

    def values(self, ts_ns: NDArray[np.uint64]) -> Values:
        """What the next lines show, shape (n,), for `put` and `text`. ts_ns: their boottimes (ns), in their order."""

    def put(self, sheet: Sheet, values: Values) -> None:
        """Add the column to lines."""

    def text(self, value: int) -> str:
        """The column of one line."""

    def moment(self, ts_ns: int) -> str:
        """Another time (boottime, ns) that a line speaks of."""


class _Absolute(Clock):
    """Times that are what they are, whatever other rows there are."""

    def __init__(self, offset_ns: int, second: Callable[[int], str], digits: int, aligned: _Aligned) -> None:
        super().__init__(offset_ns, second, digits)
        self.title = aligned("TIME", len(self.text(0)))

    def values(self, ts_ns: NDArray[np.uint64]) -> Values:
        """As `RowTimes.values`."""
        return ts_ns

    def moment(self, ts_ns: int) -> str:
        """As `RowTimes.moment`."""
        return self.text(ts_ns).strip()


class _Elapsed:
    """Seconds since another row: the first one, or the one before. Negative where that was later: the line of a
    gap stands behind its burst. Other times that a line speaks of are times of day."""

    def __init__(self, wall_offset_ns: int, since_first: bool) -> None:
        self.title = pad_left("TIME", _ELAPSED)
        self._of_day = _of_day(wall_offset_ns)
        self._since_first = since_first
        self._other_ns: int | None = None

    def values(self, ts_ns: NDArray[np.uint64]) -> Values:
        """As `RowTimes.values`."""
        times = ts_ns.astype(np.int64)
        if not len(times):
            return times
        if self._other_ns is None:
            self._other_ns = int(times[0])
        if self._since_first:
            return times - self._other_ns
        before, self._other_ns = self._other_ns, int(times[-1])
        return np.diff(times, prepend=before)

    def put(self, sheet: Sheet, values: Values) -> None:
        """As `RowTimes.put`."""
        sheet.choice([self.text(value).encode() for value in values.tolist()], np.arange(len(values)))

    def text(self, value: int) -> str:
        """As `RowTimes.text`."""
        second, rest = divmod(abs(value) // _MICROSECOND_NS, _SECOND_NS // _MICROSECOND_NS)
        sign = "-" if value < 0 and (second or rest) else ""
        return f"{sign}{second}.{rest:06}".rjust(_ELAPSED)

    def moment(self, ts_ns: int) -> str:
        """As `RowTimes.moment`."""
        return self._of_day.text(ts_ns)


def row_times(wall_offset_ns: int) -> RowTimes:
    """The column in the form that is in use. wall_offset_ns: wall clock minus boottime when the trace began."""
    form = zone.form()
    if form in ("relative", "delta"):
        return _Elapsed(wall_offset_ns, since_first=form == "relative")
    if form == "epoch":
        return _Absolute(wall_offset_ns, str, _NANOSECONDS, pad_left)
    if form == "boot":
        before_fraction = _UPTIME - _MICROSECONDS - 1
        return _Absolute(0, lambda second: str(second).rjust(before_fraction), _MICROSECONDS, pad_left)
    return _of_day(wall_offset_ns)


def _of_day(wall_offset_ns: int) -> _Absolute:
    return _Absolute(wall_offset_ns, calendar("%H:%M:%S", zone.fields), _MILLISECONDS, pad)
