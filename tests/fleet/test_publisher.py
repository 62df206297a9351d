"""What a publisher sends: every row of a spool once, in order, whatever is killed; what is gone is a gap."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from publishing import Bench, Killed, Memory, Recorder
from recordings import facts, storm

from tracer.errors import NstraceError
from tracer.fleet.envelope import content
from tracer.fleet.place import Place, PlaceFile
from tracer.recording.inputs import FileInput
from tracer.recording.reader import Recording
from tracer.recording.source import RecordedSource
from tracer.stream.batch import Batch
from tracer.stream.schema import Kind


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, Memory())


def rows_of(spool: Path) -> list[tuple[int, int]]:
    """Part and number of each row of a recording that is not repeated at the beginning of a file."""
    found = []
    for path in sorted(spool.glob("*.arrows")):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        recording = Recording(path.name, FileInput(fd, is_ours=True), lambda _line: None)
        for part in recording.parts():
            assert part.batch is not None
            first = part.index.first_row
            if not part.index.carried:
                found += [(recording.facts.part, number) for number in range(first, first + len(part.batch))]
    return found


def test_a_recording_that_is_written_meanwhile(bench: Bench) -> None:
    recorder = Recorder(bench.spool)
    recorder.take(facts())
    for first in range(1, 200, 10):
        recorder.take(storm(first, 10))
        bench.publish()
    recorder.close()
    bench.publish()
    assert [row[1:] for row in bench.rows()] == rows_of(bench.spool)
    assert [found.origin.sequence for found in bench.server.opened()] == list(range(1, len(bench.server.messages) + 1))


def test_each_message_stands_alone(bench: Bench) -> None:
    """The container of every row is in its message, though the recording says it once."""
    recorder = Recorder(bench.spool)
    for batch in (facts(), storm(1, 10), storm(11, 10)):
        recorder.take(batch)
    recorder.close()
    bench.publish()
    assert len(bench.server.messages) >= 3
    for found in bench.server.opened()[1:]:
        source = RecordedSource([found.recording])
        batches = [batch for batch in source.batches(lambda: 0.0) if len(batch)]
        containers = [source.attribution.of_row(batch, at) for batch in batches for at in range(len(batch))]
        assert containers and {container and container.name for container in containers} == {"web"}


@pytest.mark.parametrize("seed", range(3))
def test_kills_at_any_moment(seed: int, bench: Bench) -> None:
    """Files are rotated, and what is finished is merged into fewer batches, between a kill and the next start."""
    chance = random.Random(seed)
    bench.server.die = lambda _when: chance.random() < 0.2
    recorder = Recorder(bench.spool, max_bytes=30_000)
    recorder.take(facts())
    kills = 0
    for first in range(1, 200, 10):
        recorder.take(storm(first, 10))
        if chance.random() < 0.5:
            kills += bench.publish_whatever_is_killed()
    recorder.close()
    kills += bench.publish_whatever_is_killed()
    assert kills > 3 and bench.server.sent_again > 1
    assert len(list(bench.spool.iterdir())) > 2
    assert [row[1:] for row in bench.rows()] == rows_of(bench.spool)
    ids = [message.id for message in bench.server.messages]
    assert len(ids) == len(set(ids))


def test_what_the_spool_has_dropped_is_a_gap(bench: Bench) -> None:
    recorder = Recorder(bench.spool, max_bytes=30_000)
    recorder.take(facts())
    recorder.take(storm(1, 10))
    bench.publish()
    sent = len(bench.server.messages)
    for first in range(11, 200, 10):
        recorder.take(storm(first, 10))
    recorder.close()
    files = sorted(bench.spool.glob("*.arrows"))
    for path in files[:-2]:
        path.unlink()
    bench.start()
    bench.publish()
    lost, *rest = bench.server.opened()[sent:]
    _facts, rows = content(lost)
    gap = Batch.concat(rows)
    assert gap.rows["kind"].tolist() == [Kind.GAP] and gap.rows["start_ns"][0] < gap.rows["ts_ns"][0]
    assert {found.origin.part for found in rest} <= {len(files) - 1, len(files)} and rest
    assert {found.origin.run for found in rest} == {lost.origin.run}
    assert [found.origin.sequence for found in rest] == [lost.origin.sequence + 1 + at for at in range(len(rest))]
    source = RecordedSource([found.recording for found in bench.server.opened()])
    assert sum(int((batch.rows["kind"] == Kind.GAP).sum()) for batch in source.batches(lambda: 0.0)) == 1


def test_what_was_planned_and_is_gone_is_in_the_gap(bench: Bench) -> None:
    """The publisher is killed before its message is stored, and then its file is dropped."""
    recorder = Recorder(bench.spool, max_bytes=30_000)
    recorder.take(storm(1, 10))
    bench.publish()
    bench.server.die = lambda _when: True
    recorder.take(storm(11, 10))
    with pytest.raises(Killed):
        bench.publish()
    for first in range(21, 200, 10):
        recorder.take(storm(first, 10))
    recorder.close()
    for path in sorted(bench.spool.glob("*.arrows"))[:-2]:
        path.unlink()
    bench.server.die = lambda _when: False
    bench.start()
    bench.publish()
    _first, lost, *_rest = (Batch.concat(content(found)[1]) for found in bench.server.opened())
    assert lost.rows["kind"].tolist() == [Kind.GAP]
    told = storm(11, 10).rows["ts_ns"]
    assert lost.rows["start_ns"][0] <= told.min() and told.max() <= lost.rows["ts_ns"][0]


def test_a_gap_is_said_once_whatever_is_killed(bench: Bench) -> None:
    recorder = Recorder(bench.spool, max_bytes=30_000)
    recorder.take(storm(1, 10))
    bench.publish()
    for first in range(11, 200, 10):
        recorder.take(storm(first, 10))
    recorder.close()
    for path in sorted(bench.spool.glob("*.arrows"))[:-1]:
        path.unlink()
    chance = random.Random(1)
    bench.server.die = lambda _when: chance.random() < 0.5
    bench.start()
    assert bench.publish_whatever_is_killed() > 1
    kinds = [int(batch.rows["kind"][0]) for found in bench.server.opened() for batch in content(found)[1]]
    assert kinds.count(Kind.GAP) == 1


def test_the_next_run_follows(bench: Bench) -> None:
    for name in ("one", "two"):
        recorder = Recorder(bench.spool, name)
        recorder.take(storm(1, 10))
        recorder.close()
        bench.publish()
    runs = [found.origin.run for found in bench.server.opened()]
    assert len(set(runs)) == 2
    assert all(found.origin.sequence == 1 for found in bench.server.opened())


def test_a_recorder_that_was_killed(bench: Bench) -> None:
    """Its file has no end; the next run says that there will be none."""
    Recorder(bench.spool, "one").take(storm(1, 10))
    bench.publish()
    recorder = Recorder(bench.spool, "two")
    recorder.take(storm(1, 10))
    bench.publish()
    assert len({found.origin.run for found in bench.server.opened()}) == 2
    assert len(bench.server.messages) == 2


def test_messages_fit_the_server(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Memory(max_bytes=12_000))
    recorder = Recorder(bench.spool)
    recorder.take(facts())
    recorder.take(storm(1, 1000))
    recorder.close()
    bench.publish()
    assert len(bench.server.messages) > 3
    assert max(len(message.payload) for message in bench.server.messages) <= 12_000
    assert [row[1:] for row in bench.rows()] == rows_of(bench.spool)


def test_without_its_state_it_goes_on_where_the_server_is(bench: Bench) -> None:
    recorder = Recorder(bench.spool)
    recorder.take(storm(1, 10))
    bench.publish()
    (bench.folder / "state").unlink()
    recorder.take(storm(11, 10))
    recorder.close()
    bench.start()._recall()
    bench.publish()
    assert [row[1:] for row in bench.rows()] == rows_of(bench.spool)
    assert len({found.origin.run for found in bench.server.opened()}) == 1


def place(sequence: int) -> Place:
    return Place("ab", "ab-00000000", 1, 0, True, sequence, 0, 0, {})


def test_a_place_survives_a_write_that_was_cut_off(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "state", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for sequence in range(5):
        PlaceFile(fd, "state").write(place(sequence))
        before = os.pread(fd, 1 << 20, 0)
        PlaceFile(fd, "state").write(place(sequence + 1))
        after = os.pread(fd, 1 << 20, 0)
        changed = [at for at, (old, new) in enumerate(zip(before.ljust(len(after)), after, strict=True)) if old != new]
        for cut in (changed[0], changed[len(changed) // 2], changed[-1]):
            os.pwrite(fd, after[:cut] + before.ljust(len(after), b"\0")[cut:], 0)
            assert PlaceFile(fd, "state").place == place(sequence)
        os.pwrite(fd, after, 0)
        assert PlaceFile(fd, "state").place == place(sequence + 1)
    os.close(fd)


def test_a_state_file_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"x" * 100_000)
    with (tmp_path / "state").open("rb+") as file, pytest.raises(NstraceError, match="not the state of a publisher"):
        PlaceFile(file.fileno(), "state")
