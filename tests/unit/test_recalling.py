"""A moment of a recording: who lives then, what it runs, and what is not known."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from builders import PIDNS, SECOND_NS, WEB, Row, batch, cgroup, exits, fork, gap, row
from recordings import WALL_NS, record, storm

from tracer.answers.census import AsOf, Entry, Later
from tracer.past.census import LossWindow, Recall
from tracer.recording.inputs import open_input
from tracer.recording.reader import Recording
from tracer.recording.source import RecordedSource
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.pidns import ProcId
from tracer.stream.schema import Flag, Kind
from tracer.views.table import process_table

OFFSET_NS = 1_700_000_000 * SECOND_NS
INSIDE = [(PIDNS, 1)]


def recall(*batches: Batch) -> Recall:
    attribution = Attribution()
    found = Recall(attribution, OFFSET_NS)
    for one in batches:
        found.take(attribution.split_and_learn(one))
    return found


def everyone(*batches: Batch) -> dict[int, Entry]:
    return {entry.proc_id.tgid: entry for entry in recall(*batches).census(9 * SECOND_NS)}


def snapshot(tgid: int, inside: Sequence[tuple[int, ...]], **fields: Any) -> Row:
    return row(Kind.SNAPSHOT, tgid, inside, exe=b"/bin/sh", args=[b"sh", b"-c", b"x"], cgroup_id=7, **fields)


def exec_of(tgid: int, *args: bytes, **fields: Any) -> Row:
    return row(Kind.EXEC, tgid, [(PIDNS, tgid - 200)], args=args, exe=b"/bin/" + args[0], cgroup_id=7, **fields)


FIRST = [cgroup(7, WEB), snapshot(201, INSIDE, uid=5)]


def test_who_was_there_and_who_came() -> None:
    found = everyone(
        batch(*FIRST, fork(202, [(PIDNS, 2)], parent_tgid=201, parent_start_ns=SECOND_NS, parent_vtgid=1, cgroup_id=7))
    )
    first, second = found[201], found[202]
    assert (first.numbers, first.container, first.uid, first.args) == ((201, 1), WEB, 5, b"sh\0-c\0x\0")
    assert (second.parent, second.ns_ppid, second.args) == (first.proc_id, 1, None)
    assert first.started_ns == OFFSET_NS + SECOND_NS


def test_what_is_run_is_known_of_those_who_were_found_after_a_gap() -> None:
    listed: dict[str, Any] = {"cgroup_id": 7, "flags": Flag.INFERRED, "exe": b"/bin/ls", "args": [b"ls"]}
    found = everyone(batch(*FIRST, gap(2), row(Kind.FORK, 202, [(PIDNS, 2)], **listed), row(Kind.EXEC, 201, **listed)))
    assert [found[tgid].args for tgid in (201, 202)] == [b"ls\0", b"ls\0"]


def test_who_has_ended_is_gone_in_the_same_batch_or_a_later_one() -> None:
    assert set(everyone(batch(*FIRST, fork(202, [(PIDNS, 2)]), exits(202, [(PIDNS, 2)])))) == {201}
    assert set(everyone(batch(*FIRST, fork(202, [(PIDNS, 2)])), batch(exits(202, [(PIDNS, 2)])))) == {201}


def test_an_end_that_is_told_twice() -> None:
    twice = [exits(202, [(PIDNS, 2)], flags=flags) for flags in (0, Flag.INFERRED)]
    assert set(everyone(batch(*FIRST, fork(202, [(PIDNS, 2)])), batch(*twice))) == {201}


def test_the_last_exec_counts() -> None:
    found = everyone(batch(*FIRST, exec_of(202, b"a")), batch(exec_of(202, b"b", uid=9)))
    assert (found[202].args, found[202].exe, found[202].uid) == (b"b\0", b"/bin/b", 9)


def test_arguments_that_were_cut_when_they_were_recorded_are_marked() -> None:
    found = everyone(batch(*FIRST, exec_of(202, b"a", flags=Flag.ARGS_TRUNCATED)))
    assert (found[202].args_truncated, found[201].args_truncated) == (True, False)
    found = everyone(batch(*FIRST, exec_of(202, b"a", flags=Flag.ARGS_TRUNCATED)), batch(exec_of(202, b"b")))
    assert not found[202].args_truncated


def test_a_number_that_was_used_again_is_another_process() -> None:
    found = everyone(
        batch(*FIRST, exec_of(202, b"a"), exits(202, [(PIDNS, 2)])),
        batch(fork(202, [(PIDNS, 2)], start_ns=9 * SECOND_NS)),
    )
    assert (found[202].args, found[202].started_ns) == (None, OFFSET_NS + 9 * SECOND_NS)


OF_FIRST: dict[str, Any] = {"parent_tgid": 201, "parent_start_ns": SECOND_NS, "parent_vtgid": 1}


def test_the_parent_of_an_orphan_is_not_known_but_when_it_had_ended() -> None:
    child = fork(202, [(PIDNS, 2)], ts_ns=3 * SECOND_NS, **OF_FIRST)
    orphan = everyone(batch(*FIRST, child), batch(exits(201, INSIDE, ts_ns=5 * SECOND_NS)))[202]
    assert (orphan.parent, orphan.ns_ppid) == (None, None)
    last = ProcId(201, SECOND_NS), 5 * SECOND_NS + OFFSET_NS
    assert orphan.as_of == AsOf(3 * SECOND_NS + OFFSET_NS, False, *last, None)


def test_a_later_event_tells_who_took_an_orphan_over() -> None:
    reaper: dict[str, Any] = {"parent_tgid": 203, "parent_start_ns": SECOND_NS, "parent_vtgid": 3}
    rows = [*FIRST, fork(203, [(PIDNS, 3)]), fork(202, [(PIDNS, 2)], **OF_FIRST), exits(201, INSIDE)]
    adopted = everyone(batch(*rows), batch(row(Kind.EXEC, 202, [(PIDNS, 2)], args=[b"x"], **reaper)))[202]
    assert (adopted.parent, adopted.ns_ppid) == (ProcId(203, SECOND_NS), 3)


def test_a_number_that_was_given_away_is_nobodys_parent() -> None:
    rows = [*FIRST, fork(202, [(PIDNS, 2)], **OF_FIRST), fork(201, [(PIDNS, 9)], start_ns=7 * SECOND_NS)]
    orphan = everyone(batch(*rows))[202]
    assert orphan.parent is None and orphan.as_of
    assert orphan.as_of.parent_ended_ns == 7 * SECOND_NS + OFFSET_NS


def test_what_the_next_event_reports_otherwise_had_changed_by_then() -> None:
    inside = [(PIDNS, 2)]
    until = batch(*FIRST, fork(202, inside, uid=0, **OF_FIRST))
    found = recall(until)
    assert found.living() == {201, 202}
    behind = [
        batch(fork(300, [(PIDNS, 3)], ts_ns=4 * SECOND_NS)),
        batch(exits(202, inside, uid=33, comm=b"worker", ts_ns=5 * SECOND_NS, **OF_FIRST)),
        batch(exits(202, inside, uid=44, ts_ns=6 * SECOND_NS)),
    ]
    found.look_ahead(behind, 0)
    entries = {entry.proc_id.tgid: entry for entry in found.census(9 * SECOND_NS)}
    assert entries[202].uid == 0 and entries[202].as_of and entries[201].as_of
    assert entries[202].as_of.later == Later(5 * SECOND_NS + OFFSET_NS, 33, b"worker", None)
    assert entries[201].as_of.later is None
    shown = process_table(found.census(9 * SECOND_NS), [entries[202]], str, OFFSET_NS, containers=False, pids=False)
    assert shown.text.split()[4] == "0?" and shown.text.split()[-1] == "[sh?]"


def test_a_name_that_an_exec_gives_was_not_had_before_it() -> None:
    found = recall(batch(*FIRST, fork(202, [(PIDNS, 2)], **OF_FIRST)))
    found.look_ahead([batch(row(Kind.EXEC, 202, [(PIDNS, 2)], comm=b"ls", **OF_FIRST))], 0)
    (child,) = (entry for entry in found.census(9 * SECOND_NS) if entry.proc_id.tgid == 202)
    assert child.as_of and child.as_of.later is None


def test_threads_report_nothing_of_their_process() -> None:
    thread = row(Kind.THREAD_FORK, 201, INSIDE, tid=205, comm=b"pool-1", uid=9)
    first = everyone(batch(*FIRST), batch(thread))[201]
    assert (first.comm, first.uid) == (b"sh", 5)


def test_who_moved_is_in_the_container_that_it_moved_to() -> None:
    rows = [cgroup(7, WEB), cgroup(8, None), row(Kind.EXEC, 202, args=[b"runc"], exe=b"/runc", cgroup_id=8)]
    moved = everyone(batch(*rows, row(Kind.MOVE, 202, cgroup_id=7, ts_ns=4 * SECOND_NS)))[202]
    assert (moved.container, moved.args) == (WEB, b"runc\0")
    assert moved.as_of and moved.as_of.at_ns == 4 * SECOND_NS + OFFSET_NS


def test_what_no_event_has_reported_yet_is_not_known() -> None:
    begun = row(Kind.SNAPSHOT, 202, [(PIDNS, 2)], flags=Flag.INFERRED, comm=b"", uid=7, **OF_FIRST)
    unknown = everyone(batch(*FIRST, begun))[202]
    assert (unknown.uid, unknown.parent, unknown.args, unknown.comm) == (None, None, None, b"")


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
    assert recall(*lossy).losses() == LossWindow(7, OFFSET_NS + SECOND_NS, OFFSET_NS + 4 * SECOND_NS)
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
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3 if command == "tree" else 2), done.stderr
    assert "web" in done.stdout or "201" in done.stdout


def test_a_process_that_has_moved_is_where_it_moved_to() -> None:
    there = everyone(
        batch(cgroup(7, WEB), cgroup(8), snapshot(300, INSIDE), snapshot(301, [(PIDNS, 2)])),
        batch(row(Kind.MOVE, 300, INSIDE, cgroup_id=8, seq=7, ts_ns=3 * SECOND_NS)),
    )
    assert (there[300].args, there[301].args) == (b"sh\0-c\0x\0",) * 2
    host = everyone(
        batch(cgroup(7, WEB), cgroup(8), row(Kind.SNAPSHOT, 300, cgroup_id=8)),
        batch(row(Kind.MOVE, 300, cgroup_id=7, seq=8, ts_ns=3 * SECOND_NS)),
    )
    assert host[300].container == WEB


def test_who_comes_in_later_was_not_listed(tmp_path: Path) -> None:
    came = row(Kind.SNAPSHOT, 301, [(PIDNS, 2)], ts_ns=9 * SECOND_NS, flags=Flag.MOVED)
    path = tmp_path / "web.arrows"
    record(path, [batch(snapshot(300, INSIDE, ts_ns=2 * SECOND_NS), came)])
    source = RecordedSource([Recording("web.arrows", open_input(str(path)), lambda _line: None)])
    assert source.listed_ns() == 2 * SECOND_NS + source.wall_offset_ns
