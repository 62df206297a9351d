"""Messages -> files of an archive, in a process that has nothing: what a host has published may be anything."""

from __future__ import annotations

import os
import signal
import socket
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracer.fleet.archive_names import BATCHES, EVENTS, PROCESSES, RUN, Block, blocks
from tracer.fleet.archive_tables import LIVES, Tables, by_day, parquet
from tracer.fleet.channel import Gone, Packets
from tracer.fleet.envelope import Opened, content, opened
from tracer.fleet.names import is_name
from tracer.recording.frames import Damaged
from tracer.stream.batch import Batch, of_kind
from tracer.system import imports
from tracer.system.descriptors import keep_only
from tracer.system.forking import fork
from tracer.system.libc import name_process
from tracer.system.privileges import drop

_HELD_ROWS = 1 << 16  # of one run, at the same time: a row takes kilobytes until it is in a file
_MAX_DAYS = 8  # on which the events of one message happened: a batch is of some seconds, or of a host that slept
_MAX_BEGUN_DAYS = 400  # on which its processes began; each day is a file
_DAY_NS = 86_400_000_000_000


class Delivery(msgspec.Struct, frozen=True):
    """A message as it was delivered. cluster, host: by its subject."""

    cluster: str
    host: str
    payload: bytes


class Made(msgspec.Struct, frozen=True):
    """A file of an archive. date: "" in `batches`."""

    table: str
    host: str
    date: str
    block: Block
    data: bytes


class Bad(msgspec.Struct, frozen=True):
    """A message that cannot be archived, by its place among those that were given, and why."""

    place: int
    why: str


class Files(msgspec.Struct, frozen=True):
    """files: in the order in which they have to be written; `batches`, which say that all others are there, last."""

    files: list[Made]
    bad: list[Bad]


def files_of(deliveries: Sequence[Delivery]) -> Files:
    """The files that have these messages."""
    groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    bad: list[Bad] = []
    for place, delivery in enumerate(deliveries):
        try:
            origin = _opened(delivery).origin
            groups[origin.host, origin.run].append(place)
        except Damaged as error:
            bad.append(Bad(place, str(error)))
    files: list[Made] = []
    for (host, run), places in sorted(groups.items()):
        whole: dict[int, _Whole] = {}
        for place in places:
            try:
                found = _opened(deliveries[place])
                whole[found.origin.sequence] = (deliveries[place].payload, found, *_content(found))
            except Damaged as error:
                bad.append(Bad(place, str(error)))
            if sum(sum(map(len, rows)) for *_others, rows in whole.values()) >= _HELD_ROWS:
                files += _files_of_run(host, run, whole)
        files += _files_of_run(host, run, whole)
    return Files(sorted(files, key=lambda made: made.table == BATCHES), bad)


def _files_of_run(host: str, run: str, whole: dict[int, _Whole]) -> Iterator[Made]:
    """The files that have these messages, which are taken out."""
    for block in blocks(run, whole):
        yield from _files(host, block, [whole.pop(number) for number in range(block.first, block.last + 1)])


_Whole = tuple[bytes, Opened, list[Batch], list[Batch]]


def _opened(delivery: Delivery) -> Opened:
    """Raises Damaged also where a message says that it is from another host than the one that may have sent it."""
    found = opened(delivery.payload, "the message")
    origin = found.origin
    if (origin.cluster, origin.host) != (delivery.cluster, delivery.host):
        raise Damaged("it is of another host than its subject says")
    if not (is_name(origin.cluster) and is_name(origin.host)):
        raise Damaged("no host or cluster is called so")
    if not RUN.fullmatch(origin.run) or origin.sequence < 1:
        raise Damaged("it has no number in a run")
    return found


def _content(found: Opened) -> tuple[list[Batch], list[Batch]]:
    """As `content`. Raises Damaged also where a message is of more days than one can be of."""
    facts, rows = content(found)
    offset_ns = found.recording.facts.wall_offset_ns
    if _days([batch.rows["ts_ns"] for batch in rows], offset_ns) > _MAX_DAYS:
        raise Damaged(f"its events are of more than {_MAX_DAYS} days")
    if _days([batch.rows["start_ns"][of_kind(batch.rows, *LIVES)] for batch in rows], offset_ns) > _MAX_BEGUN_DAYS:
        raise Damaged(f"its processes began on more than {_MAX_BEGUN_DAYS} days")
    return facts, rows


def _days(times_ns: Sequence[NDArray[np.uint64]], offset_ns: int) -> int:
    """Of how many days (UTC) these times since boot are."""
    return len(np.unique((np.concatenate([*times_ns, np.zeros(0, np.uint64)]).astype(np.int64) + offset_ns) // _DAY_NS))


def _files(host: str, block: Block, messages: Sequence[_Whole]) -> Iterator[Made]:
    tables = Tables()
    for message in messages:
        tables.add(*message)
    for date, table in by_day(tables.processes(), "began").items():
        yield Made(PROCESSES, host, date, block, parquet(table))
    for date, table in by_day(tables.events(), "time").items():
        yield Made(EVENTS, host, date, block, parquet(table))
    yield Made(BATCHES, host, "", block, parquet(tables.batches()))


class Decoder:
    """The process. No thread may run when it is made. It ends when this is closed."""

    def __init__(self) -> None:
        imports.load(*imports.OF_READERS)
        ours, theirs = socket.socketpair()
        self._pid = fork()
        if self._pid == 0:
            ours.close()
            _serve(theirs)
        theirs.close()
        self._packets = Packets(ours)

    def files_of(self, deliveries: Sequence[Delivery]) -> Files:
        """As the function of this name. Raises Gone where the process has ended."""
        self._packets.send(list(deliveries))
        found: Files = self._packets.receive(Files)
        return found

    def close(self) -> None:
        """End the process, also while it is waited for, which raises Gone there."""
        self._packets.close()


def _serve(connected: socket.socket) -> NoReturn:
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it ends with the one that began it
            signal.signal(number, signal.SIG_IGN)
        keep_only(connected.fileno())
        name_process("nstrace-decoder")
        drop()
        packets = Packets(connected)
        while True:
            packets.send(files_of(packets.receive(list[Delivery])))
    except Gone:
        os._exit(0)
    except BaseException:
        os._exit(1)
