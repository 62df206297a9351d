"""When events were lost, and until when that makes the owner of a number unsure. Pure."""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.stream.schema import Kind

NEVER_NS = (1 << 63) - 1


class Hole(NamedTuple):
    """Events are missing between these times (boottime). None: without a limit: nothing was reported before the stream
    began, and after its end."""

    since_ns: int | None
    until_ns: int | None


class Gaps:
    """The GAP rows of a stream, each until a REPAIR row repairs it: one whose list of processes was begun after it.

    What was lost in since..until may still mislead at any time from since up to healed.
    """

    def __init__(self, rows: NDArray[np.void]) -> None:
        gaps = rows[rows["kind"] == Kind.GAP]
        repairs = rows[rows["kind"] == Kind.REPAIR]
        self._since = gaps["start_ns"].astype(np.int64)
        self._until = gaps["ts_ns"].astype(np.int64)
        self._healed = _first_after(
            repairs["start_ns"].astype(np.int64), repairs["ts_ns"].astype(np.int64), self._until
        )
        self._times, self._latest = _steps(self._since, self._until, self._healed)

    def __bool__(self) -> bool:
        """Whether any events were lost."""
        return len(self._since) > 0

    def unsure(self, times: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.bool_]:
        """For each time, whether an event between `known` and that time may have been lost and not been found by then.
        All arrays of shape (n,)."""
        found = np.searchsorted(self._times, times, side="right") - 1
        unsure: NDArray[np.bool_] = self._latest[found + 1] >= known
        return unsure

    def in_order(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The gaps in order of their beginning: since when; of each and all before it the latest `until`, and when that
        is healed (what is lost later is healed later)."""
        order = np.argsort(self._since, kind="stable")
        until, healed = self._until[order], self._healed[order]
        return self._since[order], np.maximum.accumulate(until), np.maximum.accumulate(healed)

    def hole(self, begin_ns: int, end_ns: int, known_ns: int) -> Hole | None:
        """From when to when events were lost that may mislead at some time from begin to end about what happened after
        `known`; None: there are none."""
        misleads = (self._since <= end_ns) & (self._healed > begin_ns) & (self._until >= known_ns)
        if not misleads.any():
            return None
        return Hole(int(self._since[misleads].min()), int(self._until[misleads].max()))


def _first_after(begun: NDArray[np.int64], done: NDArray[np.int64], until: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each gap the end of the first repair that was begun after it."""
    order = np.argsort(begun, kind="stable")
    done = np.append(np.minimum.accumulate(done[order][::-1])[::-1], NEVER_NS)
    healed: NDArray[np.int64] = done[np.searchsorted(begun[order], until)]
    return healed


def _steps(since: Any, until: Any, healed: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Times, and the latest `until` of all gaps that mislead: one value before the first time, and one from each time
    on; -1: none misleads."""
    gaps = sorted(zip(since.tolist(), until.tolist(), healed.tolist(), strict=True))
    times = sorted({time for gap in gaps for time in (gap[0], gap[2])})
    latest, begun = [-1], 0
    active: list[tuple[int, int]] = []
    for time in times:
        while begun < len(gaps) and gaps[begun][0] <= time:
            heapq.heappush(active, (-gaps[begun][1], gaps[begun][2]))
            begun += 1
        while active and active[0][1] <= time:
            heapq.heappop(active)
        latest.append(-active[0][0] if active else -1)
    return np.array(times, np.int64), np.array(latest, np.int64)
