"""Times of events, as text: whole seconds in some form, and a fraction."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tracer.stream.distinct import distinct
from tracer.views.sheet import Sheet

_SECOND_NS = 1_000_000_000
_MASK = (1 << 64) - 1


def calendar(pattern: str, zone: Callable[[float], time.struct_time]) -> Callable[[int], str]:
    """A form of seconds since the epoch. pattern: for strftime(3), down to the second."""
    return lambda second: time.strftime(pattern, zone(second))


class Clock:
    """offset_ns: from boottime to what is shown: wall clock minus boottime when the trace began, or 0. second: the form
    of whole seconds. digits: of the fraction that is shown behind it.
    """

    def __init__(self, offset_ns: int, second: Callable[[int], str], digits: int) -> None:
        self._offset_ns, self._digits = offset_ns, digits
        self._unit_ns = 10 ** (9 - digits)
        self._second = lru_cache(64)(second)

    def put(self, sheet: Sheet, ts_ns: NDArray[np.uint64]) -> None:
        """Add a column of boottimes (ns) in this form, shape (n,)."""
        shown_ns = ts_ns + np.uint64(self._offset_ns & _MASK)  # negative where the clock says 1970: adding wraps around
        seconds = shown_ns // np.uint64(_SECOND_NS)
        first, of_row = distinct(seconds)
        sheet.choice([f"{self._second(second)}.".encode() for second in seconds[first].tolist()], of_row)
        sheet.digits(((shown_ns - seconds * np.uint64(_SECOND_NS)) // np.uint64(self._unit_ns)), self._digits)

    def text(self, ts_ns: int) -> str:
        """One boottime (ns) in this form."""
        second, rest = divmod(ts_ns + self._offset_ns, _SECOND_NS)
        return f"{self._second(second)}.{rest // self._unit_ns:0{self._digits}}"
