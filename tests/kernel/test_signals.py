"""Whatever ends a run: its exit code, its last line and its file are right, or it says that it was cut off.

Real signals at random moments, with events lost: a small ring beside a storm. NSTRACE_LONG=1: many more moments.
"""

from __future__ import annotations

import array
import fcntl
import json
import os
import random
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

import pyarrow
import pytest
from conftest import wait_for
from stack import LONG, Space

from tracer.errors import ExitCode

pytestmark = pytest.mark.kernel
NSTRACE = [sys.executable, "-m", "tracer"]
DEADLINE_S = 60
SEEDS = range(200 if LONG else 4)
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SMALL = ("--buffer-size", "0.0625", "--require-complete", "host", "all")


@pytest.fixture(scope="module")
def storm(workload: Path) -> Iterator[None]:
    """Processes that come and go for as long as this lasts."""
    space = Space(workload, "storm", 10_000_000, 4)
    yield
    space.kill()


def start(
    *argv: str | Path, stdout: int | IO[bytes] = subprocess.DEVNULL, preexec_fn: Callable[[], object] | None = None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*NSTRACE, *argv], stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, preexec_fn=preexec_fn
    )


def end(process: subprocess.Popen[bytes], *signals: tuple[float, int]) -> list[str]:
    """Send signals, each so many seconds after the one before; the lines of stderr when it has ended."""
    for pause_s, number in signals:
        time.sleep(pause_s)  # a moment is what is tested
        process.send_signal(number)
    stderr = process.communicate(timeout=DEADLINE_S)[1].decode()
    assert "Traceback" not in stderr, stderr
    return stderr.splitlines()


def lost_of(lines: list[str]) -> int:
    """What the summary says to be lost."""
    (lost,) = (int(found[1]) for line in lines if (found := re.search(r" in [\d.]+ (?:s|min.*), (\d+) lost", line)))
    return lost


def check_complete(process: subprocess.Popen[bytes], lines: list[str]) -> None:
    """The summary is there, adds up, and the exit code is that of what it says."""
    assert not [line for line in lines if "does not add up" in line or "broken" in line], lines
    assert process.returncode == (ExitCode.EVENTS_LOST if lost_of(lines) else 0), lines


def rows_in(path: Path) -> tuple[int, int]:
    """Of a recording: its rows, and how many events its gaps say to be lost."""
    with pyarrow.ipc.open_stream(path) as reader:
        table = reader.read_all()
    return len(table), sum(lost or 0 for lost in table["lost"].to_pylist())


def has_lost(path: Path) -> bool:
    return b'"gap"' in path.read_bytes()


@pytest.mark.parametrize(
    "signals",
    [
        [(0, signal.SIGINT)],
        [(0, signal.SIGTERM)],
        [(0, signal.SIGINT), (0.005, signal.SIGINT)],
        [(0, signal.SIGINT), (0.02, signal.SIGINT)],
        [(0, signal.SIGINT), (0, signal.SIGTERM)],
        [(0, signal.SIGHUP), (0.001, signal.SIGHUP), (0.001, signal.SIGCONT), (0.001, signal.SIGTERM)],
    ],
    ids=lambda signals: "+".join(signal.Signals(number).name for _, number in signals),
)
def test_however_often_it_is_said_the_end_is_the_same(
    signals: list[tuple[float, int]], storm: None, tmp_path: Path
) -> None:
    out = tmp_path / "events.jsonl"
    with out.open("wb") as file:
        follow = start("follow", "--json", *SMALL, stdout=file)
    wait_for(lambda: has_lost(out))
    lines = end(follow, *signals)
    check_complete(follow, lines)
    events = [json.loads(line) for line in out.read_text().splitlines()]
    assert lost_of(lines) == sum(event["lost"] for event in events if event["event"] == "gap") > 0
    repaired = max(index for index, event in enumerate(events) if event["event"] == "repair")
    assert repaired > max(index for index, event in enumerate(events) if event["event"] == "gap")


def moments(seed: int) -> list[tuple[float, int]]:
    """One to four signals, the first within a second, the others soon after, or while the file is closed."""
    chance = random.Random(seed)
    pauses = [chance.uniform(0, 1), *(chance.choice((0, 0.002, 0.02, 0.2)) * chance.random() for _ in range(3))]
    return [(pause, chance.choice(ENDING)) for pause in pauses[: chance.randint(1, 4)]]


