"""Which hosts there are, and when each was last heard: nobody takes silence for peace."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import msgspec
import nats.js.errors
import pyarrow as pa
import pyarrow.parquet as pq
from nats.js.client import JetStreamContext

from tracer.fleet.archive_names import BATCHES
from tracer.fleet.archive_store import Store
from tracer.fleet.compaction import files_of
from tracer.fleet.names import ALIVE, EVENTS, STREAMS, name_in, subject
from tracer.fleet.nats_client import Connection
from tracer.fleet.publisher import Alive

SILENT_TIMES = 3
"""A host is silent that has missed so many of its signs of life."""
_LEAST_S, _MOST_S = 1.0, 3600.0
_SECOND_NS = 1_000_000_000


class Heard(NamedTuple):
    """A host as a server knows it. heard_ns: when its publisher last said that it lives, by the server's clock; None:
    never. every_s: how often it says so. until_ns: up to when its events are in the server (wall clock of the host); 0:
    that is not known. batches: that the server has; gaps: that its publisher has said since it was started; behind:
    finished files that wait in its spool."""

    cluster: str
    host: str
    heard_ns: int | None
    every_s: float
    until_ns: int
    batches: int
    gaps: int
    behind: int

    def is_silent(self, now_ns: int) -> bool:
        """Whether nothing has been heard of it for too long."""
        return self.heard_ns is None or now_ns - self.heard_ns > SILENT_TIMES * self.every_s * _SECOND_NS


async def known_hosts(connection: Connection) -> list[tuple[str, str]]:
    """The clusters and hosts of which the server has a sign of life, in order. Raises Unavailable, Refused."""
    async with connection.jetstream() as stream:
        return sorted(map(_names, await _subjects(stream, ALIVE)))


async def heard_hosts(connection: Connection) -> list[Heard]:
    """All hosts that the server knows, in order. Raises Unavailable, Refused."""
    async with connection.jetstream() as stream:
        batches, alive = [await _subjects(stream, what) for what in (EVENTS, ALIVE)]
        names = sorted({_names(one) for one in (*batches, *alive)})
        found = []
        for cluster, host in names:
            said, heard_ns = await _said(stream, subject(cluster, host, ALIVE))
            count = batches.get(subject(cluster, host), 0)
            if said is None:
                found.append(Heard(cluster, host, heard_ns, _MOST_S, 0, count, 0, 0))
            else:
                every_s = min(max(said.every_s, _LEAST_S), _MOST_S)
                found.append(
                    Heard(cluster, host, heard_ns, every_s, said.until_ns, count, said.losses, said.files_behind)
                )
        return found


async def _subjects(stream: JetStreamContext, what: str) -> dict[str, int]:
    """The subjects of a stream, and how many messages each has."""
    state = (await stream.stream_info(STREAMS[what], subjects_filter=subject("*", "*", what))).state
    return dict(state.subjects or {})


def _names(text: str) -> tuple[str, str]:
    *_prefix, cluster, host, _what = text.split(".")
    return name_in(cluster), name_in(host)


async def _said(stream: JetStreamContext, about: str) -> tuple[Alive | None, int | None]:
    """What a publisher has said last, None: nothing that can be read; and when, None: never."""
    try:
        found = await stream.get_last_msg(STREAMS[ALIVE], about)
    except nats.js.errors.NotFoundError:
        return None, None
    heard_ns = int(found.time.timestamp() * _SECOND_NS) if found.time else None
    try:
        return msgspec.json.decode(found.data or b"", type=Alive), heard_ns
    except (msgspec.MsgspecError, ValueError):
        return None, heard_ns


class Archived(NamedTuple):
    """A host as an archive knows it. last_ns: of its latest event (wall clock), 0: there is none. gaps, lost: as its
    recordings report them; missing: messages that are not there, though later ones of their run are."""

    cluster: str
    host: str
    last_ns: int
    batches: int
    events: int
    gaps: int
    lost: int
    missing: int


def archived_hosts(store: Store) -> list[Archived]:
    """All hosts of an archive, in order. Raises OSError."""
    numbers: defaultdict[tuple[str, str], defaultdict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    sums: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for path in files_of(store, BATCHES):
        with store.reading(path) as file:
            table = pq.ParquetFile(file).read(columns=_COLUMNS)
        for cluster, host, run, message, *counts, last_ns in zip(
            *(_values(table, name) for name in _COLUMNS), strict=True
        ):
            numbers[cluster, host][run].add(message)
            before = sums[cluster, host]
            sums[cluster, host] = [max(before[0], last_ns), *map(sum, zip(before[1:], counts, strict=True))]
    return [
        Archived(*key, last, sum(map(len, runs.values())), events, gaps, lost, sum(map(_missing, runs.values())))
        for key, runs in sorted(numbers.items())
        for last, events, gaps, lost in [sums[key]]
    ]


_COLUMNS = ["cluster", "host", "run", "message", "rows", "gaps", "lost", "last_time"]


def _values(table: pa.Table, name: str) -> list[Any]:
    """A column; times in ns since the epoch, 0 where there is none."""
    column = table[name]
    values: list[Any] = (column.cast(pa.int64()).fill_null(0) if name == "last_time" else column).to_pylist()
    return values


def _missing(numbers: set[int]) -> int:
    """How many messages of a run are missing between its first and the latest."""
    return max(numbers) - len(numbers)
