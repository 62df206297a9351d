"""The ring buffer's reader, on a file that is laid out as the kernel lays out its ring."""

import os
import select
from collections.abc import Iterator

import numpy as np
import pytest

from tracer.kernel import options, ring
from tracer.kernel.options import ring_bytes_for
from tracer.stream.batch import EVENT

_RECORD = np.dtype([("len", "<u4"), ("page_offset", "<u4"), ("event", EVENT)])


class NoPoll:
    """In the place of epoll, which a file has no use for."""

    def register(self, *_: int) -> None:
        pass


class KernelRing:
    """kernel/bpf/ringbuf.c's side: a page with the consumer's position, one with the producer's, the data twice."""

    def __init__(self, page_bytes: int, ring_bytes: int) -> None:
        self.fd = os.memfd_create("ring")
        self._page_bytes, self._data, self._at = page_bytes, np.zeros(ring_bytes, np.uint8), 0
        os.truncate(self.fd, 2 * page_bytes + 2 * ring_bytes)

    def put(self, seqs: range) -> None:
        records = np.zeros(len(seqs), _RECORD)
        records["len"], records["event"]["seq"] = EVENT.itemsize, seqs
        places = (self._at + np.arange(records.nbytes)) % len(self._data)
        self._data[places] = records.view(np.uint8)
        os.pwrite(self.fd, self._data.tobytes() * 2, 2 * self._page_bytes)
        self._at += records.nbytes
        os.pwrite(self.fd, self._at.to_bytes(8, "little"), self._page_bytes)

    @property
    def consumed(self) -> int:
        return int.from_bytes(os.pread(self.fd, 8, 0), "little")


@pytest.fixture(params=[4096, 16384, 65536])
def page_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    for module in (options, ring):
        monkeypatch.setattr(module, "PAGE_BYTES", request.param)
    monkeypatch.setattr(select, "epoll", NoPoll)
    yield request.param


@pytest.mark.parametrize("pages", [1, 2])
def test_round_and_round_on_pages_of_any_size(page_bytes: int, pages: int) -> None:
    kernel = KernelRing(page_bytes, pages * page_bytes)
    reader = ring.Ring(kernel.fd, pages * page_bytes)
    seen, burst = [], pages * page_bytes // _RECORD.itemsize
    for first in range(0, 5 * burst, burst):
        kernel.put(range(first, first + burst))
        while reader.pending_bytes:
            seen += reader.read()["seq"].tolist()
    assert seen == list(range(5 * burst))
    assert kernel.consumed == reader.consumed == 5 * burst * _RECORD.itemsize
    os.close(kernel.fd)


def test_a_ring_is_a_power_of_two_in_whole_pages(page_bytes: int) -> None:
    assert ring_bytes_for(1) == page_bytes
    assert ring_bytes_for(page_bytes + 1) == 2 * page_bytes
    assert ring_bytes_for(3 << 20) == 4 << 20
    assert ring_bytes_for(16 << 20) == 16 << 20