@pytest.mark.timeout(60 * len(SEEDS))
@pytest.mark.parametrize("verb", ["record", "follow"])
def test_the_file_has_the_rows_that_are_said(verb: str, storm: None, tmp_path: Path) -> None:
    for seed in SEEDS:
        path = tmp_path / f"{verb}-{seed}.arrows"
        recorder = start(verb, "-w", path, "--fsync", *SMALL)
        wait_for(path.exists)
        lines = end(recorder, *moments(seed))
        check_complete(recorder, lines)
        (said,) = (re.search(r"arrows: (\d+) rows, .*, (\d+) lost", line) for line in lines if "wrote" in line)
        assert said, (seed, lines)
        assert rows_in(path) == (int(said[1]), int(said[2])), seed
        assert int(said[2]) == lost_of(lines), seed
        done = subprocess.run([*NSTRACE, "replay", "-q", path], capture_output=True, text=True, check=True)
        assert "not closed cleanly" not in done.stderr, seed
        path.unlink()


@pytest.mark.timeout(60 * len(SEEDS))
def test_a_signal_before_it_begins_ends_it_without_a_word(storm: None, tmp_path: Path) -> None:
    """Or it has begun: then all is as ever. From our first line on: Python itself may not be ready before."""
    for seed in SEEDS:
        chance, path = random.Random(seed), tmp_path / f"{seed}.arrows"
        number = chance.choice((signal.SIGINT, signal.SIGTERM))
        recorder = start("record", "-w", path, *SMALL)
        wait_for(partial(has_loader, recorder.pid))
        lines = end(recorder, (chance.uniform(0, 1.5), number))
        if recorder.returncode == 128 + number:
            assert (lines, path.exists()) == ([""] * len(lines), False), seed
        else:
            check_complete(recorder, lines)
            assert rows_in(path)[0] > 0


def has_loader(pid: int) -> bool:
    return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def test_a_pipe_that_is_closed_is_silent_but_for_what_must_not_be_lost(storm: None) -> None:
    for more, said in (((), False), (("--require-complete",), True)):
        reading, writing = os.pipe()
        follow = start("follow", "--json", "--buffer-size", "0.0625", "host", "all", *more, stdout=writing)
        os.close(writing)
        seen = b""
        while b'"gap"' not in seen:
            seen += os.read(reading, 1 << 16)
        os.close(reading)
        lines = end(follow)
        if said:
            check_complete(follow, lines)
            assert follow.returncode == ExitCode.EVENTS_LOST
        else:
            assert (follow.returncode, lines) == (0, [])


def test_a_recording_into_a_pipe_that_is_closed_is_cut_off(storm: None) -> None:
    for least in (1, 100_000):  # its first bytes, or much of it
        reading, writing = os.pipe()
        recorder = start("record", "-w", "-", "host", "all", stdout=writing)
        os.close(writing)
        seen = 0
        while seen < least:
            seen += len(os.read(reading, 1 << 16))
        os.close(reading)
        lines = end(recorder)
        assert recorder.returncode == ExitCode.FAILURE
        assert any(line.startswith("nstrace: cut off: the recording is no longer read") for line in lines), lines


@pytest.mark.parametrize("is_recorded", [True, False])
def test_two_signals_do_not_wait_for_a_pipe_that_is_not_read(is_recorded: bool, storm: None, tmp_path: Path) -> None:
    path = tmp_path / "run.arrows"
    reading, writing = os.pipe()
    follow = start("follow", "--json", *SMALL, *(("-w", path) if is_recorded else ()), stdout=writing)
    os.close(writing)
    wait_for(lambda: is_full(reading))
    lines = end(follow, (0.1, signal.SIGINT), (0.005, signal.SIGTERM))
    os.close(reading)
    assert follow.returncode == ExitCode.EVENTS_LOST
    assert lost_of(lines) > 0
    assert lines[-1].startswith("nstrace: cut off: ")
    if is_recorded:
        assert rows_in(path)[1] == lost_of(lines)
        assert lines[-1].endswith("the recording is complete")


def test_two_signals_do_not_wait_for_a_recording_that_is_not_read(storm: None) -> None:
    reading, writing = os.pipe()
    recorder = start("record", "-w", "-", "host", "all", stdout=writing)
    os.close(writing)
    wait_for(lambda: is_full(reading))
    lines = end(recorder, (0.1, signal.SIGTERM), (0.005, signal.SIGINT))
    os.close(reading)
    assert recorder.returncode == ExitCode.FAILURE
    assert any(line.startswith("nstrace: cut off: the recording was not read") for line in lines), lines


def is_full(pipe: int) -> bool:
    """Whether nobody can write to a pipe of 64 KiB any more without waiting."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0] > 60_000


def test_what_is_ignored_from_the_beginning_stays_so(tmp_path: Path) -> None:
    """As nohup(1) has it; a run from a script in the background is ended by SIGINT all the same."""
    path = tmp_path / "run.arrows"
    recorder = start("record", "-w", path, "all", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    wait_for(path.exists)
    recorder.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        recorder.wait(1)
    check_complete(recorder, end(recorder, (0, signal.SIGINT)))
