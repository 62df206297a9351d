"""What is in an archive: every row of every message once, whatever is killed, as exports and nstrace sql have it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as fs
import pyarrow.parquet as pq
import pytest
from publishing import Bench, Killed, Memory, Recorder
from recordings import WALL_NS, facts, storm
from test_publisher import rows_of

from tracer.ask.query import Query
from tracer.ask.tables import readings
from tracer.fleet import decoder
from tracer.fleet.archive_names import BATCHES, EVENTS, PROCESSES
from tracer.fleet.archive_store import Store
from tracer.fleet.archive_tables import combined, in_order
from tracer.fleet.archiver import path_of
from tracer.fleet.compaction import compact, files_of
from tracer.fleet.decoder import Delivery
from tracer.fleet.decoder import files_of as decoded
from tracer.fleet.envelope import Origin, passed_on, sealed
from tracer.recording.export import tables
from tracer.recording.inputs import open_input
from tracer.recording.metadata import of_this_host
from tracer.recording.reader import Recording
from tracer.recording.runs import runs_of
from tracer.recording.schema import FLAT
from tracer.recording.source import RecordedSource
from tracer.stream.batch import Batch


class MortalStore(Store):
    """A store whose process is killed at some of its steps. die: asked ahead of each."""

    die: Callable[[], bool] = staticmethod(lambda: False)

    @contextmanager
    def writing(self, path: str) -> Iterator[Any]:
        self._step()
        with super().writing(path) as file:
            yield file
            self._step()
        self._step()

    def remove(self, path: str) -> None:
        self._step()
        super().remove(path)

    def _step(self) -> None:
        if self.die():
            raise Killed


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, Memory())


@pytest.fixture
def store(tmp_path: Path) -> MortalStore:
    return MortalStore(fs.LocalFileSystem(), str(tmp_path / "archive"), "archive")


def message_from(host: str, *batches: Batch, boot: str = "b0", cluster: str = "test") -> Delivery:
    """A message that says what it wants, the first of its run."""
    said = passed_on(of_this_host(WALL_NS, ["nstrace", "record"]))
    rows = Batch.concat(batches)
    origin = Origin(cluster, host, boot, f"{boot}-00000001", 1, 1, 0, len(rows))
    return Delivery(cluster, host, sealed(origin, said, facts(), rows))


def publish(bench: Bench, batches: int = 14) -> list[Delivery]:
    """A storm in many messages, of a recording in several files."""
    recorder = Recorder(bench.spool, max_bytes=60_000)
    recorder.take(facts())
    for first in range(1, 10 * batches, 10):
        recorder.take(storm(first, 10))
        bench.publish()
    recorder.close()
    bench.publish()
    return [Delivery("test", "web1", message.payload) for message in bench.server.messages]


def write(store: Store, deliveries: list[Delivery]) -> None:
    files = decoded(deliveries)
    assert not files.bad
    for made in files.files:
        store.write(path_of(made), made.data)


def read(store: Store, table: str, paths: list[str] | None = None) -> pa.Table:
    while True:
        found = []
        try:
            for path in files_of(store, table) if paths is None else paths:
                with store.reading(path) as file:
                    found.append(pq.ParquetFile(file).read())
        except FileNotFoundError:  # a compaction has made it part of another one
            continue
        return pa.concat_tables(found)


def glob(store: Store, table: str) -> list[str]:
    return [f"{folder}/{name}" for folder in store.folders(table) for name in store.sizes(folder)]


def places(events: pa.Table) -> list[tuple[str, int, int]]:
    return sorted(zip(*(events[name].to_pylist() for name in ("run", "part", "row")), strict=True))


@pytest.mark.parametrize("seed", range(2))
def test_each_row_once_whatever_is_killed(seed: int, bench: Bench, store: MortalStore) -> None:
    """Messages are delivered in groups, again where an archiver was killed, late, and beside a compaction; compactions
    are killed, too."""
    chance = random.Random(seed)
    waiting = publish(bench)
    total, kills = len(waiting), 0
    store.die = lambda: chance.random() < 0.05
    while waiting:
        some = chance.sample(waiting, min(len(waiting), chance.randint(1, 12)))
        try:
            write(store, some)
            if chance.random() < 0.9:  # else: the acknowledgement is lost
                waiting = [one for one in waiting if one not in some]
            if chance.random() < 0.3:
                compact(store, 200_000)
        except Killed:
            kills += 1
    assert kills > 2
    store.die = lambda: False
    wanted = sorted((part, row) for part, row in rows_of(bench.spool))
    shown = [(part, row) for _run, part, row in places(read(store, EVENTS))]
    assert [place for place in wanted if place != (1, 0)] == shown  # the first is a cgroup row
    assert sorted(read(store, BATCHES)["message"].to_pylist()) == list(range(1, total + 1))
    compact(store, 1 << 30)
    assert sorted(glob(store, EVENTS)) == sorted(files_of(store, EVENTS))
    events = read(store, EVENTS, glob(store, EVENTS))
    assert [(part, row) for _run, part, row in places(events)] == shown
    assert len(glob(store, EVENTS)) < 8


def test_values_are_those_of_exports(bench: Bench, store: MortalStore) -> None:
    deliveries = publish(bench, 10)
    write(store, deliveries[:3])
    write(store, deliveries[3:])
    compact(store)
    keys = [("pid", "ascending"), ("time", "ascending"), ("event", "ascending")]
    wanted = pa.concat_tables(tables(sources(bench))).sort_by(keys)
    found = in_order(read(store, EVENTS)).sort_by(keys)
    for name in FLAT.names:
        if name not in ("host", "incarnation"):
            assert found[name].to_pylist() == wanted[name].to_pylist(), name
    assert set(found["host"].to_pylist()) == {"web1"} and set(found["cluster"].to_pylist()) == {"test"}


def test_processes_are_those_of_sql(bench: Bench, store: MortalStore) -> None:
    deliveries = publish(bench, 10)
    for delivery in deliveries:  # a process has its fork and its exit in one message here; some have rows in two
        write(store, [delivery])
    names = ["proc_id", "pid", "ns_pid", "container", "ppid", "comm", "exe", "args", "began", "ended", "exit_code"]
    names += ["began_sure", "duration_ns"]
    for _compacted in range(2):
        found = combined(read(store, PROCESSES)).select(names).sort_by("proc_id")
        schema, rows = Query(f"select {', '.join(names)} from processes order by proc_id").answer(
            readings(sources(bench), lambda found: found)
        )
        wanted = pa.Table.from_batches(rows, schema)
        for name in names:
            assert found[name].cast(wanted[name].type).to_pylist() == wanted[name].to_pylist(), name
        compact(store)
    assert len(glob(store, PROCESSES)) < len(deliveries)


def sources(bench: Bench) -> list[RecordedSource]:
    names = sorted(map(str, bench.spool.glob("*.arrows")))
    recordings = [Recording(name, open_input(name), lambda _line: None) for name in names]
    return [RecordedSource(run) for run in runs_of(recordings, lambda _line: None)]


def test_what_is_no_message(bench: Bench) -> None:
    """Each is kept from the archive, and the others are in it."""
    good = publish(bench, 3)
    payload = bytearray(good[1].payload)
    payload[len(payload) // 2] ^= 1
    bad = [
        Delivery("test", "web1", b"no recording"),
        Delivery("test", "web2", good[0].payload),
        Delivery("prod", "web1", good[0].payload),
        Delivery("test", "web1", bytes(payload)),
        Delivery("test", "web1", good[1].payload[:-200]),
        Delivery("test", "web1", (bench.spool / "all.000001.arrows").read_bytes()),
        Delivery(
            "test", "web1", pa.Codec("zstd").compress((bench.spool / "all.000001.arrows").read_bytes(), asbytes=True)
        ),
        Delivery("test", "web1", pa.Codec("zstd").compress(bytes(1 << 28), asbytes=True)),
    ]
    files = decoded([*bad, *good])
    assert sorted(one.place for one in files.bad) == list(range(len(bad)))
    assert {made.table for made in files.files} == {EVENTS, PROCESSES, BATCHES}
    assert files.files[-1].table == BATCHES


@pytest.mark.parametrize("host", ["..", ".", "web/1", "\N{PILE OF POO}" * 128, "web1\n"])
def test_what_no_host_is_called(host: str) -> None:
    """Archivers end with no message: it would come to each of them."""
    (bad,) = decoded([message_from(host, storm(1, 1))]).bad
    assert "called so" in bad.why
    assert not decoded([message_from("web-1.example.org", storm(1, 1))]).bad


def test_more_rows_than_a_message_has() -> None:
    """Many that are alike take few bytes to send, and gigabytes here."""
    found = decoded([message_from("web1", *[storm(1, 100)] * 120)])
    assert not found.files and "more rows" in found.bad[0].why


def test_no_more_rows_at_once_than_there_is_room_for(
    bench: Bench, store: MortalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder, "_HELD_ROWS", 70)
    deliveries = publish(bench)
    files = decoded(deliveries).files
    assert sum(made.table == BATCHES for made in files) > 4
    assert [made.table for made in files] == sorted((made.table for made in files), key=lambda table: table == BATCHES)
    write(store, deliveries)
    assert len(places(read(store, EVENTS))) == len(set(places(read(store, EVENTS)))) == len(rows_of(bench.spool)) - 1


def spread(name: str, days: int) -> Batch:
    """A storm whose rows are of so many days by one of their times."""
    batch = storm(1, 500)
    rows = batch.rows.copy()
    rows[name] = np.arange(len(rows), dtype=np.uint64) % np.uint64(days) * np.uint64(86_400 * 10**9) + np.uint64(10**9)
    return Batch(rows, batch.heap)


@pytest.mark.parametrize(("name", "most"), [("ts_ns", 8), ("start_ns", 400)])
def test_a_message_is_of_so_many_days_and_no_more(name: str, most: int) -> None:
    """A file for each of 1 500 days takes half a minute, and no archiver could do anything else."""
    good, bad = (decoded([message_from("web1", spread(name, days))]) for days in (most, most + 1))
    assert not good.bad
    table = EVENTS if name == "ts_ns" else PROCESSES
    assert len({made.date for made in good.files if made.table == table}) == most
    assert not bad.files and [f"more than {most} days" in one.why for one in bad.bad] == [True]
