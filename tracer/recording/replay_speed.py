"""A recording at the speed at which it happened, or a multiple of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from tracer.stream.batch import Batch
from tracer.stream.source import Source

_SECOND_NS = 1_000_000_000
_LOOK_S = 0.1  # the longest sleep before timeout_s is called again


class Paced:
    """Another source's events, each at its time. A time that goes back counts as the time before it.

    speed: 2.0 is twice as fast. max_idle_s: longer pauses are cut to this, before speed is applied.
    """

    def __init__(
        self,
        source: Source,
        speed: float,
        max_idle_s: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.attribution, self.table = source.attribution, source.table
        self._source, self._speed = source, speed
        self._max_idle_ns = None if max_idle_s is None else int(max_idle_s * _SECOND_NS)
        self._clock, self._sleep = clock, sleep
        self._last_ns = 0  # the latest time shown
        self._due_s: float | None = None  # when that was

    @property
    def lost(self) -> int:
        """How many events the other source has lost."""
        return self._source.lost

    def account(self) -> None:
        """Nothing was counted on the way."""

    def batches(self, timeout_s: Callable[[], float | None]) -> Iterator[Batch]:
        """As `Source.batches`."""
        for batch in self._source.batches(timeout_s):
            times = np.maximum.accumulate(batch.rows["ts_ns"].astype(np.int64))
            at = 0
            while at < len(batch):
                if not self._wait(max(self._last_ns, int(times[at])), timeout_s):
                    return
                upto = max(at + 1, int(np.searchsorted(times, self._last_ns, side="right")))
                yield batch.part(at, upto)
                at = upto

    def _wait(self, ts_ns: int, timeout_s: Callable[[], float | None]) -> bool:
        """Wait until it is time for an event of ts_ns, then set _last_ns to that time. False: stop."""
        now = self._clock()
        if self._due_s is None:
            self._last_ns, self._due_s = ts_ns, now
            return True
        pause_ns = ts_ns - self._last_ns
        if self._max_idle_ns is not None:
            pause_ns = min(pause_ns, self._max_idle_ns)
        due_s = self._due_s + pause_ns / _SECOND_NS / self._speed
        while (left := due_s - self._clock()) > 0:
            if timeout_s() is None:
                return False
            self._sleep(min(left, _LOOK_S))
        self._last_ns, self._due_s = ts_ns, due_s
        return True
