"""Batches -> a file: gathered for a second, then written as one message by one write."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from tracer.errors import NstraceError, ReaderGone
from tracer.recording import frames
from tracer.recording.columns import to_arrow
from tracer.recording.fitting import fitted
from tracer.recording.indexer import Indexer
from tracer.recording.limits import MAX_HEAP_BYTES, MAX_ROWS
from tracer.stream.batch import Batch

FEW_ROWS = 256  # that may wait longer: each batch costs some KiB


class Patience(NamedTuple):
    """How long rows may wait until they are written: few ones from when the first of them may have happened, others
    from when the last ones were written."""

    few_s: float = 5.0
    others_s: float = 1.0


PATIENCE = Patience()


class FileSink:
    """An open file that ends with a complete message, whatever happens. name: for error messages. write: instead of
    os.write, for a pipe."""

    def __init__(
        self,
        fd: int,
        name: str,
        fsync: bool = False,
        write: Callable[[int, memoryview], int] = lambda fd, data: os.write(fd, data),
    ) -> None:
        self.fd = fd
        self.name = name
        self.bytes = 0
        self._fsync, self._write = fsync, write

    def write(self, message: bytes) -> None:
        """Append a message. Raises NstraceError, after removing what was written of it; ReaderGone for a pipe."""
        at = 0
        try:
            while at < len(message):
                at += self._write(self.fd, memoryview(message)[at:])
            if self._fsync:
                os.fsync(self.fd)
        except BrokenPipeError as error:
            raise ReaderGone from error
        except OSError as error:
            with contextlib.suppress(OSError):  # a pipe cannot be truncated
                os.ftruncate(self.fd, self.bytes)
            if not self.bytes:
                hint = "free some space, or write to another FILE"
                raise NstraceError(f"{self.name} cannot be written: {error.strerror}", hint) from error
            raise NstraceError(
                f"recording to {self.name} ends here: {error.strerror}", "what was recorded until now can be replayed"
            ) from error
        self.bytes += len(message)

    def close(self) -> None:
        """Finish the file. May be called again."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


class Writer:
    """Receives batches, writes messages. facts: the stream's metadata, with wall_offset_ns among them. told: as for
    `Indexer`.

    Callers pass an empty batch now and then, so that what waits is written in time.
    """

    def __init__(
        self,
        sink: FileSink,
        facts: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
        told: Iterable[int] = (),
        patience: Patience = PATIENCE,
    ) -> None:
        self.facts = facts
        self._sink = sink
        self._wall_offset_ns = int(facts["wall_offset_ns"])
        self._whose = {name: facts[name] for name in ("session", "part")}
        self._clock, self._patience = clock, patience
        self._waiting: list[Batch] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._since = self._looked = self._flushed = clock()
        self.rows = self.lost = 0
        self._indexer = Indexer(told)
        sink.write(frames.of_schema(facts))

    @property
    def name(self) -> str:
        """The name of the file."""
        return self._sink.name

    @property
    def bytes(self) -> int:
        """How many bytes have been written."""
        return self._sink.bytes

    @property
    def told(self) -> set[int]:
        """As `Indexer.told`."""
        return self._indexer.told

    def forget(self, cgroup_ids: Collection[int]) -> None:
        """Cgroups were removed, and no row that comes is about them."""
        self._indexer.forget(cgroup_ids)

    def carry(self, batch: Batch) -> None:
        """Begin with what the file before has reported, as of now."""
        for part in _parts(batch):
            self._write(part, carried=True)

    def take(self, batch: Batch) -> None:
        """Add the batch; write what waits if it is due. Raises NstraceError where it cannot be written."""
        self.add(batch)
        if self.is_due:
            self.flush()

    def add(self, batch: Batch) -> None:
        """Add the batch to what waits."""
        before, self._looked = self._looked, self._clock()
        if len(batch):
            if not self._waiting:
                self._since = before  # they gathered since then
            self._waiting.append(batch)
            self._waiting_rows += len(batch)
            self._waiting_bytes += len(batch.heap)

    @property
    def has_waiting(self) -> bool:
        """Whether rows wait to be written."""
        return bool(self._waiting)

    @property
    def is_due(self) -> bool:
        """Whether what waits should be written now."""
        if not self._waiting:
            return False
        if self._waiting_rows >= MAX_ROWS or self._waiting_bytes >= MAX_HEAP_BYTES:
            return True
        if self._waiting_rows >= FEW_ROWS:
            return self._clock() - self._flushed >= self._patience.others_s  # before that, it gathered in the ring
        return self._clock() - self._since >= self._patience.few_s

    def flush(self) -> Batch:
        """Write what waits, and return it."""
        batch = Batch.concat(self._waiting)
        self._waiting.clear()
        self._flushed = self._clock()
        self._waiting_rows = self._waiting_bytes = 0
        for part in _parts(batch):
            self._write(part)
        return batch

    def quiet(self, until_ns: int) -> Batch:
        """As `flush`, and write that everything until then was reported (boottime): a reader knows how far the file
        goes while it is being written."""
        batch = self.flush()
        if said := self._indexer.of_quiet(until_ns):
            self._sink.write(frames.of_batch(to_arrow(Batch.concat([]), self._wall_offset_ns), said | self._whose))
        return batch

    def abandon(self) -> None:
        """Write what waits, and no record that this is all: a reader says so."""
        self.flush()
        self._sink.close()

    def _write(self, batch: Batch, carried: bool = False) -> None:
        metadata = {**self._indexer.of_batch(batch, carried), **self._whose}
        self._sink.write(frames.of_batch(to_arrow(batch, self._wall_offset_ns), metadata))
        self.rows += len(batch)
        self.lost += int(metadata["lost"])

    def close(self, until_ns: int = 0) -> None:
        """Write what waits, and a record that nothing is missing after it. until_ns: until when everything was reported
        (boottime), where that is later than the last event."""
        self.flush()
        last = {**self._indexer.of_end(until_ns), **self._whose}
        self._sink.write(frames.of_batch(to_arrow(Batch.concat([]), self._wall_offset_ns), last) + frames.END)
        self._sink.close()


def _parts(batch: Batch) -> list[Batch]:
    """The batch in pieces within `tracer.recording.limits`."""
    batch = fitted(batch)
    heaps = (batch.starts + batch.lengths) // MAX_HEAP_BYTES
    cuts = np.flatnonzero(np.diff(heaps) != 0) + 1
    bounds = sorted({0, len(batch), *cuts.tolist(), *range(0, len(batch), MAX_ROWS)})
    return [batch.part(start, stop) for start, stop in itertools.pairwise(bounds)]
