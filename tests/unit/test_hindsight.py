"""translate --from, on recordings made by hand: namespaces of containers, numbers given away, what is not known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import builders
import numpy as np
import pytest
from builders import PIDNS, SECOND_NS, WEB, Row, batch, cgroup, exits, fork, gap, repair, row
from recordings import WALL_NS

from tracer.answers.census import AsOf, Later
from tracer.answers.translation import Translation
from tracer.errors import ExitCode, NstraceError
from tracer.past.translation import Hindsight
from tracer.recording.files import create
from tracer.recording.inputs import open_input
from tracer.recording.metadata import of_this_host
from tracer.recording.past import read_past
from tracer.recording.reader import Recording
from tracer.recording.row_filter import RowFilter
from tracer.recording.source import RecordedSource
from tracer.recording.writer import FileSink, Writer
from tracer.stream.metadata import Container
from tracer.stream.pidns import ProcId
from tracer.stream.schema import Flag, Kind
from tracer.typed.processes import parse_proc

DB = Container("b" * 64, "docker", "db")
GUEST = Container("c" * 64, "docker", "guest")  # shares the namespace of db
ADMIN = Container("d" * 64, "docker", "admin")  # shares the host's, and has begun one inside
LATE = Container("e" * 64, "docker", "late")  # shares the namespace of db, and starts while it is recorded
IN_WEB, IN_DB, IN_GUEST, IN_ADMIN, IN_LATE = 7, 8, 9, 10, 11  # cgroups
ROOT = Path(__file__).parents[2]
FIRST, SECOND, AGAIN, INNER, ADMINS = 1, 2, 3, 4, 5  # generations


def at(second: float) -> int:
    return round(second * SECOND_NS)


def there(tgid: int, inside: Sequence[tuple[int, ...]], cgroup_id: int, *, began: float = 0.5) -> Row:
    return row(Kind.SNAPSHOT, tgid, inside, args=[b"sleep", b"600"], exe=b"/bin/sleep", comm=b"sleep",
               start_ns=at(began), ts_ns=at(1), cgroup_id=cgroup_id)  # fmt: skip


def lives(
    tgid: int, inside: Sequence[tuple[int, ...]], cgroup_id: int, began: float, ended: float, status: int = 0
) -> list[Row]:
    fields: dict[str, Any] = {"start_ns": at(began), "cgroup_id": cgroup_id}
    return [
        fork(tgid, inside, ts_ns=at(began), **fields),
        row(Kind.EXEC, tgid, inside, args=[b"job"], comm=b"job", ts_ns=at(began) + 1, **fields),
        exits(tgid, inside, ts_ns=at(ended), status=status, comm=b"job", **fields),
    ]


WEB_NS, DB_NS, WEB_AGAIN, INNER_NS = (PIDNS, FIRST), (PIDNS + 1, SECOND), (PIDNS, AGAIN), (PIDNS + 2, INNER)
ADMINS_NS = (PIDNS + 3, ADMINS)


def number(pidns: tuple[int, int], nr: int) -> tuple[int, int, int]:
    return pidns[0], nr, pidns[1]


ROWS = [
    cgroup(IN_WEB, WEB), cgroup(IN_DB, DB), cgroup(IN_GUEST, GUEST), cgroup(IN_ADMIN, ADMIN), cgroup(IN_LATE, LATE),
    there(100, [number(WEB_NS, 1)], IN_WEB), there(200, [number(DB_NS, 1)], IN_DB),
    there(210, [number(DB_NS, 9)], IN_GUEST), there(300, [], 0),
    there(400, [], IN_ADMIN), there(401, [number(ADMINS_NS, 1)], IN_ADMIN, began=0.6),
    row(Kind.EXEC, 500, [], exe=b"/proc/self/exe", comm=b"exe", start_ns=at(1.1), ts_ns=at(1.1), cgroup_id=IN_LATE),
    *lives(501, [number(DB_NS, 16)], IN_LATE, 1.2, 20),
    *lives(101, [number(WEB_NS, 15)], IN_WEB, 2, 4),
    *lives(102, [number(WEB_NS, 15)], IN_WEB, 5, 6, status=9),
    *lives(103, [number(WEB_NS, 16), number(INNER_NS, 1)], IN_WEB, 6, 9),
    exits(100, [number(WEB_NS, 1)], start_ns=at(0.5), ts_ns=at(10), cgroup_id=IN_WEB),
    *lives(110, [number(WEB_AGAIN, 1)], IN_WEB, 11, 19),  # the container started again: same inode number
    *lives(111, [number(WEB_AGAIN, 15)], IN_WEB, 12, 13),
    *lives(101, [number(DB_NS, 15)], IN_DB, 14, 15),
]  # fmt: skip


def write(path: Path, rows: list[Row]) -> Path:
    facts = of_this_host(WALL_NS, ["nstrace", "record"]) | {"realtime_ns": str(WALL_NS + SECOND_NS)}
    writer = Writer(FileSink(create(path, force=True), str(path)), facts)
    writer.take(batch(*rows))
    writer.close()
    return path


def hindsight(path: Path, numbers: set[int] | None = None) -> Hindsight:
    source = RecordedSource([Recording(str(path), open_input(str(path)), lambda _line: None)])
    return Hindsight(read_past(source, RowFilter(numbers)) if numbers else read_past(source))


@pytest.fixture(params=["all of it", "reduced"])
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hindsight]:
    path = write(tmp_path / "x.arrows", ROWS)
    yield hindsight(path, {1, 9, 15, 16, 101, 210, 300, 400} if request.param == "reduced" else None)


def hosts(hindsight: Hindsight, proc: str, second: float) -> list[int]:
    recalled = hindsight.at(parse_proc(proc), at(second))
    assert recalled.hole is None
    return [translation.entry.numbers[0] for translation in recalled.translations]


@pytest.mark.parametrize(
    ("proc", "second", "host"),
    [
        ("web/1", 1.5, 100), ("web/1", 0.7, 100), ("web/15", 3, 101), ("web/15", 5.5, 102), ("web/15", 12.5, 111),
        ("web/1", 11.5, 110), ("db/15", 14.5, 101), ("aaaa/15", 3, 101), (f"pidns:{PIDNS}/15", 3, 101),
        (f"pidns:{PIDNS}/15", 12.5, 111), ("web/16", 7, 103), (f"pidns:{PIDNS + 2}/1", 7, 103), ("300", 3, 300),
        ("101", 3, 101), ("101", 14.5, 101), ("guest/9", 3, 210), ("db/9", 3, 210), ("guest/1", 3, 200),
        ("admin/400", 3, 400), ("admin/101", 3, 101), ("late/16", 3, 501), ("late/9", 3, 210),
        ("name:web/1", 1.5, 100), ("web#1/1", 1.5, 100), ("name:web#1/15", 3, 101), ("aaaa#1/15", 3, 101),
    ],
)  # fmt: skip
def test_who_it_was(proc: str, second: float, host: int, recorded: Hindsight) -> None:
    assert hosts(recorded, proc, second) == [host]


def test_one_number_of_the_host_was_two_processes(recorded: Hindsight) -> None:
    found = [only(recorded, "101", second) for second in (3, 14.5)]
    assert [translation.result for translation in found] == [15, 15]
    assert [translation.entry.container and translation.entry.container.name for translation in found] == ["web", "db"]
    everyone = recorded.during(parse_proc("101"), at(1), at(18)).translations
    assert [translation.entry.started_ns - WALL_NS for translation in everyone] == [at(2), at(14)]


def only(hindsight: Hindsight, proc: str, second: float) -> Translation:
    (translation,) = hindsight.at(parse_proc(proc), at(second)).translations
    return translation


def test_what_is_told_of_a_process(recorded: Hindsight) -> None:
    found = only(recorded, "web/15", 5.5)
    assert (found.entry.args, found.entry.numbers, found.entry.container) == (b"job\0", (102, 15), WEB)
    assert [(place.nr, place.container) for place in found.places] == [(102, None), (15, WEB)]
    assert found.life is not None
    assert (found.life.ended_ns, found.life.status) == (at(6) + WALL_NS, 9)
    nested = only(recorded, "web/16", 7)
    assert [(place.nr, place.container) for place in nested.places] == [(103, None), (16, WEB), (1, WEB)]


def test_who_has_not_ended_was_there_to_the_end(recorded: Hindsight) -> None:
    life = only(recorded, "300", 3).life
    assert life is not None
    assert (life.ended_ns, life.seen_ns) == (None, at(20) + WALL_NS)


def test_a_zombie_that_was_there_had_ended_at_the_latest_when_it_was_listed(tmp_path: Path) -> None:
    zombie = row(Kind.SNAPSHOT, 100, [number(WEB_NS, 7)], start_ns=at(0.5), ts_ns=at(1.5), cgroup_id=IN_WEB,
                 flags=Flag.ENDING | Flag.ENDED, state=ord("Z"))  # fmt: skip
    path = write(tmp_path / "x.arrows", [cgroup(IN_WEB, WEB), there(99, [number(WEB_NS, 1)], IN_WEB), zombie])
    answer = json.loads(nstrace("--from", str(path), "--json", "web/7").stdout)
    assert (answer["ended"], answer["ended_at_the_latest"]) == ("2023-11-14T22:13:21.500000000Z", True)
    assert (answer["seen"], answer["exit_code"]) == (answer["started"], None)
    assert "ended 2023-11-14 22:13:21.500 at the latest" in nstrace("--from", str(path), "web/7").stdout
    asked_later = nstrace("--from", str(path), "--at", "@1700000001.5", "web/7")
    assert "ended 2023-11-14 22:13:21.500 at the latest; its PID is not reused" in asked_later.stderr


def test_a_process_before_its_exec_is_told_as_it_was_then(recorded: Hindsight) -> None:
    assert only(recorded, "web/15", 2).entry.comm == b"sh"
    assert only(recorded, "web/15", 2.1).entry.comm == b"job"


@pytest.mark.parametrize(
    ("proc", "second", "said"),
    [
        ("web/15", 1.5, "no process 15 in web was recorded at"),
        ("web/15", 4.5, "before: PID 101 (job)"),
        ("web/15", 4.5, "next: PID 102, started"),
        ("webb/15", 3, "did you mean web?"),
        ("nope/15", 3, "no container named 'nope' was recorded"),
        ("web#2/15", 3, "no container named 'web#2' was recorded"),
        ("name:aaaa/15", 3, "no container named 'name:aaaa' was recorded"),
        ("nope/15", 3, "recorded: admin, db, guest, late, web"),
        ("pidns:7/15", 3, "no process was recorded in PID namespace 7"),
        ("15", 3, "no process 15 on the host was recorded at"),
    ],
)
def test_nobody(proc: str, second: float, said: str, recorded: Hindsight) -> None:
    with pytest.raises(NstraceError) as caught:
        recorded.at(parse_proc(proc), at(second))
    assert caught.value.exit_code == ExitCode.NO_TARGET
    assert said in f"{caught.value.message}\n{caught.value.hint}"


def test_beyond_both_ends_is_not_known(recorded: Hindsight) -> None:
    for second, said in ((0.4, "the recording begins at"), (30, "the recording ends at")):
        recalled = recorded.at(parse_proc("web/15"), at(second))
        assert recalled.hole and recalled.translations == []
        assert said in recorded.unknown(parse_proc("web/15"), recalled).message
    recalled = recorded.at(parse_proc("300"), at(30))
    assert [(t.result, t.life and t.life.is_certain) for t in recalled.translations] == [(300, False)]
    assert "it may have been PID 300 (sleep)" in recorded.unknown(parse_proc("300"), recalled).hint


def test_a_gap_is_told_where_it_matters(tmp_path: Path) -> None:
    lossy = [
        cgroup(IN_WEB, WEB), there(100, [number(WEB_NS, 1)], IN_WEB),
        *lives(101, [number(WEB_NS, 15)], IN_WEB, 2, 4)[:1], gap(3, at(2.5), at(2.6)), repair(at(3)),
        *lives(102, [number(WEB_NS, 15)], IN_WEB, 5, 6),
    ]  # fmt: skip
    past = hindsight(write(tmp_path / "x.arrows", lossy))
    assert hosts(past, "web/15", 2.2) == [101]
    recalled = past.at(parse_proc("web/15"), at(2.8))
    assert recalled.hole
    assert "events were lost between" in past.missing(recalled.hole)
    assert hosts(past, "web/15", 3.5) == [101]  # the comparison found it alive
    found = past.during(parse_proc("web/15"), at(2), at(5.5))
    assert [t.entry.numbers[0] for t in found.translations] == [101, 102]
    assert found.hole


def test_what_was_run_is_known_of_those_who_were_found_after_a_gap(tmp_path: Path) -> None:
    inside = [number(WEB_NS, 15)]
    listed: dict[str, Any] = {"cgroup_id": IN_WEB, "start_ns": at(2), "comm": b"ls", "exe": b"/bin/ls", "args": [b"ls"]}
    rows = [cgroup(IN_WEB, WEB), there(100, [number(WEB_NS, 1)], IN_WEB), gap(3, at(2), at(3))]
    fork = row(Kind.FORK, 101, inside, ts_ns=at(3.5), flags=Flag.INFERRED, **listed)
    execed = row(Kind.EXEC, 101, inside, ts_ns=at(5), flags=Flag.INFERRED, **listed | {"args": [b"ls", b"-l"]})
    past = hindsight(write(tmp_path / "x.arrows", [*rows, fork, repair(at(3)), execed, repair(at(5))]))
    assert [only(past, "web/15", second).entry.args for second in (4, 5)] == [b"ls\0", b"ls\0-l\0"]


def family(path: Path) -> Path:
    """100 is there; it forks 120, which forks 130 and ends; 130 changes its user and its name, and ends in the care of
    100. 120's number is given to 120 again. 140 has a parent that is not recorded, and 150 is a child of 140."""
    of_100 = {"parent_tgid": 100, "parent_start_ns": at(0.5), "parent_vtgid": 1, "cgroup_id": IN_WEB}
    of_120 = of_100 | {"parent_tgid": 120, "parent_start_ns": at(2), "parent_vtgid": 20}
    of_140 = of_100 | {"parent_tgid": 140, "parent_start_ns": at(2.5), "parent_vtgid": 40}
    n20, n30, n40, n50 = ([number(WEB_NS, nr)] for nr in (20, 30, 40, 50))
    return write(path, [
        cgroup(IN_WEB, WEB), there(100, [number(WEB_NS, 1)], IN_WEB),
        fork(120, n20, start_ns=at(2), **of_100),
        fork(140, n40, start_ns=at(2.5), parent_tgid=77, parent_start_ns=at(0.1), cgroup_id=IN_WEB),
        fork(130, n30, start_ns=at(3), **of_120),
        fork(150, n50, start_ns=at(3.5), **of_140),
        exits(120, n20, start_ns=at(2), ts_ns=at(4), **of_100),
        fork(120, n20, start_ns=at(6), **of_100),
        exits(130, n30, start_ns=at(3), ts_ns=at(8), uid=33, comm=b"worker", **of_100),
        fork(199, start_ns=at(20)),
    ])  # fmt: skip


