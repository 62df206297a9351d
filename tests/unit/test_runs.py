"""Files of several runs: played as one, told apart where one is asked, each part read once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from builders import PIDNS, SECOND_NS, WEB, batch, cgroup, fork, row
from recordings import WALL_NS, facts, record, rotated, storm

import tracer
from tracer.errors import ExitCode
from tracer.recording.files import create
from tracer.recording.inputs import open_input
from tracer.recording.metadata import of_this_host
from tracer.recording.reader import Recording
from tracer.recording.runs import runs_of
from tracer.recording.source import RecordedSource
from tracer.recording.writer import FileSink, Writer
from tracer.stream.batch import Batch
from tracer.stream.schema import Kind

BATCHES = [Batch.concat([facts(), storm(1, 20)]), storm(21, 20), storm(41, 20)]


def nstrace(*args: object, exit_code: int = 0) -> tuple[list[str], str]:
    """What it printed, line by line, and what it said."""
    argv = [sys.executable, "-m", "tracer", *map(str, args)]
    done = subprocess.run(argv, capture_output=True, text=True, env=os.environ | {"TZ": "UTC"}, timeout=60)
    assert done.returncode == exit_code, done.stderr
    assert "unexpected" not in done.stderr
    return done.stdout.splitlines(), done.stderr


def hosts_pids(lines: list[str]) -> list[int]:
    return [json.loads(line)["pid"] for line in lines]


def run(path: Path, second: int, tgid: int, host: str = "web1", is_closed: bool = True) -> None:
    """A run of nstrace that begins then: container web, whose first process is there, and another begins later."""
    listed = row(Kind.SNAPSHOT, tgid, [(PIDNS, 1)], cgroup_id=7, ts_ns=second * SECOND_NS, parent_tgid=0)
    began = fork(tgid + 1, [(PIDNS, 2)], cgroup_id=7, parent_tgid=tgid, start_ns=(second + 5) * SECOND_NS)
    told = batch(cgroup(7, WEB), listed, began)
    told.rows["ts_ns"][0] = second * SECOND_NS
    record(path, [told], is_closed, realtime_ns=str(WALL_NS + second * SECOND_NS), host=host)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three runs, the last two at the same time on different hosts; named against their order."""
    (tmp_path / "runs").mkdir()
    run(tmp_path / "runs/c.arrows", 10, 100)
    run(tmp_path / "runs/b.arrows", 100, 200)
    run(tmp_path / "runs/a.arrows", 102, 300, host="w\x1b[31meb2")
    return tmp_path / "runs"


def test_several_runs_are_played_as_one(folder: Path) -> None:
    for names in ([folder], sorted(folder.iterdir())):
        lines, said = nstrace("replay", "--json", *names)
        assert hosts_pids(lines) == [100, 101, 200, 201, 300, 301]
        assert said.count("3 events (3 forks)") == said.count("events") == 1  # one summary
    lines, said = nstrace("replay", folder)
    assert [line.startswith("TIME") for line in lines] == [True, *[False] * (len(lines) - 1)]
    assert lines[3].startswith("22:15:00.000")
    assert hosts_pids(nstrace("replay", "--json", "--count", 1, folder)[0]) == [100, 101]
    assert hosts_pids(nstrace("replay", "--json", "--count", 2, folder)[0]) == [100, 101, 200, 201]


def test_the_exit_code_is_that_of_all(folder: Path) -> None:
    run(folder / "0.arrows", 200, 400, is_closed=False)
    assert "0.arrows was not closed cleanly" in nstrace("replay", "--require-complete", folder, exit_code=5)[1]
    nstrace("replay", "--require-complete", "--count", 1, folder)  # what is shown is complete
    said = nstrace("replay", folder, "db", exit_code=3)[1]
    assert "no process in these 4 recordings matches db" in said
    assert (
        "no process in these 4 recordings"
        in nstrace("export", "--to", "jsonl", "-w", "-", folder, "db", exit_code=3)[1]
    )


