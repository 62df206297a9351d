"""The BPF ring buffer, mapped and read in batches: kernel/bpf/ringbuf.c is its other side."""

from __future__ import annotations

import ctypes
import mmap
import platform
import select
import time
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tracer.kernel.options import PAGE_BYTES
from tracer.kernel.shared_memory import shared_memory
from tracer.stream.batch import EVENT

_BUSY, _DISCARDED = 1 << 31, 1 << 30  # BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT
_RECORD = np.dtype([("len", "<u4"), ("page_offset", "<u4"), ("event", ("V", EVENT.itemsize))])
_STRONGLY_ORDERED = platform.machine() in ("x86_64", "i686")
_SYS_MEMBARRIER = {"x86_64": 324, "i686": 375, "aarch64": 283, "riscv64": 283, "ppc64le": 365, "s390x": 356}
_MEMBARRIER_CMD_GLOBAL = 1
_WINDOW_BYTES = 1 << 20
_STUCK_S = 5.0


class Ring:
    """Reads whole records. fd: a BPF_MAP_TYPE_RINGBUF; ring_bytes: size of its data. faults: impossible states seen."""

    def __init__(self, fd: int, ring_bytes: int) -> None:
        self._size = ring_bytes
        positions = shared_memory(fd, PAGE_BYTES, mmap.PROT_READ | mmap.PROT_WRITE)
        produced = shared_memory(fd, PAGE_BYTES, mmap.PROT_READ, PAGE_BYTES)
        self._fd = fd
        self._consumer = np.frombuffer(positions, np.uint64, 1)
        self._producer = np.frombuffer(produced, np.uint64, 1)
        self._at = int(self._consumer[0])
        self.has_more = False
        self.faults: set[str] = set()
        self._unfinished_since: float | None = None
        self._map_window()
        # Edge-triggered: data that is unread must not end a wait, a wake-up must.
        self._poll = select.epoll()
        self._poll.register(fd, select.EPOLLIN | select.EPOLLET)

    def close(self) -> None:
        """Unmap the ring. No other method may be called afterwards."""
        self._poll.close()
        del self._consumer, self._producer, self._data  # each is the last reference to its mapping and descriptor

    def _map_window(self) -> None:
        """Map the data from our position on. The kernel maps the ring twice in a row, so that a window never wraps; a
        mapping of all of it would count as twice its size of our memory."""
        self._base = self._at - self._at % PAGE_BYTES
        offset = (2 + self._base % self._size // PAGE_BYTES) * PAGE_BYTES
        length = min(_WINDOW_BYTES, self._size) + PAGE_BYTES  # a record may begin at the very end of a page
        self._data = np.frombuffer(shared_memory(self._fd, length, mmap.PROT_READ, offset), np.uint8)

    def wake_on(self, fd: int) -> None:
        """End a wait also when this descriptor becomes readable."""
        self._poll.register(fd, select.EPOLLIN)

    @property
    def produced(self) -> int:
        """How many bytes the kernel has reserved since the beginning."""
        return int(self._producer[0])

    @property
    def consumed(self) -> int:
        """How many of these bytes have been read."""
        return self._at

    @property
    def pending_bytes(self) -> int:
        """How many bytes the kernel has reserved that are not read yet."""
        return self.produced - self._at

    @property
    def is_stuck(self) -> bool:
        """Whether the next record has been unfinished for so long that it never will be finished. Call it after
        read()."""
        if self._unfinished_since is None or time.monotonic() - self._unfinished_since < _STUCK_S:
            return False
        self.faults.add("a record in the ring is never finished")
        return True

    def read(self) -> NDArray[np.void]:
        """Whole records, copied out of the ring, as many as the window shows: array of EVENT (pieces included), shape
        (n,). Empty: there are none. has_more: there are more behind the window."""
        pending = self.pending_bytes
        if self._consumer[0] != self._at:
            self.faults.add("somebody else has moved the position up to which the ring is read")
        if pending > self._size:
            return self._overrun()
        if self._at + min(pending, _WINDOW_BYTES // 2) > self._base + len(self._data):
            self._map_window()
        start = self._at - self._base
        count = min(pending, len(self._data) - start) // _RECORD.itemsize
        _barrier()
        records = self._data[start : start + count * _RECORD.itemsize].view(_RECORD)
        busy = records["len"] & _BUSY
        if busy.any():
            records = records[: int(np.argmax(busy != 0))]
        _barrier()
        kept = self._data[start : start + records.nbytes].copy().view(_RECORD)  # records are copied field by field
        _barrier()
        if self.pending_bytes > self._size:
            return self._overrun()
        self._at += len(records) * _RECORD.itemsize
        self._consumer[0] = self._at
        if len(records) or not pending:
            self._unfinished_since = None
        elif self._unfinished_since is None:
            self._unfinished_since = time.monotonic()
        self.has_more = len(records) == count and pending - records.nbytes >= _RECORD.itemsize
        discarded = kept["len"] & _DISCARDED
        events = (kept[discarded == 0] if discarded.any() else kept)["event"]
        return cast("NDArray[np.void]", events.view(EVENT))

    def _overrun(self) -> NDArray[np.void]:
        """Continue with the next record after the kernel has overwritten unread ones. Sequence numbers show the
        loss."""
        self.faults.add("the ring was overwritten before it was read")
        self._at = self.produced
        self._consumer[0] = self._at
        self.has_more = False
        return np.empty(0, EVENT)

    def wait(self, seconds: float) -> bool:
        """Sleep until the kernel wakes us or the time is over. True: woken."""
        return bool(self._poll.poll(seconds))


def _barrier() -> None:
    """Order our loads and stores against the kernel's where the processor does not."""
    if not _STRONGLY_ORDERED:
        _membarrier()


def wait_for_programs() -> None:
    """Wait until every running program has ended: closing a link only prevents new runs.
    They run inside an RCU read-side section, and MEMBARRIER_CMD_GLOBAL is synchronize_rcu(): kernel/sched/membarrier.c.
    """
    _membarrier()


def _membarrier() -> None:
    ctypes.CDLL(None).syscall(_SYS_MEMBARRIER.get(platform.machine(), 283), _MEMBARRIER_CMD_GLOBAL, 0, 0)
