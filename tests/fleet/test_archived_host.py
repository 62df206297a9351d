"""A host in an archive answers as its own recordings do."""

# ruff: noqa: F811 - fixtures
from __future__ import annotations

import random
from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest
from publishing import Bench, Memory, Recorder
from recordings import storm
from test_archive import bench, message_from, publish, sources, store, write  # noqa: F401 - fixtures
from worlds import World

from tracer.errors import NstraceError
from tracer.fleet.archive_names import BATCHES
from tracer.fleet.archive_store import Store
from tracer.fleet.archive_tables import parquet
from tracer.fleet.archived_host import About, ArchivedHost
from tracer.fleet.archived_recording import Hole, Message, holes_in
from tracer.fleet.compaction import compact, files_of
from tracer.fleet.decoder import Delivery
from tracer.past.translation import Hindsight
from tracer.recording.census import read_census
from tracer.recording.past import read_past
from tracer.recording.source import RecordedSource
from tracer.typed.moments import Span
from tracer.typed.processes import parse_proc
from tracer.views.objects import process_object
from tracer.views.translation import json_object

MS = 1_000_000


def at(source: RecordedSource, moment_ns: int) -> list[dict[str, object]]:
    return sorted(
        (process_object(entry, str) for entry in read_census(source, moment_ns).census), key=lambda one: str(one)
    )


def moments(span: Span, count: int) -> Iterator[int]:
    """Moments at which one of the storm lives, and moments at which nobody does."""
    chance = random.Random(1)
    for _moment in range(count):
        yield span.begin_ns + chance.randrange((span.end_ns - span.begin_ns) // MS) * MS + chance.choice([1_500, 3_000])


def test_who_lived(bench: Bench, store: Store) -> None:
    for delivery in publish(bench, 8):
        write(store, [delivery])
    compact(store)
    host = ArchivedHost(store, "web1")
    (run,) = host.runs()
    assert run.span.end_ns == sources(bench)[0].span().end_ns and not run.missing
    lived = 0
    for moment_ns in moments(run.span, 20):
        found = at(host.recording(run, About(Span(moment_ns, moment_ns))).source(), moment_ns)
        assert found == at(sources(bench)[0], moment_ns)
        lived += len(found)
    assert lived


def translated(source: RecordedSource, text: str, moment_ns: int) -> object:
    proc = parse_proc(text)
    hindsight = Hindsight(read_past(source))
    try:
        recalled = hindsight.at(proc, moment_ns - source.wall_offset_ns)
    except NstraceError as error:
        return error.message, error.hint
    if recalled.hole:
        return hindsight.unknown(proc, recalled).message
    return [json_object(one, str) for one in recalled.translations]


def test_who_had_a_number(bench: Bench, store: Store) -> None:
    write(store, publish(bench, 8))
    host = ArchivedHost(store, "web1")
    (run,) = host.runs()
    named = 0
    for moment_ns in moments(run.span, 20):
        number = (moment_ns - run.span.begin_ns) // MS + 1
        for text in (f"web/{number}", str(1000 + number)):
            found = translated(
                host.recording(run, About(numbers=frozenset({parse_proc(text).nr}))).source(), text, moment_ns
            )
            assert found == translated(sources(bench)[0], text, moment_ns)
            named += isinstance(found, list)
    assert named


def test_messages_that_are_missing(bench: Bench, store: Store) -> None:
    """What they may have told is not known: of nobody else's moment anything is said that is wrong."""
    deliveries = publish(bench, 8)
    write(store, [*deliveries[2:4], *deliveries[6:]])
    host = ArchivedHost(store, "web1")
    (run,) = host.runs()
    assert (run.messages, run.missing) == (len(deliveries) - 4, 4)
    unknown = 0
    for moment_ns in moments(run.span, 40):
        number = (moment_ns - run.span.begin_ns) // MS + 11  # those of the first two are missing
        found = translated(host.recording(run, About(numbers=frozenset({number}))).source(), f"web/{number}", moment_ns)
        whole = translated(sources(bench)[0], f"web/{number}", moment_ns)
        unknown += "not known" in str(found)
        assert found == whole or "not known" in str(found)
    assert 5 < unknown < 35


def test_holes() -> None:
    ledger = [Message(3, 50, 60), Message(4, None, None), Message(7, None, None), Message(8, 90, 95)]
    assert holes_in(ledger) == [Hole(2, 0, 50), Hole(6, 60, 90)]
    assert holes_in([Message(1, 1, 2), Message(2, 3, 4)]) == []


def test_an_archive_of_an_earlier_version(bench: Bench, store: Store) -> None:
    """It has no messages: it is made smaller as before, and says what it cannot answer."""
    for delivery in publish(bench, 4):
        write(store, [delivery])
    for path in files_of(store, BATCHES)[:3]:
        with store.reading(path) as file:
            table = pq.ParquetFile(file).read().drop_columns(["payload"])
        store.write(path, parquet(table))
    assert compact(store)
    host = ArchivedHost(store, "web1")
    (run,) = host.runs()
    with pytest.raises(NstraceError, match="has not message 1 as it came"):
        host.recording(run, About(run.span))


@pytest.mark.parametrize("seed", [4, 11, 20])
def test_worlds_in_which_events_are_lost(
    seed: int, bench: Bench, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers that are soon given away again, ends that nobody told: the archive says what the recordings say."""
    world = World(seed)
    end_ns = max(int(part.rows["ts_ns"].max()) for part in world.batches)
    recorder = Recorder(bench.spool, max_bytes=1 << 14)
    monkeypatch.setattr("tracer.recording.rotate.time.clock_gettime_ns", lambda _clock: end_ns)
    for part in world.batches:
        recorder.take(part)
        bench.publish()
    recorder.close()
    bench.publish()
    assert isinstance(bench.server, Memory)
    write(store, [Delivery("test", "web1", message.payload) for message in bench.server.messages])
    host, chance = ArchivedHost(store, "web1"), random.Random(seed)
    (run,) = host.runs()
    for _moment in range(8):
        moment_ns = chance.randrange(run.span.begin_ns, run.span.end_ns)
        about = About(Span(moment_ns, max(moment_ns, host.listed_ns(run))))
        answers = at(host.recording(run, about).source(), moment_ns), at(sources(bench)[0], moment_ns)
        for mine, theirs in zip(*answers, strict=True):
            assert without_bounds(mine) == without_bounds(theirs)
        text = chance.choice([f"web/{chance.randrange(1, 8)}", str(chance.choice(world.beings).tgid)])
        about = About(numbers=frozenset({parse_proc(text).nr}))
        found = translated(host.recording(run, about).source(), text, moment_ns)
        assert found == translated(sources(bench)[0], text, moment_ns)


def without_bounds(process: dict[str, object]) -> dict[str, object]:
    """A process without the time at which its parent had ended at the latest: it may be known better."""
    parent = process["last_parent"]
    return process | {"last_parent": {**parent, "ended_by": None} if isinstance(parent, dict) else None}


def test_a_host_with_negative_pids(store: Store) -> None:
    """What a hostile host says ends no question: others are asked with it."""
    rows = storm(1, 5)
    rows.rows["tgid"] = -rows.rows["tgid"]
    write(store, [message_from("web1", rows)])
    host = ArchivedHost(store, "web1")
    (run,) = host.runs()
    source = host.recording(run, About(Span(0, run.span.end_ns))).source()
    assert {entry.numbers[0] for entry in read_census(source, run.span.begin_ns).census} <= {-1001}
