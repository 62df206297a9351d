"""What the recorder says for metrics, once a second: a packet of JSON for the process that serves them."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import TYPE_CHECKING

from tracer.agent.counts import REST, Counts, OfContainer
from tracer.agent.exporter import MAX_PACKET_BYTES
from tracer.text.escape import safe_text

if TYPE_CHECKING:
    from tracer.stream.batch import Batch
    from tracer.stream.source import BatchSink
    from tracer.wiring.following import Followed
    from tracer.wiring.recorders import Recorder

_EVERY_S = 1.0
_MAX_LABEL = 128
_OTHER_BYTES = 4096  # of a packet: what is not by container
_COUNTS_BYTES = 72  # three numbers and what is around them


class Reporting:
    """Passes batches on to the recorder's sink, counts them, and says what they add up to. most: how many containers
    have counts of their own."""

    def __init__(
        self, packets: socket.socket, sink: BatchSink, recorder: Recorder, followed: Followed, most: int
    ) -> None:
        self._packets, self._sink, self._recorder = packets, sink, recorder
        self._source, self._engines = followed.source, followed.engines
        self._counts = Counts(most)
        self._said_s = 0.0
        self._oldest_ns = 0  # of what waits to be written
        self._rows, self._lag_s = 0, 0.0

    def take(self, batch: Batch) -> None:
        """As `BatchSink.take`."""
        if len(batch):
            self._counts.take(batch, self._source.attribution)
            self._oldest_ns = self._oldest_ns or int(batch.rows["ts_ns"][0])
        self._sink.take(batch)
        if self._recorder.writer.rows != self._rows:
            self._rows = self._recorder.writer.rows
            now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            self._lag_s = (now_ns - self._oldest_ns) / 1e9 if self._oldest_ns else 0.0
            self._oldest_ns = 0
        if (now_s := time.monotonic()) - self._said_s >= _EVERY_S:
            self._said_s = now_s
            with contextlib.suppress(BlockingIOError, ConnectionError):
                self._packets.send(json.dumps(self._said()).encode())

    def _said(self) -> dict[str, object]:
        source, counts = self._source, self._counts
        counters, ring = source.trace.maps.counts(), source.trace.ring
        sums = {name: int(counters[name].sum()) for name in ("filtered", "submitted", "throttled")}
        containers = labelled(counts)
        return {
            "from": "recorder",
            "kinds": counts.kinds,
            "lost": source.lost,
            "throttled": sums["throttled"],
            "delivered": sums["submitted"],
            "filtered": sums["filtered"],
            "table": len(source.table),
            "evicted": source.table.evicted_living,
            "ring": round(ring.pending_bytes / source.trace.options.ring_bytes, 4),
            "lag": round(self._lag_s, 3),
            "bytes": self._recorder.writer.bytes,
            "named": len(counts.containers),
            "engine": int(self._engines.is_up),
            "containers": {name: [one.begun, one.failed, one.out_of_memory] for name, one in containers.items()},
        }


def labelled(counts: Counts) -> dict[str, OfContainer]:
    """What is counted by container, by their labels; those for which a packet has no room with the rest."""
    found, room = {REST: OfContainer()}, MAX_PACKET_BYTES - _OTHER_BYTES
    found[REST].add(counts.rest)
    for name, one in counts.containers.items():
        label = json.dumps(safe_text(name)[:_MAX_LABEL])
        room -= len(label) + _COUNTS_BYTES
        found.setdefault(json.loads(label) if room >= 0 else REST, OfContainer()).add(one)
    return found
