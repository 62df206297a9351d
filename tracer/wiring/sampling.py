"""The reading side of nstrace top: a live trace, or a recording that is played, sampled for the screen's process."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tracer.screen.messages import Channel, Hello, Lines, Played, Request, Said
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, of_kind
from tracer.stream.failures import is_failure
from tracer.stream.sampling import ProcKey, Sample, Sampler, merged
from tracer.stream.schema import EVENT_NAMES, Kind
from tracer.stream.source import Source
from tracer.views.lines import Lines as EventLines
from tracer.wiring.streaming import kinds_named

if TYPE_CHECKING:
    from tracer.recording.source import RecordedSource

PERIOD_S = 0.5
_MAX_LINES = 500
_SECOND_NS = 1_000_000_000


class Outlet:
    """Samples and lines for the screen; a sample only when it has asked for one, so that a slow terminal makes nobody
    wait. channel: to the screen."""

    def __init__(self, channel: Channel[Request], wall_offset_ns: int) -> None:
        self.channel = channel
        self.sampler = Sampler()
        self._waiting: Sample | None = None
        self._is_ready = True
        self._asked: ProcKey | None = None
        self._due_s = 0.0
        self._wall_offset_ns = wall_offset_ns

    def restart(self) -> None:
        """Forget everything: what comes is from another place."""
        self.sampler, self._waiting = Sampler(), None

    def take(self, batch: Batch, attribution: Attribution) -> None:
        """The next rows."""
        self.sampler.take(batch, attribution)
        if self._asked and len(batch):
            self._send_lines(batch, attribution)

    def _send_lines(self, batch: Batch, attribution: Attribution) -> None:
        rows, (tgid, start_ns) = batch.rows, self._asked or (0, 0)
        own = (rows["tgid"] == tgid) & (rows["start_ns"] == start_ns)
        own |= (rows["parent_tgid"] == tgid) & (rows["parent_start_ns"] == start_ns)
        if own.any():
            text = self._view.render(batch.select(own), attribution) + self._view.rest()
            self.channel.send(Lines(text.decode().splitlines()[:_MAX_LINES]))

    def requests(self) -> Iterator[Request]:
        """What the screen wants, but for what is answered here."""
        for request in self.channel.receive():
            if request.what == "more":
                self._is_ready = True
            elif request.what == "events":
                self._asked = request.key
                kinds = kinds_named(EVENT_NAMES, threads=False)
                self._view = EventLines(kinds=kinds, color=False, threads=False, wall_offset_ns=self._wall_offset_ns)
            else:
                yield request

    def due_in(self) -> float:
        """In how many seconds the next sample is due."""
        return max(0.0, self._due_s - time.monotonic())

    def send(self, now_ns: int, at_once: bool = False) -> None:
        """Send a sample if it is time for one, and the screen is ready."""
        if self.due_in() > 0 and not at_once:
            return
        self._due_s = time.monotonic() + PERIOD_S
        sample = self.sampler.sample(now_ns)
        self._waiting = merged(self._waiting, sample) if self._waiting else sample
        if self._is_ready:
            self.channel.send(self._waiting)
            self._waiting, self._is_ready = None, False


def sample_live(source: Source, outlet: Outlet, now_ns: Callable[[], int]) -> None:
    """Until the screen has gone."""

    def wait() -> float | None:
        for _request in outlet.requests():
            pass
        return outlet.due_in() if outlet.channel.is_open else None

    for batch in source.batches(wait):
        outlet.take(batch, source.attribution)
        outlet.send(now_ns())


class Player:
    """A recording, played for the screen: at any speed, from any place, step by step."""

    def __init__(self, make: Callable[[], RecordedSource], outlet: Outlet, begin_ns: int, end_ns: int) -> None:
        """make: the recording, from its beginning. begin_ns, end_ns: boottime."""
        self._make, self._outlet = make, outlet
        self._begin_ns, self._end_ns = begin_ns, end_ns
        self._now_ns, self.is_paused, self.speed = begin_ns, False, 1.0
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
            has_moved = [self._does(request) for request in self._outlet.requests()]
            if not self.is_paused:
                self._advance(self._now_ns + int((now_s - last_s) * self.speed * _SECOND_NS))
            last_s = now_s
            if self._outlet.due_in() == 0 or any(has_moved):
                self._outlet.send(self._now_ns, at_once=any(has_moved))
                self._outlet.channel.send(Played(self._now_ns, self.is_paused, self.speed))

    def _does(self, request: Request) -> bool:
        """Do what is wanted."""
        if request.what == "pause":
            self.is_paused = not self.is_paused
        elif request.what == "speed":
            self.speed = min(1000.0, max(0.01, request.number))
        elif request.what == "seek":
            self._seek(self._begin_ns + int(request.number))
        elif request.what == "step":
            self.is_paused = True
            self._until(lambda rows: np.ones(len(rows), bool))
        elif request.what == "failure":
            self._jump(is_failure, "no failure follows")
        elif request.what == "gap":
            self._jump(lambda rows: of_kind(rows, Kind.GAP), "no gap follows")
        return True

    def _jump(self, means: Callable[[np.ndarray], np.ndarray], otherwise: str) -> None:
        """Go on to the next of these rows; where there is none stay here, and say so."""
        self.is_paused, before_ns = True, self._now_ns
        if not self._until(means):
            self._seek(before_ns)
            self._outlet.channel.send(Said(otherwise))

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


def serve_live(
    targets: Sequence[str], channel: Channel[Request], max_processes: int, ready: Callable[[], None]
) -> None:
    """Trace the TARGETs for the screen. ready: called when it works. Raises NstraceError."""
    from tracer.kernel.options import LoadOptions
    from tracer.kernel.trace import now_ns
    from tracer.system.host_pidns import require_initial_pidns
    from tracer.wiring.following import followed

    require_initial_pidns()
    with followed(
        targets, LoadOptions(), max_processes, lambda line: channel.send(Said(line)),
        confine=lambda tracing: tracing.confine(), wait_hint="nstrace follow -F waits for it",
    ) as (source, _is_over):  # fmt: skip
        source.trace.ring.wake_on(channel.fileno())
        outlet = Outlet(channel, source.wall_offset_ns)
        channel.send(Hello(" ".join(targets) or "all containers", source.wall_offset_ns))
        ready()
        sample_live(source, outlet, now_ns)


def serve_recording(
    files: Sequence[str], targets: Sequence[str], channel: Channel[Request], ready: Callable[[], None]
) -> None:
    """Play a recording for the screen. Raises NstraceError."""
    from tracer.recording.multiple_runs import check_found, run_of
    from tracer.recording.source import RecordedSource
    from tracer.wiring.open_recordings import open_sources, targets_of

    meant = targets_of(targets)
    source = run_of(open_sources(files, ["tracer.recording.multiple_runs"], meant))
    if meant:
        any(source.found for _batch in source.batches(lambda: 0.0))
        check_found([source])
    span, offset_ns = source.span(), source.wall_offset_ns
    begin_ns, end_ns = span.begin_ns - offset_ns, span.end_ns - offset_ns
    channel.send(Hello(source.name, offset_ns, begin_ns, max(end_ns, begin_ns + 1)))
    ready()

    def make() -> RecordedSource:
        return RecordedSource([recording.again() for recording in source.recordings], meant)

    Player(make, Outlet(channel, offset_ns), begin_ns, end_ns).run()
