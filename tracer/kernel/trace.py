"""A running trace: the programs are attached, this reads what they report. Never imports bcc."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from tracer.kernel.loader_client import CAP_SYS_ADMIN, Loaded, may
from tracer.kernel.maps import Maps, Reader
from tracer.kernel.operations import KernelOperations
from tracer.kernel.options import LoadOptions
from tracer.kernel.ring import Ring, wait_for_programs
from tracer.stream.account import Account
from tracer.stream.batch import EVENT, Batch
from tracer.stream.beginning import owners_first
from tracer.stream.decoding import Decoded, GapFinder, Joiner, missed_rows
from tracer.stream.losses import LossLedger, Share
from tracer.stream.schema import COUNTER_SLOTS
from tracer.system.broker import Local, Operations, Privileged

FIRST_LOOK_S = 0.002
LIVE_S, ASKED_S, FILE_S, UNSEEN_S = 0.024, 0.1, 0.5, 1.0
"""How long events may gather before a read: for a screen, for one with a condition, for a file, for a recording that is
not shown."""
_CHUNK_BYTES = 1 << 18
_MISSES_EVERY_NS = 1_000_000_000


def now_ns() -> int:
    """The clock of all events: CLOCK_BOOTTIME, which no one sets and which counts a suspended machine's time."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def last_ns(batch: Batch) -> int:
    """The time of a batch's last row; 0: it is empty."""
    return int(batch.rows["ts_ns"][-1]) if len(batch) else 0