@pytest.mark.parametrize("numbers", [None, {20, 30, 40, 50}], ids=["all of it", "reduced"])
def test_a_parent_is_one_that_lives(numbers: set[int] | None, tmp_path: Path) -> None:
    past = hindsight(family(tmp_path / "x.arrows"), numbers)
    begun = {100: at(0.5), 120: at(2), 140: at(2.5)}

    def parent(nr: int, second: float) -> tuple[object, object]:
        entry = only(past, f"web/{nr}", second).entry
        return entry.parent, entry.ns_ppid

    assert parent(20, 3) == (ProcId(100, begun[100]), 1)
    assert parent(30, 3.5) == (ProcId(120, begun[120]), 20)
    assert parent(30, 4.5) == parent(30, 7) == (None, None)  # not 120, which has ended, nor who has its number now
    assert parent(40, 5) == (None, 0)  # nobody tells of it; it is outside in any case
    assert parent(50, 5) == (ProcId(140, begun[140]), 40)  # which lives to the end
    alone = only(
        hindsight(tmp_path / "x.arrows", {50}), "web/50", 5
    )  # whose parent was born before it was known to be one
    assert alone.entry.parent == ProcId(140, begun[140])
    orphan = only(past, "web/30", 7).entry.as_of
    assert orphan == AsOf(at(3) + WALL_NS, False, ProcId(120, at(2)), at(4) + WALL_NS,
                          Later(at(8) + WALL_NS, 33, b"worker", ProcId(100, at(0.5))))  # fmt: skip
    (ended,) = past.during(parse_proc("web/30"), at(1), at(20)).translations
    assert (ended.entry.uid, ended.entry.comm, ended.entry.parent) == (33, b"worker", ProcId(100, at(0.5)))


