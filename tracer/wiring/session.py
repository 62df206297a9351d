"""The loop: for every batch of a source, call view and recorder, and count. One thread, one direction."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracer.stream.account import Account
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, of_kind
from tracer.stream.failures import is_failure
from tracer.stream.schema import SHOWN_KINDS, SUMMARY_KINDS, Flag, Kind
from tracer.stream.source import BatchSink, Source
from tracer.text.counted import counted
from tracer.text.times import elapsed
from tracer.views.view import View
from tracer.wiring.conditions import Passing, everything

IDLE_S = 0.5
_INFERRED = int(Flag.INFERRED)
_WORDS = {kind: kind.name.lower().replace("_", " ") for kind in Kind}


@dataclass
class Limits:
    """When to stop by itself. is_over: called when no process of the targets has lived for grace_s; is_gone: when none
    was seen at all. only_failed: of the events, failures alone count. passing: takes a batch and its containers;
    returns the rows that are shown and counted; kept: those that are recorded, these among them."""

    duration_s: float | None = None
    count: int | None = None
    is_over: Callable[[], bool] = lambda: False
    grace_s: float = 0.0
    only_failed: bool = False
    is_gone: Callable[[], bool] = lambda: False
    passing: Passing = everything
    kept: Passing = everything


@dataclass
class Summary:
    """What a session has seen. inferred: rows that no event reported, not counted as events. evicted: living processes
    for which the table had no room. masked: secrets in arguments; None: nobody looked for them. seconds: how long it
    took, of a recording by the time of its events; None: it had none. kinds: those that were shown."""

    events: Counter[Kind] = field(default_factory=Counter)
    lost: int = 0
    inferred: int = 0
    account: Account | None = None
    evicted: int = 0
    masked: int | None = None
    seconds: float | None = None
    kinds: frozenset[Kind] = frozenset(SUMMARY_KINDS)

    @property
    def is_complete(self) -> bool:
        """Whether no event was lost, and none is missing that the programs have counted."""
        return not self.lost and not (self.account and (self.account.differences() or self.account.broken()))

    @property
    def total(self) -> int:
        """How many events were shown, without snapshot rows."""
        return sum(self.events[kind] for kind in self._shown)

    @property
    def _shown(self) -> tuple[Kind, ...]:
        return tuple(kind for kind in SUMMARY_KINDS if kind in self.kinds)

    def line(self) -> str:
        """A line for people."""
        parts = [counted(self.events[kind], _WORDS[kind]) for kind in self._shown if self.events[kind]]
        return "".join(
            [
                counted(self.total, "event"),
                f" ({', '.join(parts)})" if parts else "",
                f" in {elapsed(self.seconds)}" if self.seconds is not None else "",
                f", {self.lost} lost",
                f", {self.inferred} inferred" if self.inferred else "",
                f", {counted(self.evicted, 'living process', 'es')} evicted from the table" if self.evicted else "",
                "" if self.masked is None else f", {counted(self.masked, 'secret')} masked",
            ]
        )


class Period:
    """From the first row to the last one. The rows of several runs have clocks of their own: each is a period."""

    def __init__(self) -> None:
        self._run: Attribution | None = None
        self._first_ns = self._last_ns = self._before_ns = 0

    def take(self, batch: Batch, run: Attribution) -> None:
        """Receive the next batch. run: its attribution, by which runs are told apart."""
        times = batch.rows["ts_ns"][of_kind(batch.rows, *SHOWN_KINDS)]
        if not len(times):
            return
        first_ns, last_ns = int(times.min()), int(times.max())
        if run is not self._run:
            self._run, self._before_ns = run, self._before_ns + self._last_ns - self._first_ns
            self._first_ns, self._last_ns = first_ns, last_ns
        self._first_ns, self._last_ns = min(self._first_ns, first_ns), max(self._last_ns, last_ns)

    @property
    def seconds(self) -> float | None:
        """How long the periods are together, in s; None: there was no row."""
        return None if self._run is None else (self._before_ns + self._last_ns - self._first_ns) / 1e9


class Session:
    """Passes a source's batches to a view. `stop()` may be called from a signal handler."""

    def __init__(
        self,
        source: Source,
        view: View,
        kinds: frozenset[Kind],
        limits: Limits,
        recorder: BatchSink | None = None,
        watcher: BatchSink | None = None,
    ) -> None:
        """recorder: receives what passes. watcher: receives, when that was shown, what has come, whether it passes or
        not, up to what --count lets pass; and no empty batches."""
        self.summary = Summary(kinds=kinds)
        self._recorder, self._watcher = recorder, watcher
        self._source, self._view, self._limits = source, view, limits
        self._counted = tuple(kinds & set(SUMMARY_KINDS))
        self._shown = 0
        self._stopping = False
        self._seen_anyone = False
        self._empty_since: float | None = None
        self._started = self._heard_s = time.monotonic()
        self._period = Period()
        self._lost_before_cut = self._idles = 0

    def stop(self) -> None:
        """End at the next opportunity; what the kernel has reported by then is still shown."""
        self._stopping = True

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called, or a limit is reached."""
        return self._stopping

    def run(self, write: Callable[[bytes], None]) -> Summary:
        """Run until stopped, a limit is reached, or the targets have ended."""
        for _step in self.steps(write):
            pass
        return self.summary

    def steps(self, write: Callable[[bytes], None]) -> Iterator[None]:
        """As `run`, yielding after each batch."""
        for batch in self._source.batches(self._wait):
            if len(batch):
                self._take(batch, write)
            else:
                self._idle(batch, write)
            # of what --count leaves out nothing is said
            self.summary.lost = self._lost_before_cut if self._left() == 0 else self._source.lost
            yield
            if self._stopping and self._left() == 0:
                break
        if text := self._view.rest():
            write(text)
        self.summary.seconds = self._period.seconds
        self.summary.account = self._source.account()
        if (table := self._source.table) is not None:
            self.summary.seconds = time.monotonic() - self._started
            self.summary.evicted = table.evicted_living

    def _idle(self, batch: Batch, write: Callable[[bytes], None]) -> None:
        """Nothing came. A live source reads what there is, so what comes next is later than what came last by as long
        as this has waited; of a recording nothing is known, whatever the time between its batches."""
        if self._recorder:
            self._recorder.take(batch)
        self._idles += 1
        is_silent = self._idles > 1 and time.monotonic() - self._heard_s >= IDLE_S  # once: we may have been stopped
        if self._source.table is not None and is_silent and (text := self._view.rest()):
            write(text)

    def _take(self, batch: Batch, write: Callable[[bytes], None]) -> None:
        table = self._source.table
        self._heard_s, self._idles = time.monotonic(), 0
        self._seen_anyone = self._seen_anyone or (table is not None and len(table) > 0)
        came, containers, limits = batch, self._source.attribution, self._limits
        if self._recorder:
            batch = self._cut(limits.kept(batch, containers))
            self._recorder.take(batch)
            batch = limits.passing(batch, containers)
        else:
            batch = self._cut(limits.passing(batch, containers))
        if table is None:
            self._period.take(batch, self._source.attribution)
        if self._limits.count is not None:
            self._shown += int(self._counts(batch).sum())
        self._lost_before_cut += int(batch.rows["seq"][of_kind(batch.rows, Kind.GAP)].sum())
        inferred = batch.rows["flags"] & _INFERRED != 0
        if not self._limits.only_failed:  # how a process ended is not inferred
            self.summary.inferred += int((inferred & of_kind(batch.rows, *self._counted)).sum())
        shown = ~inferred & is_failure(batch.rows) if self._limits.only_failed else ~inferred
        for kind, count in enumerate(np.bincount(batch.rows["kind"][shown]).tolist()):
            if count:
                self.summary.events[Kind(kind)] += count
        if text := self._view.render(batch, self._source.attribution):
            write(text)
        if self._watcher:
            self._watcher.take(batch if self._left() == 0 else came)

    def _left(self) -> int | None:
        """How many events may still be shown; None: no limit."""
        if self._limits.count is None:
            return None
        return max(0, self._limits.count - self._shown)

    def _counts(self, batch: Batch) -> NDArray[np.bool_]:
        """Which rows --count counts, shape (n,)."""
        counts: NDArray[np.bool_] = of_kind(batch.rows, *self._counted) & (batch.rows["flags"] & _INFERRED == 0)
        return counts & is_failure(batch.rows) if self._limits.only_failed else counts

    def _cut(self, batch: Batch) -> Batch:
        """The batch up to the last event that --count lets pass."""
        left = self._left()
        if left is None:
            return batch
        counted = np.cumsum(self._counts(batch))
        if len(counted) and counted[-1] >= left:
            self._stopping = True
            return batch.select(np.arange(len(batch)) <= np.searchsorted(counted, left))
        return batch

    def _wait(self) -> float | None:
        """How long the source may wait for the next event, in s; None: stop."""
        now = time.monotonic()
        left = IDLE_S
        if self._limits.duration_s is not None:
            left = self._started + self._limits.duration_s - now
        self._stopping = self._stopping or left <= 0 or self._ended(now)
        return None if self._stopping else min(IDLE_S, left)

    def _ended(self, now: float) -> bool:
        table = self._source.table
        if table is None or table.live:
            self._empty_since = None
            return False
        if self._empty_since is None:
            self._empty_since = now
        if now - self._empty_since < self._limits.grace_s:
            return False
        return self._limits.is_over() if self._seen_anyone else self._limits.is_gone()
