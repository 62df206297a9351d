"""A moment of a recording: who lives then, what it runs, and what is not known."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from builders import PIDNS, SECOND_NS, WEB, Row, batch, cgroup, exits, fork, gap, row
from recordings import WALL_NS, record, storm

from tracer.answers.census import Entry
from tracer.attribution import Attribution
from tracer.events import Batch, Flag, Kind
from tracer.past.census import Losses, Recall
from tracer.recording.files import open_input
from tracer.recording.reader import Recording
from tracer.recording.source import RecordedSource

OFFSET_NS = 1_700_000_000 * SECOND_NS
INSIDE = [(PIDNS, 1)]


def recall(*batches: Batch) -> Recall:
    attribution = Attribution()
    found = Recall(attribution, OFFSET_NS)
    for one in batches:
        found.take(attribution.take(one))
    return found


def everyone(*batches: Batch) -> dict[int, Entry]:
    return {entry.proc_id.tgid: entry for entry in recall(*batches).census()}


def snapshot(tgid: int, inside: Sequence[tuple[int, ...]], **fields: int) -> Row:
    return row(Kind.SNAPSHOT, tgid, inside, exe=b"/bin/sh", args=[b"sh", b"-c", b"x"], cgroup_id=7, **fields)


def exec_of(tgid: int, *args: bytes, **fields: int) -> Row:
    return row(Kind.EXEC, tgid, [(PIDNS, tgid - 200)], args=args, exe=b"/bin/" + args[0], cgroup_id=7, **fields)


FIRST = [cgroup(7, WEB), snapshot(201, INSIDE, uid=5)]


def test_who_was_there_and_who_came() -> None:
    found = everyone(
        batch(*FIRST, fork(202, [(PIDNS, 2)], parent_tgid=201, parent_start_ns=SECOND_NS, parent_vtgid=1, cgroup_id=7))
    )
    first, second = found[201], found[202]
    assert (first.numbers, first.container, first.uid, first.args) == ((201, 1), WEB, 5, b"sh\0-c\0x\0")
    assert (second.parent, second.ns_ppid, second.args) == (first.proc_id, 1, b"")
    assert first.started_ns == OFFSET_NS + SECOND_NS


def test_what_is_run_is_known_of_those_who_were_found_after_a_gap() -> None:
    listed = {"cgroup_id": 7, "flags": Flag.INFERRED, "exe": b"/bin/ls", "args": [b"ls"]}
    found = everyone(batch(*FIRST, gap(2), row(Kind.FORK, 202, [(PIDNS, 2)], **listed), row(Kind.EXEC, 201, **listed)))
    assert [found[tgid].args for tgid in (201, 202)] == [b"ls\0", b"ls\0"]


def test_who_has_ended_is_gone_in_the_same_batch_or_a_later_one() -> None:
    assert set(everyone(batch(*FIRST, fork(202, [(PIDNS, 2)]), exits(202, [(PIDNS, 2)])))) == {201}
    assert set(everyone(batch(*FIRST, fork(202, [(PIDNS, 2)])), batch(exits(202, [(PIDNS, 2)])))) == {201}


def test_the_last_exec_counts() -> None:
    found = everyone(batch(*FIRST, exec_of(202, b"a")), batch(exec_of(202, b"b", uid=9)))
    assert (found[202].args, found[202].exe, found[202].uid) == (b"b\0", b"/bin/b", 9)


def test_a_number_that_was_used_again_is_another_process() -> None:
    found = everyone(
        batch(*FIRST, exec_of(202, b"a"), exits(202, [(PIDNS, 2)])), batch(fork(202, [(PIDNS, 2)], start_ns=9))
    )
    assert (found[202].args, found[202].started_ns) == (b"", OFFSET_NS + 9)


def test_the_parent_of_an_orphan_is_not_known() -> None:
    child = fork(202, [(PIDNS, 2)], parent_tgid=201, parent_start_ns=SECOND_NS, parent_vtgid=1)
    found = everyone(batch(*FIRST, child), batch(exits(201, INSIDE)))
    assert (found[202].parent, found[202].ns_ppid) == (None, None)


def test_a_parent_that_was_not_recorded_is_outside_of_the_namespace_in_any_case() -> None:
    found = everyone(batch(cgroup(7, WEB), snapshot(201, INSIDE, parent_tgid=90, parent_vtgid=0)))
    assert (found[201].parent, found[201].ns_ppid) == (None, 0)


def test_who_was_a_zombie_already_is_not_among_the_living() -> None:
    ended = row(Kind.SNAPSHOT, 203, [(PIDNS, 3)], flags=Flag.ENDED)
    assert set(everyone(batch(*FIRST, ended))) == {201}


def test_a_storm_hides_nobody_and_shows_nobody_who_has_ended() -> None:
    brief = [(fork(nr, [(PIDNS, nr)]), exits(nr, [(PIDNS, nr)])) for nr in range(1000, 1500)]
    alive = [fork(nr, [(PIDNS, nr)], parent_tgid=201, parent_start_ns=SECOND_NS) for nr in (202, 203)]
    found = everyone(batch(*FIRST, alive[0], *(event for life in brief for event in life), alive[1]))
    assert {tgid: entry.parent and entry.parent.tgid for tgid, entry in found.items()} == {
        201: None,
        202: 201,
        203: 201,
    }


def test_losses_make_it_unsure_until_they_are_made_up_for() -> None:
    lossy = batch(*FIRST), batch(gap(3), gap(4, 3 * SECOND_NS, 4 * SECOND_NS))
    assert recall(*lossy).losses() == Losses(7, OFFSET_NS + SECOND_NS, OFFSET_NS + 4 * SECOND_NS)
    repaired = batch(row(Kind.REPAIR, 0, start_ns=5 * SECOND_NS, ts_ns=6 * SECOND_NS))
    assert recall(*lossy, repaired).losses() is None
    assert recall(batch(*FIRST)).losses() is None


def test_before_the_processes_were_listed_nothing_is_known_of_them(tmp_path: Path) -> None:
    listed = batch(cgroup(7, WEB), snapshot(201, INSIDE, ts_ns=7 * SECOND_NS), fork(202, [(PIDNS, 2)], start_ns=6))
    record(tmp_path / "a.arrows", [listed])
    record(tmp_path / "b.arrows", [batch(cgroup(7, WEB), fork(202, [(PIDNS, 2)]))])
    paths = [str(tmp_path / name) for name in ("a.arrows", "b.arrows")]
    sources = [RecordedSource([Recording(path, open_input(path), lambda _line: None)]) for path in paths]
    assert [source.listed_ns() for source in sources] == [WALL_NS + 7 * SECOND_NS, None]


@pytest.mark.parametrize("command", ["ps", "tree", "containers"])
def test_the_commands_stand_a_storm(command: str, tmp_path: Path) -> None:
    record(tmp_path / "x.arrows", [batch(*FIRST), storm(2, 500)])
    argv = [sys.executable, "-m", "tracer", command, "--from", str(tmp_path / "x.arrows")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2 if command == "tree" else 1), done.stderr
    assert "web" in done.stdout or "201" in done.stdout