def test_the_command_says_what_is_known_and_as_of_when(tmp_path: Path) -> None:
    file = str(family(tmp_path / "x.arrows"))
    assert nstrace("--from", file, "--at", "22:13:27", "web/30").stdout.splitlines()[-3:] == [
        "  started 2023-11-14 22:13:23.000, ended 2023-11-14 22:13:28.000 (exit 0)",
        "  as of 2023-11-14 22:13:23.000: user 0, parent 120, which had ended by 2023-11-14 22:13:24.000",
        "  changed by 2023-11-14 22:13:28.000: user 33, named worker, parent 100",
    ]
    answer = json.loads(nstrace("--from", file, "--at", "22:13:27", "--json", "web/30").stdout)
    assert (answer["ppid"], answer["ns_ppid"], answer["parent_id"]) == (None, None, None)
    assert (answer["uid"], answer["as_of"]) == (0, "2023-11-14T22:13:23.000000000Z")
    ended_by = "2023-11-14T22:13:24.000000000Z"
    assert answer["last_parent"] == {"pid": 120, "proc_id": f"120-{at(2)}", "ended_by": ended_by}
    by = "2023-11-14T22:13:28.000000000Z"
    assert answer["changed"] == {"by": by, "uid": 33, "comm": "worker", "ppid": 100, "parent_id": f"100-{at(0.5)}"}
    argv = [sys.executable, "-m", "tracer", "ps", "--from", file, "--at", "22:13:27"]
    shown = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"TZ": "UTC"}).stdout
    assert [line.split()[:5] for line in shown.splitlines() if line.split()[1] == "30"] == [
        ["130", "30", "?", "?", "0?"]
    ]


