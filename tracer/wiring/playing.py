"""A recording, played for the screen of nstrace top: at any speed, from any place, step by step."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

import numpy as np

from tracer.past.bursts import Place, places
from tracer.recording.lookup import Batches
from tracer.recording.source import RecordedSource
from tracer.screen.messages import Played, Request, Said
from tracer.stream.batch import Batch, of_kind
from tracer.stream.failures import is_failure
from tracer.stream.schema import Kind
from tracer.wiring.sampling import Outlet

_SECOND_NS = 1_000_000_000


class Player:
    """make: the recording, from its beginning. begin_ns, end_ns: boottime."""

    def __init__(self, make: Callable[[], RecordedSource], outlet: Outlet, begin_ns: int, end_ns: int) -> None:
        self._make, self._outlet = make, outlet
        self._begin_ns, self._end_ns = begin_ns, end_ns
        self._now_ns, self.is_paused, self.speed = begin_ns, False, 1.0
        self._places: list[Place] | None = None
        self._restart()

    def _restart(self) -> None:
        self._source = self._make()
        self._batches = self._source.batches(lambda: 0.0)
        self._left: Batch | None = None

    def run(self) -> None:
        """Until the screen has gone."""
        last_s = time.monotonic()
        while self._outlet.channel.is_open:
            select.select([self._outlet.channel], [], [], max(0.01, self._outlet.due_in()))
            now_s = time.monotonic()
            requests = list(self._outlet.requests())
            for request in requests:
                self._does(request)
            if not self.is_paused:
                self._advance(self._now_ns + int((now_s - last_s) * self.speed * _SECOND_NS))
            last_s = now_s
            if self._outlet.due_in() == 0 or requests:
                self._outlet.send(self._now_ns, at_once=bool(requests))
                self._outlet.channel.send(Played(self._now_ns, self.is_paused, self.speed))

    def _does(self, request: Request) -> None:
        """Do what is wanted."""
        match request.what:
            case "pause":
                self.is_paused = not self.is_paused
            case "speed":
                self.speed = min(1000.0, max(0.01, request.number))
            case "seek":
                self._seek(self._begin_ns + int(request.number))
            case "step":
                self.is_paused = True
                self._until(lambda rows: np.ones(len(rows), bool))
            case "failure":
                self._fail()
            case "gap" | "gap before":
                self._lose(forth=request.what == "gap")

    def _fail(self) -> None:
        """Go on to the next failure; where there is none stay here, and say so."""
        self.is_paused, before_ns = True, self._now_ns
        if not self._until(is_failure):
            self._seek(before_ns)
            self._outlet.channel.send(Said("no failure follows"))

    def _lose(self, forth: bool) -> None:
        """Go to the end of the next place where events were lost, or of the one before; say which of how many that is,
        or that there is none."""
        self.is_paused = True
        if self._places is None:
            self._places = places(_gaps_of(self._make()), self._end_ns - self._begin_ns)
        ends = [place.until_ns for place in self._places]
        among = [at for at, end_ns in enumerate(ends) if (end_ns > self._now_ns if forth else end_ns < self._now_ns)]
        if among:
            at = among[0 if forth else -1]
            self._seek(ends[at])
            said = f"{at + 1} of {len(ends)}: {self._places[at]}"
        else:
            said = f"{'no more' if ends else 'no'} events were lost {'behind' if forth else 'ahead of'} here"
        self._outlet.channel.send(Said(said))

    def _seek(self, to_ns: int) -> None:
        to_ns = min(max(to_ns, self._begin_ns), self._end_ns)
        if to_ns < self._now_ns:
            self._restart()
            self._outlet.restart()
            self._now_ns = self._begin_ns
        self._advance(to_ns)

    def _advance(self, to_ns: int) -> None:
        """Take all rows up to this time."""
        self._now_ns = min(to_ns, self._end_ns)
        while (batch := self._next()) is not None:
            times = batch.rows["ts_ns"].astype(np.int64)
            upto = int(np.searchsorted(np.maximum.accumulate(times), self._now_ns, side="right"))
            self._take(batch, upto)
            if upto < len(batch):
                return

    def _until(self, means: Callable[[np.ndarray], np.ndarray]) -> bool:
        """Take the rows up to the next one of these, later than now; all where there is none. Whether there is one."""
        while (batch := self._next()) is not None:
            found = np.flatnonzero(means(batch.rows) & (batch.rows["ts_ns"].astype(np.int64) > self._now_ns))
            if len(found):
                self._advance(int(batch.rows["ts_ns"][found[0]]))
                return True
            self._take(batch, len(batch))
        self._now_ns = self._end_ns
        return False

    def _next(self) -> Batch | None:
        """The rows that have not been taken yet; None: there are no more."""
        while self._left is None or not len(self._left):
            self._left = next(self._batches, None)
            if self._left is None:
                return None
        return self._left

    def _take(self, batch: Batch, upto: int) -> None:
        if upto:
            self._outlet.take(batch.part(0, upto), self._source.attribution)
        self._left = batch.part(upto, len(batch))


def _gaps_of(source: RecordedSource) -> list[tuple[int, int, int]]:
    """Its gaps: since when, until when, how many events. No batch is read for that which has none."""
    source.choice = Batches()
    found: list[tuple[int, int, int]] = []
    for batch in source.batches(lambda: 0.0):
        gaps = batch.rows[of_kind(batch.rows, Kind.GAP)]
        found += zip(*(gaps[name].tolist() for name in ("start_ns", "ts_ns", "seq")), strict=True)
    return found
