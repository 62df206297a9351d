"""Wall clock times of events, column-wise: consecutive events mostly share their second."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_SECOND_NS = np.uint64(1_000_000_000)


class Clock:
    """wall_offset_ns: wall clock minus boottime when the trace began. pattern: for strftime(3), down to the second.

    digits: of the fraction that is shown behind it.
    """

    def __init__(
        self, wall_offset_ns: int, pattern: str, digits: int, zone: Callable[[float], time.struct_time]
    ) -> None:
        self._offset, self._pattern, self._zone = np.uint64(wall_offset_ns), pattern, zone
        self._unit_ns = np.uint64(10 ** (9 - digits))
        self._format = f"%s.%0{digits}d"
        self._known: tuple[int, str] = (-1, "")

    def columns(self, ts_ns: NDArray[np.uint64]) -> tuple[list[str], list[int]]:
        """The seconds as text, and the fractions, of boottimes, both of shape (n,)."""
        wall_ns = ts_ns + self._offset
        seconds = wall_ns // _SECOND_NS
        fractions = (wall_ns - seconds * _SECOND_NS) // self._unit_ns
        changes = [0, *(np.flatnonzero(seconds[1:] != seconds[:-1]) + 1).tolist(), len(seconds)]
        texts: list[str] = []
        for start, stop in itertools.pairwise(changes):
            if start < stop:
                texts += [self._second(int(seconds[start]))] * (stop - start)
        return texts, fractions.tolist()

    def text(self, ts_ns: int) -> str:
        """One boottime as wall clock time."""
        (second,), (fraction,) = self.columns(np.array([ts_ns], np.uint64))
        return self._format % (second, fraction)

    def _second(self, second: int) -> str:
        if second != self._known[0]:
            self._known = (second, time.strftime(self._pattern, self._zone(second)))
        return self._known[1]
