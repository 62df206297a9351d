"""Two recordings of one host at one time: the same event is one, the same process is one, and what only one of them has
is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import PIDNS, SECOND_NS, WEB, batch, cgroup, exits, fork, gap, life, row, session
from recordings import WALL_NS, record
from test_outputs_agree import golden, of_every_kind

from tracer.recording.filtered import is_filtered
from tracer.recording.once import give_each_once
from tracer.recording.source import RecordedSource
from tracer.stream.batch import Batch, of_kind
from tracer.stream.schema import NOTE_KINDS, SHOWN_KINDS, Flag, Kind
from tracer.text.times import rfc3339
from tracer.wiring.open_recordings import open_later

ROOT = Path(__file__).parents[2]
LATER_NS = 3000  # the programs of the second nstrace run after those of the first


def jobs(*numbers: int) -> list[Any]:
    """Processes of web that begin, run two programs and end, half a second each."""
    rows = []
    for nr in numbers:
        begin, inside = SECOND_NS + nr * SECOND_NS // 2, [(PIDNS, nr)]
        shared: dict[str, Any] = {"start_ns": begin, "cgroup_id": 7, "parent_tgid": 1000}
        rows += [
            fork(1000 + nr, inside, ts_ns=begin + 10, **shared),
            row(Kind.EXEC, 1000 + nr, inside, exe=b"/bin/env", args=[b"env", b"ls"], ts_ns=begin + 500_000, **shared),
            row(Kind.EXEC, 1000 + nr, inside, exe=b"/bin/ls", args=[b"ls"], ts_ns=begin + 900_000, **shared),
            exits(1000 + nr, inside, ts_ns=begin + SECOND_NS // 2 - 1, status=nr % 2 << 8, **shared),
        ]
    return rows


def later(part: Batch) -> Batch:
    """The same events, as another nstrace reports them."""
    rows = part.rows.copy()
    rows["ts_ns"] += np.uint64(LATER_NS)
    return Batch(rows, part.heap)


def two(folder: Path, first: Batch, second: Batch, **metadata: Any) -> Path:
    """A folder with two recordings, the second of which has its own idea of the wall clock."""
    record(folder / "a.arrows", [first], realtime_ns=str(WALL_NS + SECOND_NS))
    own: dict[str, Any] = {"realtime_ns": str(WALL_NS + SECOND_NS + 7), "wall_offset_ns": str(WALL_NS + 7)}
    record(folder / "b.arrows", [later(second)], **(own | metadata))
    return folder


def rows_of(folder: Path) -> list[list[Any]]:
    """What each of the recordings shows, when each event is given once."""
    sources: list[RecordedSource] = open_later([str(folder)], (), (), lambda _line: None)()
    assert len(sources) == 2 and not any(map(is_filtered, sources))
    give_each_once(sources)
    shown = []
    for source in sources:
        parts = [part.rows[of_kind(part.rows, *SHOWN_KINDS)] for part in source.batches(lambda: 0.0)]
        shown.append([(Kind(one["kind"]).name, int(one["tgid"])) for one in np.concatenate(parts)])
    return shown


def test_what_is_in_both_is_there_once(tmp_path: Path) -> None:
    begins = row(Kind.SNAPSHOT, 1000, [(PIDNS, 1)], cgroup_id=7, ts_ns=SECOND_NS, parent_tgid=0)
    first = batch(cgroup(7, WEB), begins, *jobs(1, 2, 3), life("stopped", WEB, 7))
    second = batch(cgroup(7, WEB), begins, *jobs(2, 3, 4), life("stopped", WEB, 7))
    shown, more = rows_of(two(tmp_path, first, second))
    assert len(shown) == 1 + 12 + 1
    assert more == [("FORK", 1004), ("EXEC", 1004), ("EXEC", 1004), ("EXIT", 1004)]


def test_what_one_has_lost_the_other_has(tmp_path: Path) -> None:
    all_of_it = jobs(1, 2)
    unseen = exits(1001, [(PIDNS, 1)], flags=Flag.INFERRED, ts_ns=3 * SECOND_NS, start_ns=SECOND_NS + SECOND_NS // 2)
    first = batch(cgroup(7, WEB), *all_of_it[:1], *all_of_it[4:], gap(3), unseen)
    shown, more = rows_of(two(tmp_path, first, batch(cgroup(7, WEB), *all_of_it)))
    assert shown.count(("EXIT", 1001)) == 1
    assert more == [("EXEC", 1001), ("EXEC", 1001), ("EXIT", 1001)]
    (tmp_path / "other").mkdir()
    _shown, more = rows_of(two(tmp_path / "other", batch(cgroup(7, WEB), *all_of_it), first))
    assert more == [("GAP", 0)]  # and what was inferred is known


def test_what_was_recorded_at_another_time_is_not_kept_in_mind(tmp_path: Path) -> None:
    first = batch(cgroup(7, WEB), *jobs(1, 2, 3))
    two(tmp_path, first, first)
    third = batch(*jobs(20))
    record(tmp_path / "c.arrows", [third], realtime_ns=str(WALL_NS + 10 * SECOND_NS))
    sources: list[RecordedSource] = open_later([str(tmp_path)], (), (), lambda _line: None)()
    before = [source.passing for source in sources]
    give_each_once(sources)
    changed = [source.passing is not passing for source, passing in zip(sources, before, strict=True)]
    assert changed == [True, True, False]


def test_losses_are_of_each(tmp_path: Path) -> None:
    first = batch(cgroup(7, WEB), *jobs(1), gap(2))
    assert rows_of(two(tmp_path, first, first))[1] == [("GAP", 0)]


@pytest.mark.parametrize("whole", [golden(), of_every_kind()], ids=["golden", "every kind"])
def test_a_recording_and_itself(whole: Batch, tmp_path: Path) -> None:
    _shown, more = rows_of(two(tmp_path, whole, whole))
    assert {kind for kind, _tgid in more} <= {Kind(kind).name for kind in NOTE_KINDS}


@pytest.mark.parametrize("other", [{"boot_id": "another"}, {"host": "another"}])
def test_other_hosts_and_boots_are_others(other: dict[str, str], tmp_path: Path) -> None:
    first = batch(cgroup(7, WEB), *jobs(1))
    assert len(rows_of(two(tmp_path, first, first, **other))[1]) == 4


def nstrace(*words: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-W", "error::ImportWarning", "-m", "tracer", *map(str, words)]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=100, cwd=ROOT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("once") / "runs"
    path.mkdir()
    first = batch(cgroup(7, WEB), *jobs(1, 2, 3))
    return two(path, first, batch(cgroup(7, WEB), *jobs(2, 3, 4)))


def test_commands_count_once(folder: Path) -> None:
    done = nstrace("sql", "--csv", folder, "select event, count(*) from events group by event order by event")
    assert done.stdout.split() == ["event,count_star()", "exec,8", "exit,4", "fork,4"], done.stderr
    query = "select pid, commands, failed_execs, exit_code from processes order by pid"
    rows = list(map(json.loads, nstrace("sql", "--json", folder, query).stdout.splitlines()))
    assert [row["pid"] for row in rows] == [1001, 1002, 1003, 1004]
    assert {tuple(row["commands"]) for row in rows} == {("env ls", "ls")}
    assert nstrace("sql", "--csv", folder, "select execs from containers").stdout.split() == ["execs", "8"]
    for words in (["replay", "--json", "-q"], ["export", "--to", "jsonl", "-w", "-"]):
        assert len(nstrace(*words, folder).stdout.splitlines()) == 16
    assert nstrace("diff", folder, folder).returncode == 0


def test_sessions_and_ends_are_told_once(tmp_path: Path) -> None:
    came = [session("began", WEB, cgroup_id=7), session("ended", WEB, cgroup_id=7, exit_code=3)]
    first = batch(cgroup(7, WEB), *jobs(1), came[0], life("stopped", WEB, 7, exit_code=0))
    two(tmp_path, first, batch(cgroup(7, WEB), *jobs(1), *came, life("stopped", WEB, 7, exit_code=0)))
    (one,) = map(json.loads, nstrace("sessions", "--json", "--from", tmp_path).stdout.splitlines())
    assert one["exit_code"] == 3  # which one of the recordings knows
    (end,) = map(json.loads, nstrace("why", "--all", "--json", "--from", tmp_path).stdout.splitlines())
    assert end["container"]["name"] == "web"


def test_a_number_in_a_log_is_one_process(folder: Path) -> None:
    when = rfc3339(WALL_NS + SECOND_NS + SECOND_NS + 1_000_000)  # of the second job, whom both have
    done = nstrace("translate", "--to-host", "--in", "web", "--from", folder, "-", stdin=f"{when} I am 2\n")
    assert done.stdout == f"{when} I am 2[host:1002]\n", done.stderr
    words = ["--from", folder, "--on", "pid", "--time-column", "time", "--json"]
    joined = nstrace("join", "-", *words, stdin=f"time,pid\n{when},1002\n")
    assert json.loads(joined.stdout)["process_ns_pid"] == 2, joined.stderr
