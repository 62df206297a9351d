"""nstrace replay as a user runs it, on recordings made by hand."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from builders import PIDNS, SECOND_NS, WEB, batch, cgroup, exits, fork, row
from recordings import WALL_NS, facts, read, record, rotated, storm

from tracer.errors import NstraceError
from tracer.recording.index import Index
from tracer.recording.inputs import open_input
from tracer.recording.reader import Recording
from tracer.recording.replay_speed import Paced
from tracer.recording.source import RecordedSource
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.metadata import Container
from tracer.stream.schema import Kind
from tracer.stream.table import Table
from tracer.wiring.open_recordings import find_files, split_files

ROOT = Path(__file__).parents[2]
BATCHES = [Batch.concat([facts(), storm(1, 40)]), storm(41, 40), storm(81, 40)]


@pytest.fixture
def arrows(tmp_path: Path) -> Path:
    record(tmp_path / "web.arrows", BATCHES)
    return tmp_path / "web.arrows"


def replay(*args: object, exit_code: int = 0, stdin: bytes = b"", cwd: Path = ROOT) -> tuple[list[str], str]:
    """What it printed, line by line, without the header, and what it said."""
    argv = [sys.executable, "-m", "tracer", "replay", *map(str, args)]
    env = {**os.environ, "TZ": "UTC", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, capture_output=True, input=stdin, env=env, timeout=60, cwd=cwd)  # through a pipe
    printed, said = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == exit_code, said
    assert "Traceback" not in said
    lines = printed.splitlines()
    is_headed = lines and "--json" not in args and "--no-header" not in args
    assert (lines[0].split()[0] == "TIME") == is_headed if lines else True
    return lines[1:] if is_headed else lines, said.replace(f"{Path(str(args[0])).parent}/", "")


def test_lines_and_json(arrows: Path) -> None:
    lines, said = replay(arrows)
    assert len(lines) == 360
    assert lines[1].split() == ["22:13:21.001", "exec", "web", "1001", "1", "1000", "0", "sh", "ls", "1"]
    assert "360 events (120 forks, 120 execs, 120 exits)" in said
    assert len(replay("--json", arrows, "web")[0]) == 360
    assert len(replay("--json", arrows, "web", "--events", "exec", "--count", 7)[0]) == 7
    assert "containers in it: 'web'" in replay("--json", arrows, "db", exit_code=3)[1]
    assert len(replay(arrows, "pid:1005")[0]) == 360
    assert "no recorded process has this PID" in replay(arrows, "pid:999", exit_code=3)[1]


@pytest.mark.parametrize(
    ("window", "count"),
    [
        (["--from", "+0s"], 360),
        (["--from", "+100ms"], 63),
        (["--to", "+9.5ms"], 27),
        (["--from", "22:13:21.111"], 30),
        (["--from", "2023-11-14T22:13:21.111Z", "--to", "+0.5ms"], 3),
        (["--from", "22:13:21.111", "--to", "+1h"], 30),
        (["--from", "22:13", "--to", "+1m"], 360),
        (["--from", "22:13", "--to", "+21.0015s"], 3),
        (["--to", "+1.5ms"], 3),
        (["--from", "-1ms"], 4),
        (["--since", "22:13:21.111", "--until", "+0.5ms"], 3),
    ],
)
def test_a_window_of_time_is_a_part_of_the_whole(window: list[str], count: int, arrows: Path) -> None:
    whole, part = replay(arrows)[0], replay(arrows, *window)[0]
    assert len(part) == count
    assert "\n".join(part) in "\n".join(whole)


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (["--from", "+26s"], "'+26s' is outside the recording (2023-11-14 22:13:21.000 to 22:13:21.120)"),
        (["--from", "22:13", "--to", "+1s"], "'22:13' to '+1s' is outside the recording"),
        (["--from", "+50ms", "--to", "22:13:21.030"], "is empty: its end is not after its beginning"),
    ],
)
def test_a_window_that_holds_nothing_is_an_error(window: list[str], said: str, arrows: Path) -> None:
    lines, stderr = replay(arrows, *window, exit_code=2)
    assert lines == []
    assert said in stderr


def test_a_window_over_the_parts_of_a_recording(tmp_path: Path) -> None:
    assert len(rotated(tmp_path / "web.arrows", BATCHES)) > 2
    lines = replay(tmp_path / "web.arrows", "--from", "+39.5ms", "--to", "+2ms", "--events", "exit")[0]
    assert [line.split()[3] for line in lines] == ["1040", "1041"]  # of two parts


def test_a_window_of_several_recordings(arrows: Path, tmp_path: Path) -> None:
    record(tmp_path / "later.arrows", [at(2, 3, 4)])
    said = replay(tmp_path, "--from", "+10s", exit_code=2)[1]
    assert "is outside all recordings (2023-11-14 22:13:21.000 to 22:13:21.120, 2023-11-14 22:13:22.000 to" in said
    assert [line.split()[3] for line in replay(tmp_path, "--from", "22:13:21.120")[0]] == ["1120"] * 3 + ["1", "2", "3"]
    assert [line.split()[3] for line in replay(tmp_path, "--from", "22:13:23", "--to", "+0.5s")[0]] == ["2"]


def test_a_window_behind_a_move_shows_who_was_reported_before(tmp_path: Path) -> None:
    said: dict[str, Any] = {"cgroup_id": 8, "start_ns": SECOND_NS}
    born = batch(cgroup(7, WEB), cgroup(8), fork(100, cgroup_id=7))
    moved = batch(row(Kind.MOVE, 100, seq=7, ts_ns=2 * SECOND_NS, **said))
    record(tmp_path / "x.arrows", [born, moved, storm(1, 1), batch(exits(100, ts_ns=9 * SECOND_NS, **said))])
    assert len(replay(tmp_path / "x.arrows", "web", "--from", "+5s")[0]) == 1


def test_whom_nobody_means_is_said_of_a_window_too(arrows: Path) -> None:
    record(arrows.with_name("quiet.arrows"), [facts(), storm(1, 1), at(10)])
    assert "no process in web.arrows matches db" in replay(arrows, "--to", "+5ms", "db", exit_code=3)[1]
    assert replay(arrows.with_name("quiet.arrows"), "--from", "+5s", "web")[0] == []  # it had no event then


def test_the_window_of_a_stream_is_known_when_it_has_ended(tmp_path: Path) -> None:
    record(tmp_path / "web.arrows", BATCHES, realtime_ns=str(WALL_NS + SECOND_NS))
    data = (tmp_path / "web.arrows").read_bytes()
    for cut in (len(data), -8, -2000):  # closed, or not
        said = replay("-", "--from", "+26s", exit_code=2, stdin=data[:cut])[1]
        assert "'+26s' is outside the recording (2023-11-14 22:13:21.000 to 22:13:21.120)" in said
    assert len(replay("-", "--from", "22:13:21.111", stdin=data)[0]) == 30
    assert len(replay("-", "--from", "22:13", "--to", "+21.0045s", stdin=data)[0]) == 12
    assert "when a stream ends is not known in advance" in replay("-", "--from", "-1s", exit_code=2, stdin=data)[1]
    assert "(from 2023-11-14 22:13:21.000 on)" in replay("-", "--to", "22:12", exit_code=2, stdin=data)[1]


def test_not_closed_and_damaged(tmp_path: Path) -> None:
    path = tmp_path / "torn.arrows"
    offsets = record(path, BATCHES, is_closed=False)
    lines, said = replay(path)
    assert len(lines) == 360
    assert "torn.arrows was not closed cleanly: 361 rows, up to 2023-11-14T22:13:21Z" in said
    replay(path, "--require-complete", exit_code=5)
    with path.open("r+b") as file:
        file.seek(offsets[2] + 2000)
        file.write(b"damage")
    lines, said = replay(path)
    assert len(lines) == 241
    assert f"is damaged at byte {offsets[2]}: the checksum" in said
    assert "lost 120 events between 22:13:21.040 and 22:13:21.081" in lines[120]


def test_a_batch_that_is_there_twice_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "twice.arrows"
    offsets = record(path, BATCHES)
    whole, data = replay(path)[0], path.read_bytes()
    path.write_bytes(data[: offsets[3]] + data[offsets[2] :])
    lines, said = replay(path, "--require-complete", exit_code=5)
    assert lines == whole
    assert f"is damaged at byte {offsets[3]}: a batch that is out of order, or there twice" in said


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "/", "/nowhere", "jpeg", "empty"])
def test_no_recording_is_one_line_and_a_hint(name: str, tmp_path: Path) -> None:
    (tmp_path / "jpeg").write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100))
    (tmp_path / "empty").touch()
    lines, said = replay(tmp_path / name, exit_code=1)
    assert lines == []
    assert 1 <= said.count("\n") <= 2


def test_from_a_pipe(arrows: Path) -> None:
    argv = [sys.executable, "-m", "tracer", "replay", "--json", "-q", "-"]
    done = subprocess.run(argv, input=arrows.read_bytes(), capture_output=True, timeout=60)
    assert (done.returncode, done.stdout.count(b"\n"), done.stderr) == (0, 360, b"")


def test_which_arguments_are_files(tmp_path: Path) -> None:
    assert split_files(["web", "web", "b.arrows", "pidns:1"]) == (["web", "b.arrows"], ["web", "pidns:1"])
    for name in ("web.000002.arrows", "web.000001.arrows", "web.1.arrows", "webs.000001.arrows"):
        (tmp_path / name).touch()
    parts = [str(tmp_path / f"web.00000{part}.arrows") for part in (1, 2)]
    assert find_files([str(tmp_path / "web.arrows")]) == parts
    assert len(find_files([str(tmp_path), parts[0]])) == 4
    (tmp_path / "none").mkdir()
    with pytest.raises(NstraceError, match="no recording is in"):
        find_files([str(tmp_path / "none")])


def test_a_window_reads_what_it_needs_alone(arrows: Path) -> None:
    recording = Recording("web", open_input(str(arrows)), pytest.fail)
    wanted: list[Index] = []

    def pass_over(recording: Recording, index: Index, goes_on: bool) -> bool:
        wanted.append(index)
        return False

    source = RecordedSource([recording])
    source._is_wanted = pass_over  # type: ignore[method-assign]
    assert list(source.batches(lambda: 0.0)) == []
    assert [index.facts for index in wanted] == [2, 0, 0]  # the fact, and the birth of the container's first process
    span = source.span()
    assert (span.begin_ns, span.end_ns) == (WALL_NS + SECOND_NS, WALL_NS + int(BATCHES[2].rows["ts_ns"][-1]))


class Played:
    """A source of batches that are there, and a clock that only sleeping moves."""

    def __init__(self, batches: list[Batch]) -> None:
        self.attribution, self.table, self.lost = Attribution(), Table(), 0
        self.now = 0.0
        self._batches = batches

    def account(self) -> None:
        pass

    def batches(self, timeout_s: Callable[[], float | None]) -> Iterator[Batch]:
        yield from self._batches

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def times(self, speed: float, max_idle_s: float | None = None) -> list[tuple[float, list[int]]]:
        paced = Paced(self, speed, max_idle_s, lambda: self.now, self.sleep)
        return [(round(self.now, 6), part.rows["tgid"].tolist()) for part in paced.batches(lambda: 1.0)]


def at(*times_s: float) -> Batch:
    return batch(*(fork(number + 1, ts_ns=int(time * SECOND_NS)) for number, time in enumerate(times_s)))


def test_speed_and_pauses() -> None:
    assert Played([at(5, 6, 6, 9)]).times(1) == [(0, [1]), (1, [2, 3]), (4, [4])]
    assert Played([at(5, 6, 6, 9)]).times(2) == [(0, [1]), (0.5, [2, 3]), (2, [4])]
    assert Played([at(5, 6, 6, 9)]).times(1, max_idle_s=0.25) == [(0, [1]), (0.25, [2, 3]), (0.5, [4])]
    assert Played([at(5, 4, 7), at(6, 8)]).times(1) == [(0, [1, 2]), (2, [3]), (2, [1]), (3, [2])]


def test_a_pause_can_be_left() -> None:
    played = Played([at(1, 3600)])
    answers = iter([1.0, 1.0, None])
    paced = Paced(played, 1, None, lambda: played.now, played.sleep)
    assert [len(part) for part in paced.batches(lambda: next(answers))] == [1]
    assert played.now < 1


def test_pieces_of_a_recording_have_the_index_of_their_rows(arrows: Path) -> None:
    _batches, _said, recording = read(arrows.read_bytes())
    assert recording.indices() == []  # no file: it cannot be read twice
    indices = Recording("web", open_input(str(arrows)), pytest.fail).indices()
    assert [after.first_row - before.first_row for before, after in pairwise(indices)] == [121, 120]


def test_a_file_that_is_not_there(arrows: Path, tmp_path: Path) -> None:
    said = replay("web", exit_code=1, cwd=arrows.parent)[1]
    assert said.splitlines() == ["nstrace: no such file: web", "  did you mean web.arrows?"]
    said = replay("nothing.arrows", exit_code=1, cwd=tmp_path)[1]
    assert said.splitlines() == ["nstrace: no such file: nothing.arrows", "  nstrace record -w FILE makes a recording"]


def test_a_target_before_the_file(arrows: Path) -> None:
    said = replay("--json", "db", "web.arrows", exit_code=2, cwd=arrows.parent)[1]
    meant = "FILE comes before TARGET: nstrace replay --json web.arrows db"
    assert said.splitlines() == ["nstrace: no such file: db", f"  {meant}"]


# a name that comes late


NAMELESS = Container(WEB.id, "docker")
LATE = [
    batch(cgroup(7, NAMELESS), cgroup(8, path="/system.slice")),
    storm(1, 4),
    batch(fork(3000, cgroup_id=8), cgroup(7, WEB)),
    storm(5, 4),
]


@pytest.fixture
def late(tmp_path: Path) -> Path:
    """The container web is named in the middle."""
    record(tmp_path / "late.arrows", LATE)
    return tmp_path / "late.arrows"


def test_a_name_that_comes_late_names_the_rows_before(late: Path) -> None:
    by_name = replay("--json", late, "web")[0]
    assert len(by_name) == 24
    assert all('"name":"web"' in line for line in by_name)
    assert replay("--json", late, "image:nginx")[0] == by_name
    assert {line.split()[2] for line in replay(late, "w*")[0]} == {"web"}


def test_a_target_that_needs_no_name_has_the_rows_as_they_were_live(late: Path) -> None:
    by_id = replay("--json", late, f"pidns:{PIDNS}")[0]
    assert [line for line in replay("--json", late)[0] if WEB.id in line] == by_id
    assert ['"name":"web"' in line for line in by_id] == [False] * 12 + [True] * 12


def test_a_name_that_comes_late_in_a_later_file(tmp_path: Path) -> None:
    for number, parts in enumerate(([Batch.concat(LATE[:2]), LATE[2], LATE[3]], [*LATE[:2], Batch.concat(LATE[2:])])):
        lines = replay("--json", *rotated(tmp_path / f"{number}.arrows", parts), "web")[0]
        assert sum('"carried"' not in line and '"name":"web"' in line for line in lines) == 24


def test_a_name_that_comes_late_in_a_pipe(late: Path) -> None:
    """It can be read once: rows are held until the name is there, as they are live, and nothing is lost."""
    lines, said = replay("-", "--json", "web", stdin=late.read_bytes())
    assert lines == replay("--json", late, "web")[0]
    assert "0 lost" in said
    record(late.with_name("never.arrows"), LATE[:2])
    assert "0 lost" in replay("-", "w*", stdin=late.with_name("never.arrows").read_bytes(), exit_code=3)[1]


def test_answers_and_exports_have_the_name_from_the_first_row(late: Path) -> None:
    record(late.with_name("living.arrows"), [LATE[0], batch(fork(4000, [(PIDNS, 9)], cgroup_id=7)), *LATE[2:]])
    table = late.with_name("late.csv")
    asked = ["ps", "--from", str(late.with_name("living.arrows")), "--at", "+0.5ms", "--json", "web"]
    for words in asked, ["export", "--to", "csv", "-w", str(table), str(late), "web"]:
        argv = [sys.executable, "-m", "tracer", *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        if words == asked:
            assert '"name":"web"' in done.stdout
    rows = csv.DictReader(table.read_text().splitlines())
    assert [row["container"] for row in rows if row["event"] != "gap"] == ["web"] * 24
