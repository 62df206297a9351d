"""What the agent keeps: which files go, which tell of a time, and what stands between two runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
from builders import SECOND_NS, batch, fork
from recordings import WALL_NS, facts, record, rotated, storm

from tracer.agent import store as store_module
from tracer.agent.config import Record, Trigger
from tracer.agent.incidents import Incident, Limits, keep, path_for
from tracer.agent.store import Kept, Store
from tracer.errors import NstraceError
from tracer.recording.cutting import cut
from tracer.recording.file_writer import FileWriter
from tracer.recording.folder import Folder
from tracer.recording.hole import write_hole
from tracer.recording.inputs import FileInput, open_input, open_regular
from tracer.recording.metadata import of_this_host
from tracer.recording.past import read_past
from tracer.recording.reader import Recording
from tracer.recording.runs import runs_of
from tracer.recording.source import RecordedSource
from tracer.stream.batch import Batch
from tracer.stream.schema import Flag, Kind
from tracer.text.counted import size_text
from tracer.typed.moments import Span
from tracer.wiring import kept

HOUR_NS = 3600 * SECOND_NS


def kept_in(store: Store) -> list[int]:
    return [one.number for one in store.files()]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Ten files of 1 MB, an hour apart, the last one of now, and others."""
    made = Store(tmp_path / "store")
    for number in range(1, 11):
        path = made.path / f"agent.{number:06}.arrows"
        path.write_bytes(bytes(1_000_000))
        when_ns = time.time_ns() - (10 - number) * HOUR_NS
        os.utime(path, ns=(when_ns, when_ns))
    for name in ("web.000001.arrows", "agent.arrows", "agent.lock"):
        (made.path / name).write_bytes(b"")
    return made


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({"keep_bytes": None, "keep_s": None}, range(1, 11)),
        ({"keep_bytes": 3_500_000, "keep_s": None}, range(8, 11)),
        ({"keep_bytes": None, "keep_s": 2.5 * 3600}, range(8, 11)),
        ({"keep_bytes": 1, "keep_s": 1.0}, range(10, 11)),  # the one that is written stays
    ],
)
def test_the_oldest_goes_first(store: Store, limits: dict[str, float | None], left: range) -> None:
    record = replace(Record(min_free_bytes=0), **limits)  # type: ignore[arg-type]
    assert [one.number for one in store.retire(record)] == kept_in(store) == list(left)
    assert {path.name for path in store.path.iterdir()} >= {"web.000001.arrows", "agent.arrows", "agent.lock"}


def test_room_on_the_disk_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "free_bytes", lambda self: 10_000_000 - sum(one.bytes for one in self.files()))
    store.retire(Record(keep_bytes=None, keep_s=None, min_free_bytes=6_000_000))
    assert kept_in(store) == [7, 8, 9, 10]


def test_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o777)
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(NstraceError, match="others than you can write"):
        Store(tmp_path / "open")
    with pytest.raises(NstraceError, match="there is no folder"):
        Store(tmp_path / "none" / "store")


def test_a_file_is_full_while_several_fit_into_what_is_kept() -> None:
    assert store_module.rotate_bytes(Record()) == 64_000_000
    assert store_module.rotate_bytes(Record(keep_bytes=80_000_000)) == 10_000_000
    assert store_module.rotate_bytes(Record(keep_bytes=None)) == 64_000_000


@pytest.mark.parametrize(
    ("begin", "end", "ahead", "numbers"),
    [
        (None, None, None, [1, 2, 3, 4, 5]),
        (250, 250, 1, [2, 3, 4]),  # file 3 was written to until 300; one before, one behind
        (250, 250, None, [2, 3, 4, 5]),
        (50, 50, 0, [1]),
        (900, 900, 1, [4, 5]),
        (None, 150, 0, [1, 2]),
    ],
)
def test_files_about_a_time(begin: int | None, end: int | None, ahead: int | None, numbers: list[int]) -> None:
    found = [Kept(number, "", 1, number * 100 * SECOND_NS) for number in range(1, 6)]
    begin_ns, end_ns = (None if one is None else one * SECOND_NS for one in (begin, end))
    assert [one.number for one in kept.about(found, begin_ns, end_ns, ahead)] == numbers


def test_files_of_a_clock_that_was_set_back() -> None:
    """Files 1 to 4 were written to from 100 s to 400 s, then the clock was set to 150 s."""
    times = [100, 200, 300, 400, 200, 300, 400]
    found = [Kept(number, "", 1, time_s * SECOND_NS) for number, time_s in enumerate(times, 1)]
    told = kept.about(found, 250 * SECOND_NS, 250 * SECOND_NS, 0)
    assert {one.number for one in told} >= {3, 6}  # both were written at 250 s


