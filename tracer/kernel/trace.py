"""A running trace: the programs are attached, this reads what they tell. Never imports bcc."""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import dataclass

import numpy as np

from tracer.errors import NstraceError
from tracer.events import EVENT, Batch
from tracer.kernel.load import Loaded, LoadOptions
from tracer.kernel.maps import Account, Maps, Reader
from tracer.kernel.ring import Ring
from tracer.kernel.wire import Decoded, GapFinder, Joiner

LOOK_S = 0.005  # while events come: how long they gather before the next look
_CHUNK_BYTES = 1 << 18
CLOCK_NS = time.CLOCK_BOOTTIME


@dataclass
class Trace:
    """Events of the attached programs, decoded, with gaps in their places."""

    loaded: Loaded
    options: LoadOptions

    def __post_init__(self) -> None:
        self.maps = Maps(self.loaded.counts, self.loaded.decisions, self.loaded.wake)
        self.ring = Ring(self.loaded.ring, self.options.ring_pages)
        self._joiner = Joiner()
        self._gaps = GapFinder()
        self._busy = False
        self._links = list(self.loaded.links)

    @property
    def lost(self) -> int:
        """Events lost so far, as far as they have been found."""
        return self._gaps.lost

    def poll(self, timeout_s: float) -> Decoded:
        """The next events; empty when none came in time. Looks every LOOK_S while they come, sleeps when not."""
        if self._busy:
            self.maps.say(Reader.AT_WORK)
            self.ring.wait(min(LOOK_S, timeout_s))
        decoded = self._take()
        if not len(decoded.batch):
            self.maps.say(Reader.ASLEEP)
            if not self.ring.pending_bytes:
                self.ring.wait(timeout_s)
            decoded = self._settle()
        self._busy = len(decoded.batch) > 0
        return decoded

    def _take(self) -> Decoded:
        batch, cgroups = self._joiner.join(self.ring.read())
        return Decoded(self._gaps.check(batch), cgroups)

    def _settle(self) -> Decoded:
        """Read, and tell losses behind the last event: the counters are read first, so that what they count
        is either read now or lost."""
        account = self.maps.account()
        decoded = self._take()
        if self.ring.pending_bytes:
            return decoded
        tail = self._gaps.tail(account.next_seq, time.clock_gettime_ns(CLOCK_NS))
        return Decoded(Batch.concat([decoded.batch, tail]), decoded.cgroups)

    def finish(self) -> Decoded:
        """Detach, and read what is left."""
        while self._links:
            os.close(self._links.pop())
        parts = [self._settle()]
        while self.ring.pending_bytes:
            parts.append(self._settle())
        return Decoded(Batch.concat(part.batch for part in parts), [name for part in parts for name in part.cgroups])

    def account(self) -> Account:
        """The programs' counters now."""
        return self.maps.account()

    def snapshot(self) -> Decoded:
        """All processes of this moment, read from the kernel by an iterator over tasks, as SNAPSHOT rows."""
        libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
        fd = libbpf.bpf_iter_create(self.loaded.iterator)
        if fd < 0:
            raise NstraceError(f"the kernel's list of tasks cannot be read: {os.strerror(ctypes.get_errno())}")
        try:
            chunks = []
            while chunk := os.read(fd, _CHUNK_BYTES):
                chunks.append(chunk)
        finally:
            os.close(fd)
        records = np.frombuffer(b"".join(chunks), EVENT).copy()
        records["cpu"] = 0  # one stream, whatever CPU we ran on
        return Joiner().join(records)