def test_reduced_or_not_the_answers_are_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "x.arrows", ROWS)
    whole, reduced = hindsight(path), hindsight(path, {15})
    for proc in ("web/15", "db/15", f"pidns:{PIDNS}/15", "15"):
        for second in np.arange(0.25, 21, 0.25).tolist():
            assert outcome(whole, proc, second) == outcome(reduced, proc, second)


def outcome(hindsight: Hindsight, proc: str, second: float) -> object:
    try:
        return hindsight.at(parse_proc(proc), at(second))
    except NstraceError as error:
        return error.message


def nstrace(*args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tracer", "translate", *args]
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"TZ": "UTC"})


def test_a_container_whose_processes_are_in_no_cgroup_of_its_own(tmp_path: Path) -> None:
    inside = [number(WEB_NS, 1)]
    rows = [
        builders.owner(100, inside, WEB, cgroup_id=1),
        there(100, inside, 1),
        *lives(120, [number(WEB_NS, 15)], 1, 2, 3),
    ]
    path = write(tmp_path / "x.arrows", rows)
    assert [hosts(hindsight(path, asked), "web/15", 2.5) for asked in (None, {15})] == [[120]] * 2


def test_the_command(tmp_path: Path) -> None:
    file = str(write(tmp_path / "x.arrows", ROWS))
    found = nstrace("--from", file, "--at", "+2s", "web/15")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.splitlines()[0] == "web/15 was PID 101 on the host: job"
    assert found.stdout.splitlines()[-2:] == [
        "  started 2023-11-14 22:13:22.000, ended 2023-11-14 22:13:24.000 (exit 0)",
        "  as of 2023-11-14 22:13:22.000: user 0, parent 1",
    ]
    assert nstrace("--from", file, "-q", "web/15").stdout == "101\n102\n111\n"
    assert nstrace("--from", file, "-q", "--during", "22:13:25..+1s", "web/15").stdout == "102\n"
    answer = json.loads(nstrace("--from", file, "--at", "22:13:25.5", "--json", "web/15").stdout)
    assert (answer["result"], answer["signal"], answer["certain"]) == (102, "SIGKILL", True)
    assert answer["ended"] == "2023-11-14T22:13:26.000000000Z"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--at", "+3.5s", "web/15"], 3, "no process 15 in web was recorded at 2023-11-14 22:13:24.500"),
        (["--at", "@0", "web/15"], 1, "web/15: not known: the recording begins at 2023-11-14 22:13:21.000"),
        (["--at", "noon", "web/15"], 2, "'noon' is not a valid time"),
        (["--during", "+1h..", "web/15"], 2, "'+1h' is outside the recording (2023-11-14 22:13:21.000 to"),
        (["--during", "+3..+0", "web/15"], 2, "'+3' to '+0' is empty"),
        (["--at", "+1", "--during", "..", "web/15"], 2, "--at and --during cannot be combined"),
        (["--at", "+1s", "pid:100/15"], 2, "is only valid for running processes"),
        (["--at", "+1s", "web/x"], 2, "is not a PID"),
    ],
)
def test_the_command_says_what_it_cannot(args: list[str], code: int, said: str, tmp_path: Path) -> None:
    done = nstrace("--from", str(write(tmp_path / "x.arrows", ROWS)), *args)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_moment_wants_a_recording() -> None:
    done = nstrace("--at", "+1s", "1")
    assert (done.returncode, "--from FILE" in done.stderr) == (2, True)