@dataclass
class Trace:
    """The events of the attached programs, decoded, with gaps in their places.

    They begin at began_ns (boottime), when this is made, and end with `finish`: of all kinds and on all CPUs at once.
    may_unshare: whether processes can be put into new PID namespaces. gather_up_to_s: how long events may gather before
    a read while they come; gather_from_s: how long they do at first. read_ns: before the last read: all events until
    then (boottime) have been read.
    """

    loaded: Loaded
    options: LoadOptions

    def __post_init__(self) -> None:
        loaded = self.loaded
        self._operations = KernelOperations(loaded, self.options.max_args_bytes)
        self.maps = Maps(loaded.counts, loaded.wake, Local(self._operations.operations()))
        self.ring = Ring(loaded.ring, self.options.ring_bytes)
        self.may_unshare = may(CAP_SYS_ADMIN)
        self._joiner = Joiner()
        self.maps.say(Reader.AT_WORK)
        self.began_ns = self.read_ns = now_ns()  # from here on nothing is left out
        self._gaps = GapFinder(self._whose, self.began_ns)
        self._losses: dict[int, LossLedger] = defaultdict(LossLedger)
        self._delivered = np.zeros((len(self.maps.counts()), COUNTER_SLOTS), np.int64)
        self._missed, self._missed_ns = 0, now_ns()
        self.gather_from_s, self.gather_up_to_s = FIRST_LOOK_S, LIVE_S
        self._busy, self._gather_s = False, FIRST_LOOK_S
        self._links = list(loaded.links)
        self._descriptors = [loaded.ring, loaded.counts, loaded.wake, *self._operations.descriptors]

    def operations(self) -> tuple[Operations, Collection[int]]:
        """What it needs privileges for, and the descriptors that are needed for it."""
        return self._operations.operations(), self._operations.descriptors

    def hand_over(self, broker: Privileged) -> None:
        """From now on let the broker perform `operations`; we keep no descriptor of a map, the ring's excepted."""
        self.maps.privileged = broker
        for fd in self._descriptors[1:]:
            os.close(fd)
        del self._descriptors[1:]

    @property
    def lost(self) -> int:
        """How many events are known to be lost so far, by their gaps."""
        return self._gaps.lost + self._missed

    @property
    def refused(self) -> int:
        """How many events the programs counted as lost so far: also those whose gap has not been found yet."""
        return int(self.maps.counts()["failed"].sum()) + self.maps.missed()

    def poll(self, timeout_s: float) -> Decoded:
        """The next events; empty when none came in time. Sleeps when there are none; while events come it reads again
        by itself, ever less often: each batch has a fixed cost."""
        if self._busy:
            self.maps.say(Reader.AT_WORK)
            if not self.ring.has_more:
                self.ring.wait(min(self._gather_s, timeout_s))
                self._gather_s = min(2 * self._gather_s, self.gather_up_to_s)
        decoded = self._take()
        if not len(decoded.batch):
            self._gather_s = self.gather_from_s
            self.maps.say(Reader.ASLEEP)
            if not self.ring.pending_bytes:
                self.ring.wait(timeout_s)
            if self._gather_s > FIRST_LOOK_S and self.ring.pending_bytes:  # what follows shares the cost of a read
                self.maps.say(Reader.AT_WORK)
                self.ring.wait(min(self._gather_s, timeout_s))
            decoded = Decoded.concat([decoded, self._settle()])  # names, and ids, may come without an event
        self._busy = len(decoded.batch) > 0
        return decoded

    def drain(self) -> Decoded:
        """All events that were reported before this call, and some that came meanwhile."""
        upto = self.ring.produced
        parts = []
        while self.ring.consumed < upto and not self.ring.is_stuck:
            parts.append(self._take())
        return Decoded.concat(parts)

    def _take(self) -> Decoded:
        read_ns, produced = now_ns(), self.ring.produced
        decoded = self._joiner.join(self.ring.read())
        batch = decoded.batch
        if len(batch):
            cells = batch.rows["cpu"].astype(np.intp) * COUNTER_SLOTS + batch.rows["kind"]
            self._delivered += np.bincount(cells, minlength=self._delivered.size).reshape(self._delivered.shape)
        if self.ring.consumed >= produced:
            self.read_ns = read_ns
        return decoded._replace(batch=self._gaps.check(batch))

    def _settle(self) -> Decoded:
        """Read, and report losses after the last event: the counters are read first, so that a loss that they count
        shows as a hole in what is read now, or has nothing after it."""
        looked_ns, counts = now_ns(), self.maps.counts()
        decoded = self._take()
        if self.ring.pending_bytes:
            return decoded
        failed = counts["failed"].sum(axis=1)
        until_ns = max(looked_ns, last_ns(decoded.batch))  # not later than what comes next
        tail = self._gaps.tail(dict(enumerate(failed.tolist())), until_ns)
        return decoded._replace(batch=Batch.concat([decoded.batch, tail, self._misses(until_ns)]))

    def _misses(self, now: int) -> Batch:
        """The GAP row for hits since the last time for which no program ran; looks once a second, and in the end."""
        if self._links and now - self._missed_ns < _MISSES_EVERY_NS:
            return Batch.concat([])
        missed = self.maps.missed()
        row = missed_rows(missed - self._missed, self._missed_ns, now) if missed > self._missed else Batch.concat([])
        self._missed, self._missed_ns = missed, now
        return row

    def _whose(self, cpu: int, gaps: list[int]) -> list[list[Share]]:
        failed = int(self.maps.counts()["failed"][cpu].sum())
        totals = {loser: int(lost[cpu]) for loser, lost in self.maps.losses().items() if lost[cpu]}
        return self._losses[cpu].shares(gaps, totals, failed)

    def finish(self) -> Decoded:
        """Detach, and read what is left."""
        if self._links:
            self.maps.say(Reader.CLOSED)
        while self._links:
            os.close(self._links.pop())
        wait_for_programs()
        parts = [self._settle()]
        while self.ring.pending_bytes and not self.ring.is_stuck:
            parts.append(self._settle())
        return Decoded.concat(parts)

    def close(self) -> None:
        """Detach, and close all descriptors. No other method may be called afterwards."""
        while self._links:
            os.close(self._links.pop())
        self.ring.close()
        self.maps.close()
        while self._descriptors:
            os.close(self._descriptors.pop())

    def account(self) -> Account:
        """What the programs have counted, and what of it was read and reported. Adds up after finish()."""
        reported = np.array([self._gaps.reported[cpu] for cpu in range(len(self._delivered))])
        losses = {loser: int(lost.sum()) for loser, lost in self.maps.losses().items()}
        faults = tuple(sorted(self.ring.faults | self._gaps.faults))
        return Account(self.maps.counts(), self.maps.missed(), self._delivered.copy(), reported, losses, faults)

    def snapshot(self) -> Decoded:
        """All processes of this moment, which the kernel's iterator over tasks lists, as SNAPSHOT rows."""
        fd = self.maps.open_tasks()
        try:
            raw = bytearray()
            while chunk := os.read(fd, _CHUNK_BYTES):
                raw += chunk
        finally:
            os.close(fd)
        records = np.frombuffer(raw, EVENT)
        records["cpu"] = 0  # one stream, whatever CPU we ran on
        decoded = Joiner().join(records)
        return decoded._replace(batch=owners_first(decoded.batch))