def test_a_file_that_was_cut_off_in_its_beginning_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f'[record]\nfolder = "{tmp_path}"\n')
    monkeypatch.setenv("NSTRACE_AGENT_CONFIG", str(config))
    (tmp_path / "agent.000002.arrows").touch()
    with pytest.raises(NstraceError, match="no agent has recorded"):
        kept.kept_files(pytest.fail)
    record(tmp_path / "agent.000001.arrows", [facts(), storm(1, 3)])
    said: list[str] = []
    found = kept.kept_files(said.append, "5m")
    assert (found.files, found.growing, found.end) == ((str(tmp_path / "agent.000001.arrows"),), None, None)
    size = size_text((tmp_path / "agent.000001.arrows").stat().st_size)
    assert said == [f"from the agent's recordings in {tmp_path}: 1 file, {size}"]
    monkeypatch.setattr(kept, "_MUCH_BYTES", 1)
    kept.kept_files(said.append, less="--since TIME")
    assert said[1:] == [f"{said[0]} (--since TIME reads less)"]
    with pytest.raises(NstraceError, match="no beginning to count from"):
        kept.kept_files(pytest.fail, "+5s")


def test_a_file_that_a_crash_has_damaged_is_a_gap(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(f'[record]\nfolder = "{tmp_path}/store"\n')
    (tmp_path / "store").mkdir(mode=0o700)
    parts = rotated(tmp_path / "store" / "agent.arrows", [facts(), *(storm(first, 3) for first in (1, 4, 7, 10))])
    parts[2].write_bytes(bytes(4096))
    (tmp_path / "store" / "agent.000900.arrows").symlink_to("/etc/passwd")
    env = os.environ | {"NSTRACE_AGENT_CONFIG": str(tmp_path / "agent.toml")}
    argv = [sys.executable, "-m", "tracer", "sql", "--csv", "select count(*) from gaps"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split()[1:]) == (0, ["1"]), done.stderr
    assert f"left out: {parts[2]} is not an nstrace recording" in done.stderr


def test_where_a_time_is_given_and_no_file_the_agents_are_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f'[record]\nfolder = "{tmp_path}"\n')
    monkeypatch.setenv("NSTRACE_AGENT_CONFIG", str(config))
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "agent.000001.arrows"
    record(own, [facts(), storm(1, 3)])
    (tmp_path / "folder").mkdir()

    def asked(*arguments: str, since: str | None = None) -> tuple[tuple[str, ...], list[str], bool]:
        found, targets = kept.files_or_kept(arguments, since, None, lambda _line: None)
        return found.files, targets, found.are_kept

    assert asked("web", "db", since="1h") == ((str(own),), ["web", "db"], True)
    assert asked(since="1h") == ((str(own),), [], True)
    for file in ("folder", "-", "none.arrows"):
        assert asked(file, "web", since="1h") == asked(file, "web") == ((file,), ["web"], False)
    assert asked("web", "none.arrows", since="1h")[2] is False  # that FILE comes first is said where it is opened
    with pytest.raises(click.UsageError):
        asked()
    found, _targets = kept.files_or_kept(["web"], "1h", None, lambda _line: None)
    assert kept.name_beside(found, ["web"], ".csv").startswith("web-20")
    found, _targets = kept.files_or_kept(["a.arrows"], None, None, lambda _line: None)
    assert kept.name_beside(found, [], ".csv") == "a.csv"


def opened(*paths: Path) -> list[FileInput]:
    return [open_regular(str(path)) for path in paths]


def sources(*paths: Path) -> list[RecordedSource]:
    recordings = [Recording(path.name, open_input(str(path)), lambda _line: None) for path in paths]
    return [RecordedSource(run) for run in runs_of(recordings, pytest.fail)]


@pytest.mark.parametrize("is_closed", [True, False])
def test_the_hole_is_the_last_part_of_the_run_before(tmp_path: Path, is_closed: bool) -> None:
    path, folder = tmp_path / "agent.arrows", Folder(tmp_path)
    began = {"realtime_ns": str(WALL_NS + SECOND_NS)}
    record(tmp_path / "agent.000001.arrows", [facts(), storm(1, 3)], is_closed, **began)
    junk = tmp_path / "agent.000002.arrows"
    junk.write_bytes(b"cut off in its first bytes")
    first = tmp_path / "agent.000001.arrows"
    began_ns = WALL_NS + 100 * SECOND_NS
    assert write_hole(path, 3, opened(junk, first), began_ns, folder)
    (source,) = sources(first, tmp_path / "agent.000003.arrows")
    assert source.span().end_ns == began_ns
    rows = Batch.concat(list(source.batches(lambda: 0.0))).rows
    last = rows[-1]
    assert (last["kind"], last["seq"], last["ts_ns"]) == (Kind.GAP, 0, 100 * SECOND_NS)
    assert last["start_ns"] == rows[:-1]["ts_ns"].max()
    gaps = read_past(sources(first, tmp_path / "agent.000003.arrows")[0]).history.gaps
    assert gaps.unsure(np.array([50 * SECOND_NS]), np.array([0]))[0]


def test_there_is_no_hole_behind_nothing(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"")
    assert not write_hole(tmp_path / "agent.arrows", 2, opened(tmp_path / "junk"), WALL_NS, Folder(tmp_path))
    assert not (tmp_path / "agent.000002.arrows").exists()