def test_before_its_first_report_nothing_is_known_but_numbers(tmp_path: Path) -> None:
    """Of a process whose fork was lost, or that moved in: what is reported later is no answer about before."""
    inferred = row(
        Kind.FORK, 700, [number(DB_NS, 30)], exe=b"/bin/sleep", args=[b"sleep"], comm=b"sleep", uid=33, start_ns=at(3),
        ts_ns=at(6), cgroup_id=IN_DB, flags=Flag.INFERRED,
    )  # fmt: skip
    moved = row(
        Kind.SNAPSHOT, 701, [], exe=b"/bin/py", args=[b"py"], comm=b"py", uid=44, start_ns=at(3), ts_ns=at(6),
        cgroup_id=IN_WEB, flags=Flag.MOVED,
    )  # fmt: skip
    path = write(tmp_path / "x.arrows", [*ROWS, inferred, moved])
    for proc, uid, comm in (("700", 33, b"sleep"), ("701", 44, b"py")):
        before, after = (only(hindsight(path), proc, second).entry for second in (4, 7))
        assert (before.uid, before.comm, before.args, before.parent) == (None, b"", None, None)
        assert before.as_of and before.as_of.later
        assert (before.as_of.later.at_ns, before.as_of.later.uid, before.as_of.later.comm) == (
            WALL_NS + at(6),
            uid,
            comm,
        )
        assert (after.uid, after.comm) == (uid, comm)
    assert only(hindsight(path), "701", 4).entry.container is None