def test_a_signal_ends_all(folder: Path) -> None:
    argv = [sys.executable, "-m", "tracer", "replay", "--json", "--speed", "0.001", str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as playing:
        try:
            assert playing.stdout
            first = playing.stdout.readline()
            playing.send_signal(signal.SIGINT)
            rest, said = playing.communicate(timeout=60)
        finally:
            playing.kill()
    assert (playing.returncode, rest) == (0, b""), said
    assert json.loads(first)["pid"] == 100


def test_copies_are_read_once(folder: Path) -> None:
    shutil.copy(folder / "c.arrows", folder / "copy.arrows")
    (folder / "link.arrows").symlink_to("c.arrows")
    lines, said = nstrace("replay", "--json", folder)
    assert hosts_pids(lines) == [100, 101, 200, 201, 300, 301]
    for name in ("copy", "link"):
        assert f"{folder}/{name}.arrows is a copy of {folder}/c.arrows: read once" in said
    assert len(nstrace("export", "--to", "jsonl", "-w", "-", folder)[0]) == 6
    assert nstrace("ps", "--from", folder, "--at", "22:13:31")[0][1].split()[0] == "100"


def opened(*paths: Path) -> list[Recording]:
    return [Recording(path.name, open_input(str(path)), lambda _line: None) for path in paths]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_of_files_of_one_part_the_one_that_holds_most_is_read(order: Sequence[int], tmp_path: Path) -> None:
    whole, torn, damaged = (tmp_path / f"{name}.arrows" for name in ("whole", "torn", "damaged"))
    offsets = record(whole, BATCHES)
    data = whole.read_bytes()
    torn.write_bytes(data[: offsets[2]])
    damaged.write_bytes(data[: offsets[3] - 100] + b"damage" + data[offsets[3] - 94 :])
    said: list[str] = []
    ((best,),) = runs_of(opened(*((whole, torn, damaged)[number] for number in order)), said.append)
    assert best.name == "whole.arrows"
    assert len(said) == 2
    assert "torn.arrows holds the same part of the recording as whole.arrows: not read" in said


def test_a_part_that_is_missing_is_a_gap(tmp_path: Path) -> None:
    first, second, third, *_rest = rotated(tmp_path / "web.arrows", BATCHES)
    second.unlink()
    lines, said = nstrace("replay", "--require-complete", tmp_path / "web.arrows", exit_code=5)
    assert f"a part is missing between {first} and {third}" in said
    (gap,) = [line for line in lines if " gap " in line]
    assert "events are missing between 22:13:21.020 and" in gap


@pytest.mark.parametrize("command", [["ps"], ["translate", "web/1"]], ids=" ".join)
def test_a_question_about_one_run_says_which_there_are(command: list[str], folder: Path) -> None:
    said = nstrace(*command, "--from", folder, exit_code=2)[1]
    assert "these are 3 recordings:" in said
    assert f"{folder}/c.arrows (host web1, 2023-11-14 22:13:30.000 to 22:13:35.000)" in said
    assert f"{folder}/a.arrows (host w\\x1b[31meb2, 2023-11-14 22:15:02.000 to 22:15:07.000)" in said
    assert "give the files of one of them, or a TIME that only one of them covers" in said
    assert "100" in "".join(nstrace(*command, "--from", folder, "--at", "22:13:31")[0])
    assert "200" in "".join(nstrace(*command, "--from", folder, "--at", "22:15:01")[0])
    said = nstrace(*command, "--from", folder, "--at", "22:15:03", exit_code=2)[1]
    assert "these are 2 recordings:" in said
    assert "outside all recordings" in nstrace(*command, "--from", folder, "--at", "22:14", exit_code=2)[1]


def test_a_time_chooses_a_run_too(folder: Path) -> None:
    assert nstrace("translate", "-q", "--from", folder, "--during", "22:13..22:14", "web/1")[0] == ["100"]
    assert (
        "these are 2 recordings"
        in nstrace("translate", "--from", folder, "--during", "22:15..22:16", "web/1", exit_code=2)[1]
    )
    assert "outside all" in nstrace("translate", "--from", folder, "--during", "22:14..+1", "web/1", exit_code=2)[1]


def test_from_python(folder: Path) -> None:
    with pytest.raises(tracer.NstraceError, match="these are 3 recordings") as caught:
        tracer.open(folder)
    assert caught.value.exit_code == ExitCode.USAGE
    shutil.copy(folder / "c.arrows", folder / "copy.arrows")
    assert len(tracer.open(folder / "c.arrows", folder / "copy.arrows").to_arrow()) == 2


def test_the_same_recording_as_a_file_and_as_a_stream_is_read_once(folder: Path) -> None:
    argv = [sys.executable, "-m", "tracer", "replay", "--json", "-", str(folder / "c.arrows")]
    done = subprocess.run(argv, input=(folder / "c.arrows").read_bytes(), capture_output=True, timeout=60)
    assert hosts_pids(done.stdout.decode().splitlines()) == [100, 101]
    assert b"- holds the same part of the recording as" in done.stderr


def test_a_recording_reaches_to_its_end_not_to_its_last_event(tmp_path: Path) -> None:
    """A quiet container's recording has moments behind its last event: every command answers about them."""
    path = tmp_path / "quiet.arrows"
    writer = Writer(FileSink(create(path, force=False), path.name), of_this_host(WALL_NS, []))
    writer.take(batch(row(Kind.SNAPSHOT, 60, ts_ns=SECOND_NS)))
    writer.close(9 * SECOND_NS)
    source = RecordedSource([Recording(path.name, open_input(str(path)), pytest.fail)])
    assert source.span().end_ns == WALL_NS + 9 * SECOND_NS == tracer.open(path).span.end_ns
