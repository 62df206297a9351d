"""The difference between the wall clock and the clock of events."""

from __future__ import annotations

import time
from collections.abc import Callable

_TRIES = 8
_CLOSE_NS = 5_000


def _boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def wall_offset_ns(wall_ns: Callable[[], int] = time.time_ns, boottime_ns: Callable[[], int] = _boottime_ns) -> int:
    """Wall clock minus boottime, in ns.

    One clock is read between two readings of the other, again where these are far apart (on a busy host another program
    can run for milliseconds in between): the closest pair counts.
    """
    closest, offset_ns = 0, 0
    for tried in range(_TRIES):
        before, wall, after = boottime_ns(), wall_ns(), boottime_ns()
        if not tried or after - before < closest:
            closest, offset_ns = after - before, wall - (before + after) // 2
        if closest < _CLOSE_NS:
            break
    return offset_ns