def test_a_file_says_how_far_it_goes_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "agent.000001.arrows"
    writer = FileWriter(path, of_this_host(WALL_NS, []))
    writer.take(facts())
    writer.take(storm(1, 2))
    writer.quiet(50 * SECOND_NS)
    writer.quiet(40 * SECOND_NS)  # says nothing new
    size = path.stat().st_size
    writer.quiet(60 * SECOND_NS)
    assert path.stat().st_size > size
    (source,) = sources(path)
    source.recordings[0].is_growing = True
    assert source.span().end_ns == WALL_NS + 60 * SECOND_NS
    assert len(Batch.concat(list(source.batches(lambda: 0.0)))) == 7
    assert source.is_complete
    writer.take(storm(5, 1))
    writer.close(70 * SECOND_NS)
    (source,) = sources(path)
    assert len(Batch.concat(list(source.batches(lambda: 0.0)))) == 10
    assert source.is_complete and source.span().end_ns == WALL_NS + 70 * SECOND_NS


def test_what_is_cut_stands_alone(tmp_path: Path) -> None:
    whole, part = tmp_path / "agent.000001.arrows", tmp_path / "part.arrows"
    record(whole, [facts(), storm(1, 50), storm(51, 50)])
    begin_ns = SECOND_NS + 20_500_000  # storm's processes are born a millisecond apart and live for 2 us
    with part.open("wb") as file:
        cut(sources(whole)[0], Span(WALL_NS + begin_ns, WALL_NS + 2 * SECOND_NS), file.fileno(), {"session": "a" * 32})
    (source,) = sources(part)
    rows = Batch.concat(list(source.batches(lambda: 0.0))).rows
    assert source.recordings[0].facts.session == "a" * 32 and source.is_complete
    born = rows[rows["kind"] == Kind.FORK]
    assert born["tgid"].tolist() == list(range(1021, 1101))
    assert (rows["kind"] == Kind.CGROUP).sum() == 1
    assert source.container_names() == {"web"}
    assert not (rows["flags"][rows["kind"] == Kind.SNAPSHOT] & ~np.uint8(Flag.CARRIED)).any()


HOLE_NS = 100 * SECOND_NS


def with_hole(tmp_path: Path) -> list[Path]:
    """A run whose last event is that of storm(1, 3), and the hole behind it, up to HOLE_NS."""
    paths = [tmp_path / f"agent.00000{number}.arrows" for number in (1, 2)]
    record(paths[0], [facts(), storm(1, 3)], realtime_ns=str(WALL_NS + SECOND_NS))
    assert write_hole(tmp_path / "agent.arrows", 2, opened(paths[0]), WALL_NS + HOLE_NS, Folder(tmp_path))
    return paths


def test_a_window_that_ends_in_the_hole_has_its_beginning(tmp_path: Path) -> None:
    paths, end_ns = with_hole(tmp_path), 50 * SECOND_NS
    (source,) = sources(*paths)
    source.show(Span(WALL_NS, WALL_NS + end_ns))
    rows = Batch.concat(list(source.batches(lambda: 0.0))).rows
    assert (rows["kind"][-1], rows["start_ns"][-1], rows["ts_ns"][-1]) == (Kind.GAP, rows["ts_ns"][-2], end_ns)
    (source,) = sources(*paths)
    source.show(Span(WALL_NS + end_ns - 1, WALL_NS + end_ns))
    assert Batch.concat(list(source.batches(lambda: 0.0))).only(Kind.GAP).rows["ts_ns"].tolist() == [end_ns]
    (source,) = sources(*paths)
    source.show(Span(WALL_NS, WALL_NS + SECOND_NS))
    assert not Batch.concat(list(source.batches(lambda: 0.0))).has(Kind.GAP)
    part = tmp_path / "part.arrows"
    with part.open("wb") as file:
        cut(sources(*paths)[0], Span(WALL_NS, WALL_NS + end_ns), file.fileno(), {"session": "a" * 32})
    (source,) = sources(part)
    gaps = Batch.concat(list(source.batches(lambda: 0.0))).only(Kind.GAP).rows
    assert gaps["ts_ns"].tolist() == [end_ns] and source.span().end_ns == WALL_NS + end_ns


def test_an_incident_is_of_the_run_that_had_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with_hole(store.path)
    later = store.path / "agent.000003.arrows"
    began = {"realtime_ns": str(WALL_NS + HOLE_NS), "session": "b" * 32}
    record(later, [batch(fork(5, start_ns=HOLE_NS, ts_ns=HOLE_NS))], False, **began)
    for file in store.path.iterdir():
        os.utime(file, ns=(WALL_NS, WALL_NS))
    incident = Incident(Trigger("exit_code = 77", before_s=1, after_s=200), WALL_NS + SECOND_NS, "kept")
    path = path_for(incident, store)
    keep(incident, path, store, Limits(9, 9, 0), lambda _line: None)
    (source,) = sources(path)
    rows = Batch.concat(list(source.batches(lambda: 0.0))).rows
    assert rows["tgid"][rows["kind"] == Kind.FORK].tolist() == [1001, 1002, 1003]
    assert rows["ts_ns"][rows["kind"] == Kind.GAP].tolist() == [HOLE_NS]
