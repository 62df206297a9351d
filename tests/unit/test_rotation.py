"""A recording in several files: together they are the one, and each of them is complete in itself."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import builders
import numpy as np
import pytest
from builders import PIDNS, SECOND_NS, WEB, batch, cgroup, exits, fork, gap, repair, row, session
from recordings import WALL_NS, facts, storm

from tracer.commands import record as record_command
from tracer.errors import NstraceError
from tracer.past.translation import Hindsight
from tracer.recording import rotate
from tracer.recording.carry_over import CarryOver
from tracer.recording.files import discard_parts, parts_of
from tracer.recording.folder import Folder
from tracer.recording.inputs import FileInput, open_input
from tracer.recording.metadata import of_this_host
from tracer.recording.past import read_past
from tracer.recording.reader import Recording
from tracer.recording.rotate import RotatingWriter, Rotation
from tracer.recording.source import RecordedSource
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.known import Known
from tracer.stream.pidns import PidnsId, ProcId
from tracer.stream.schema import Flag, Kind
from tracer.typed.processes import parse_proc
from tracer.views.translation import block

INSIDE = [(PIDNS, 1)]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 10.0  # every batch is due
        return self.now


def record(path: Path, batches: list[Batch], **rotation: Any) -> RotatingWriter:
    made = {"wall_offset_ns": str(WALL_NS)}
    writer = RotatingWriter(path, {**of_this_host(0, []), **made}, Rotation(**rotation), clock=Clock())
    for part in batches:
        writer.take(part)
    writer.close()
    return writer


def source(*paths: Path) -> RecordedSource:
    return RecordedSource([Recording(path.name, open_input(str(path)), pytest.fail) for path in paths])


def rows(recorded: RecordedSource) -> Batch:
    return Batch.concat(list(recorded.batches(lambda: 0.0)))


def test_together_they_are_the_whole(tmp_path: Path) -> None:
    batches = [facts(), storm(1, 50), storm(51, 50), storm(101, 50)]
    writer = record(tmp_path / "web.arrows", batches, max_bytes=1)
    parts = parts_of(tmp_path / "web.arrows")
    assert [path.name for path in parts] == [f"web.00000{number}.arrows" for number in (1, 2, 3, 4, 5)]
    together, whole = rows(source(*parts)), Batch.concat(batches)
    assert together.heap == whole.heap
    assert np.array_equal(together.rows["tgid"], whole.rows["tgid"])
    assert (writer.rows, writer.lost) == (len(whole), 0)
    assert writer.bytes == sum(path.stat().st_size for path in parts)


def test_a_later_file_alone_knows_who_lives_and_where(tmp_path: Path) -> None:
    born = batch(
        cgroup(7, WEB),
        fork(100, INSIDE, cgroup_id=7),
        row(Kind.EXEC, 100, INSIDE, exe=b"/bin/sh", args=[b"sh"], cgroup_id=7),
        fork(101, [(PIDNS, 2)], cgroup_id=7),
        exits(101, [(PIDNS, 2)], cgroup_id=7),
    )
    later = batch(fork(102, [(PIDNS, 3)], cgroup_id=8))  # came in by nsenter, from another cgroup
    record(tmp_path / "web.arrows", [born, later], max_bytes=1)
    first, second, third = parts_of(tmp_path / "web.arrows")
    alone = source(second)
    told = rows(alone)
    assert told.rows["kind"].tolist()[:3] == [Kind.CGROUP, Kind.PIDNS, Kind.SNAPSHOT]
    assert told.rows["tgid"].tolist()[2:] == [100, 102]
    assert told.payload(2).args == b"sh\0"
    assert abs(int(told.rows["ts_ns"][2]) - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) < 600 * SECOND_NS
    assert [alone.attribution.of_row(told, index) for index in (2, 3)] == [WEB, WEB]
    assert rows(source(third)).rows["tgid"].tolist()[2:] == [100, 102]
    assert rows(source(first, third)).rows["kind"].tolist().count(Kind.SNAPSHOT) == 2  # one is missing in between


def test_a_later_file_alone_knows_the_sessions_of_who_lives(tmp_path: Path) -> None:
    born = batch(
        cgroup(7, WEB),
        session("began", WEB, 1),
        fork(100, [(PIDNS, 15)], cgroup_id=7, session=1),
        session("described", WEB, 1, command=["sh"]),
        session("began", WEB, 2),
        fork(101, [(PIDNS, 16)], cgroup_id=7, session=2),
        exits(101, [(PIDNS, 16)], cgroup_id=7, session=2),
        session("ended", WEB, 2),
    )
    record(tmp_path / "web.arrows", [born, batch(fork(102, [(PIDNS, 3)], cgroup_id=7))], max_bytes=1)
    alone = source(parts_of(tmp_path / "web.arrows")[1])
    said = rows(alone)
    assert said.rows["session"][said.rows["kind"] == Kind.SNAPSHOT].tolist() == [1]
    assert said.rows["session"][said.rows["kind"] == Kind.SESSION].tolist() == [1]
    known = alone.attribution.sessions.get(1)
    assert known
    assert (known.action, known.command) == ("described", ["sh"])
    together = rows(source(*parts_of(tmp_path / "web.arrows")))
    assert (together.rows["kind"] == Kind.SESSION).sum() == 4


def test_what_a_later_file_repeats_is_of_an_earlier_time() -> None:
    of_100 = {"parent_tgid": 100, "parent_start_ns": SECOND_NS, "parent_vtgid": 1}
    listed = row(Kind.SNAPSHOT, 100, INSIDE, state=ord("S"), args=[b"sh"], parent_tgid=77)
    born = [fork(101, [(PIDNS, 2)], **of_100), fork(102, [(PIDNS, 3)], flags=Flag.INFERRED, **of_100)]
    living = CarryOver()
    living.apply(batch(listed, *born))
    before = living.snapshot(9).rows[-3:]
    living.apply(batch(exits(100, INSIDE)))
    orphans = living.snapshot(9).rows[-2:]
    assert before["flags"].tolist() == [Flag.CARRIED] * 3  # whatever they were: it lives, as far as was told
    assert before["state"].tolist() == [0, 0, 0]
    assert before["parent_tgid"].tolist() == [77, 100, 100]
    assert orphans["parent_tgid"].tolist() == [0, 0]
    assert [Known(rows)("ppid").tolist() for rows in (before, orphans)] == [[True] * 3, [False] * 2]


def test_a_later_file_alone_says_that_it_is_of_an_earlier_time(tmp_path: Path) -> None:
    of_100 = {"parent_tgid": 100, "parent_start_ns": SECOND_NS, "parent_vtgid": 1, "cgroup_id": 7}
    born = batch(cgroup(7, WEB), fork(100, INSIDE, cgroup_id=7), fork(101, [(PIDNS, 2)], uid=5, **of_100))
    later_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 3600 * SECOND_NS  # files are begun by the real clock
    ended, another = exits(100, INSIDE, cgroup_id=7, ts_ns=later_ns), fork(300, start_ns=later_ns + 1)
    record(tmp_path / "web.arrows", [born, batch(ended), batch(another)], max_bytes=1)
    _first, second, third, *_rest = parts_of(tmp_path / "web.arrows")
    for path, parent in ((second, ProcId(100, SECOND_NS)), (third, None)):
        past = read_past(source(path))
        begin_ns = past.history.begins_ns
        (found,) = Hindsight(past).at(parse_proc("101"), begin_ns).translations
        as_of = found.entry.as_of
        assert as_of and as_of.at_the_latest and as_of.at_ns == begin_ns + WALL_NS
        assert (found.entry.uid, found.entry.parent, as_of.last_parent) == (5, parent, parent)
        assert f"or before: user 5{', parent 100' if parent else ''}\n" in block(found, str, None)


def test_a_later_file_alone_knows_what_an_engine_said(tmp_path: Path) -> None:
    told = batch(builders.owner(100, INSIDE, WEB, cgroup_id=1), row(Kind.SNAPSHOT, 100, INSIDE, cgroup_id=1))
    record(tmp_path / "web.arrows", [told, batch(fork(101, [(PIDNS, 2)], cgroup_id=1))], max_bytes=1)
    last = source(parts_of(tmp_path / "web.arrows")[-1])
    rows(last)
    assert last.attribution.owner(PidnsId(PIDNS, 1)) == WEB


@pytest.mark.parametrize(
    ("seconds", "others", "is_known"), [(2.5, [], False), (1.5, [], True), (2.5, [fork(101, [(PIDNS, 2)])], True)]
)
def test_what_was_said_of_namespaces_that_are_over_is_not_repeated(
    seconds: float, others: list[builders.Row], is_known: bool
) -> None:
    living, later_ns = CarryOver(), SECOND_NS + round(seconds * SECOND_NS)
    living.apply(batch(cgroup(7, WEB), fork(100, INSIDE, cgroup_id=7), *others))
    living.apply(batch(exits(100, INSIDE, cgroup_id=7, ts_ns=SECOND_NS), fork(300, ts_ns=later_ns)))
    kinds = living.snapshot(9).rows["kind"].tolist()
    assert (Kind.PIDNS in kinds, Kind.CGROUP in kinds) == (is_known, True)


@pytest.mark.parametrize("is_repaired", [False, True])
def test_a_later_file_alone_says_what_is_unsure(is_repaired: bool, tmp_path: Path) -> None:
    lossy = batch(fork(7, [(PIDNS, 9)]), gap(3, SECOND_NS, 2 * SECOND_NS))
    healed = [batch(repair(3 * SECOND_NS))] if is_repaired else []
    record(tmp_path / "x.arrows", [facts(), lossy, *healed, storm(10, 1)], max_bytes=1)
    last = rows(source(parts_of(tmp_path / "x.arrows")[-1]))
    gaps = last.rows[last.rows["kind"] == Kind.GAP]
    assert gaps["seq"].tolist() == ([] if is_repaired else [0])
    together = rows(source(*parts_of(tmp_path / "x.arrows")))
    assert (together.rows["kind"] == Kind.GAP).sum() == 1


def test_the_oldest_go(tmp_path: Path) -> None:
    record(tmp_path / "web.arrows", [storm(n, 5) for n in range(1, 40, 5)], max_bytes=1, max_files=3)
    assert [path.name for path in parts_of(tmp_path / "web.arrows")] == [f"web.00000{n}.arrows" for n in (7, 8, 9)]


def test_only_files_of_the_folder_that_it_began_in_go(tmp_path: Path) -> None:
    mine, victim = tmp_path / "mine", tmp_path / "victim"
    for folder in (mine, victim):
        folder.mkdir()
    facts_of_it = {**of_this_host(0, []), "wall_offset_ns": str(WALL_NS)}
    writer = RotatingWriter(mine / "web.arrows", facts_of_it, Rotation(max_bytes=1, max_files=1), clock=Clock())
    mine.rename(tmp_path / "moved")
    (victim / "web.000001.arrows").write_bytes(b"precious")
    mine.symlink_to(victim)
    writer.take(storm(1, 5))
    writer.close()
    assert [(entry.name, entry.read_bytes()) for entry in victim.iterdir()] == [("web.000001.arrows", b"precious")]
    assert [entry.name for entry in (tmp_path / "moved").iterdir()] == ["web.000002.arrows"]


@pytest.mark.parametrize("kind", ["file", "folder", "link", "fifo"])
def test_a_name_that_is_planted_for_a_later_file_is_left_out(kind: str, tmp_path: Path) -> None:
    path, said = tmp_path / "web.arrows", list[str]()
    planted = [tmp_path / f"web.00000{number}.arrows" for number in (2, 3, 5)]
    for place in planted:
        if kind == "folder":
            place.mkdir()
        elif kind == "fifo":
            os.mkfifo(place)
        elif kind == "link":
            place.symlink_to(tmp_path / "nowhere")
        else:
            place.write_bytes(b"strangers")
    facts_of_it = {**of_this_host(0, []), "wall_offset_ns": str(WALL_NS)}
    writer = RotatingWriter(path, facts_of_it, Rotation(max_bytes=1), clock=Clock(), say=said.append)
    for part in (storm(1, 5), storm(6, 5), storm(11, 5)):
        writer.take(part)
    writer.close()
    assert said == [f"{place} is not part of this recording: its number is skipped" for place in planted]
    ours = [tmp_path / f"web.00000{number}.arrows" for number in (1, 4, 6, 7)]
    told = rows(source(*ours))  # nothing is missing in between: the numbers of names are no numbers of parts
    assert len(told) == writer.rows == 45
    assert kind != "file" or {place.read_bytes() for place in planted} == {b"strangers"}
    assert not (tmp_path / "nowhere").exists()


def test_so_many_planted_names_are_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotate, "_MAX_SKIPPED", 3)
    for number in (2, 3, 4):
        (tmp_path / f"web.00000{number}.arrows").touch()
    with pytest.raises(NstraceError, match=r"4\.arrows and 2 before it are there"):
        record(tmp_path / "web.arrows", [storm(1, 5)], max_bytes=1)


def test_a_file_that_took_the_place_of_an_old_one_stays(tmp_path: Path) -> None:
    facts_of_it = {**of_this_host(0, []), "wall_offset_ns": str(WALL_NS)}
    rotation = Rotation(max_bytes=1, max_files=1)
    writer = RotatingWriter(tmp_path / "web.arrows", facts_of_it, rotation, clock=Clock())
    first = tmp_path / "web.000001.arrows"
    writer.take(storm(1, 5))
    assert not first.exists()
    second = tmp_path / "web.000002.arrows"
    second.rename(tmp_path / "kept")
    second.write_bytes(b"another's")
    writer.take(storm(6, 5))
    writer.close()
    assert second.read_bytes() == b"another's"


def test_parts_that_were_there_go_when_the_first_new_one_has_begun(tmp_path: Path) -> None:
    path = tmp_path / "web.arrows"
    record(path, [storm(1, 5), storm(6, 5)], max_bytes=1)
    old = parts_of(path)
    options = {"wall_offset_ns": str(WALL_NS)}
    writer = RotatingWriter(path, {**of_this_host(0, []), **options}, Rotation(max_bytes=1), force=True)
    assert parts_of(path) == old
    discard_parts(path, Path(writer.name).name, Folder(tmp_path))
    assert parts_of(path) == old[:1]
    writer.close()
    assert len(rows(source(*old[:1]))) == 0


def test_a_name_without_an_ending_gets_one(tmp_path: Path) -> None:
    record(tmp_path / "web", [storm(1, 5), storm(6, 5)], max_bytes=1)
    assert [path.name for path in parts_of(tmp_path / "web")] == [f"web.00000{n}.arrows" for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("text", "amount"),
    [("100k", 100_000), ("100K", 100_000), ("100kB", 100_000), ("100KB", 100_000), ("1m", 10**6), ("2GiB", 2 << 30)],
)
def test_sizes_as_people_write_them(text: str, amount: int) -> None:
    command = record_command.command
    with command.make_context("record", ["-w", "x.arrows", "--rotate-size", text]) as context:
        assert context.params["rotate_size"] == amount


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        *(("--rotate-size", text, "is out of range: at least 64 kB") for text in ("100", "63K")),
        *(("--rotate-size", text, "is not a valid size") for text in ("-1M", "1MM", "k", "1s", "\u0661M")),
        *(("--rotate-interval", text, "is not a valid duration") for text in ("-1m", "1M", "h", "\u0661m")),
        ("--rotate-interval", "500ms", "is out of range: at least 1 s"),
    ],
)
def test_amounts_that_are_none(option: str, text: str, said: str) -> None:
    with pytest.raises(NstraceError, match=f"{option}: .* {said}"):
        record_command.command.make_context("record", ["-w", "x.arrows", option, text])


def test_by_time(tmp_path: Path) -> None:
    record(tmp_path / "web.arrows", [storm(n, 5) for n in range(1, 40, 5)], interval_s=75.0)
    assert 1 < len(parts_of(tmp_path / "web.arrows")) < 8


def test_who_lives_does_not_depend_on_how_batches_are_cut() -> None:
    stream = Batch.concat(
        [facts(), storm(1, 20), batch(fork(5000, INSIDE, cgroup_id=7), fork(5001)), storm(30, 20), batch(exits(5001))]
    )
    whole, pieces = CarryOver(), CarryOver()
    whole.apply(stream)
    for at in range(0, len(stream), 7):
        pieces.apply(stream.part(at, min(len(stream), at + 7)))
    one, other = whole.snapshot(5), pieces.snapshot(5)
    assert one.rows.tobytes() == other.rows.tobytes()
    assert one.heap == other.heap
    assert one.rows["tgid"][one.rows["kind"] == Kind.SNAPSHOT].tolist() == [5000]
    for part in Attribution().split_and_learn(one):
        assert len(part)


def test_a_file_can_be_read_twice_at_once(tmp_path: Path) -> None:
    record(tmp_path / "web.arrows", [storm(1, 5)], max_bytes=1 << 30)
    (path,) = parts_of(tmp_path / "web.arrows")
    one = open_input(str(path))
    assert isinstance(one, FileInput)
    assert one.read(100) + one.again().read(100) == path.read_bytes()[:100] * 2
