"""The reading side of nstrace top: a live trace, or a recording that is played (`tracer.wiring.playing`), sampled for
the screen's process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from tracer.screen.messages import Channel, Hello, Lines, Request, Said
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.samples import ProcKey, Sample, merged
from tracer.stream.sampling import Sampler
from tracer.stream.schema import EVENT_NAMES
from tracer.stream.source import Source
from tracer.views.lines import Lines as EventLines
from tracer.wiring.streaming import kinds_named

PERIOD_S = 0.5
_MAX_LINES = 500


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
    ) as (source, _is_over, _engines):  # fmt: skip
        source.trace.ring.wake_on(channel.fileno())
        outlet = Outlet(channel, source.wall_offset_ns)
        channel.send(Hello(" ".join(targets) or "all containers", source.wall_offset_ns))
        ready()
        sample_live(source, outlet, now_ns)


def serve_recording(
    files: Sequence[str], targets: Sequence[str], channel: Channel[Request], ready: Callable[[], None]
) -> None:
    """Play a recording for the screen. Raises NstraceError."""
    from tracer.recording.filtered import LIVES, check_complete
    from tracer.recording.multiple_runs import check_found, run_of
    from tracer.recording.source import RecordedSource
    from tracer.wiring.open_recordings import open_sources, targets_of
    from tracer.wiring.playing import Player

    meant = targets_of(targets)
    sources = open_sources(files, ["tracer.recording.multiple_runs", "tracer.wiring.playing"], meant)
    source = run_of(sources, hint="give the files of one of them")
    check_complete([source], LIVES)
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
