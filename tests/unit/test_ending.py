"""How signals end a run: real ones, sent to a process that handles them as a command does."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from builders import batch, exits, fork
from recordings import facts, record, storm

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30
RUN = """
import os, signal, sys, time
from tracer.errors import ReaderGone
from tracer.wiring import ending
ending.INSISTENT_S = 0.0

class Run:
    is_stopping = False
    def stop(self):
        self.is_stopping = True

run = Run()
with ending.Ending() as it:
    {body}
"""


@contextmanager
def running(body: str, stderr: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """A process that runs this in the with of an Ending `it`, with a `run` to end. Its first line has been read."""
    code = RUN.format(body="\n    ".join(body.strip().splitlines()))
    argv = [sys.executable, "-c", code]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": stderr}
    with subprocess.Popen(argv, cwd=ROOT, text=True, **pipes) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def said_by(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=DEADLINE_S)[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_before_anything_has_begun_it_is_interrupted(number: int) -> None:
    body = """
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt as error:
    os._exit(error.exit_code)
"""
    with running(body) as process:
        process.send_signal(number)
        assert (said_by(process), process.returncode) == ("", 128 + number)


def test_what_a_signal_breaks_on_its_way_is_the_signals_doing() -> None:
    body = """
print("ready", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    raise ValueError("a child that had the signal too")
"""
    with running(body) as process:
        process.send_signal(signal.SIGINT)
        assert "Interrupted" in said_by(process).splitlines()[-1]


def test_one_that_comes_before_there_is_a_run_ends_it_when_there_is() -> None:
    body = """
it.hold()
print("ready", flush=True)
while not it.is_asked_for: time.sleep(0.01)
it.ends(run)
os._exit(10 + run.is_stopping)
"""
    with running(body) as process:
        process.send_signal(signal.SIGTERM)
        assert said_by(process) == ""
        assert process.returncode == 11


def test_several_that_come_at_once_are_several() -> None:
    """While signals are blocked they wait, one of each kind; Python would call the handler of each once."""
    body = """
it.hold()
it.ends(run)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
print("ready", flush=True)
sys.stdin.readline()
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])
os._exit(10 + (it._hurried_s is not None))
"""
    with running(body) as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.stdin
        process.stdin.write("\n")
        assert said_by(process) == ""
        assert process.returncode == 11


@pytest.mark.parametrize("hold", ["it.hold()", ""])
def test_one_that_another_thread_has_got_is_not_lost(hold: str) -> None:
    """Python's handler can run before that thread has written the signal's number to the descriptor."""
    body = f"""
{hold}
it.ends(run)
print("ready", flush=True)
arriving = signal.set_wakeup_fd(-1)
signal.set_wakeup_fd(arriving, warn_on_full_buffer=False)
try:
    signal.getsignal(signal.SIGTERM)(signal.SIGTERM, None)
    os.write(arriving, bytes([signal.SIGTERM]))
    while not run.is_stopping: time.sleep(0.01)
except KeyboardInterrupt as error:
    os._exit(error.exit_code)
time.sleep(0.5)
os._exit(10 + (it._hurried_s is not None))
"""
    with running(body) as process:
        assert said_by(process) == ""
        assert process.returncode == (10 if hold else 128 + signal.SIGTERM)


def test_who_does_not_read_is_waited_for_until_a_second_signal() -> None:
    body = """
reading, writing = os.pipe()
it.hold()
it.ends(run)
print("ready", flush=True)
try:
    while True: it.write(writing, bytes(4096))
except ReaderGone as error:
    it.reader_gone(error)
it.say("the summary")
"""
    with running(body) as process:
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        process.send_signal(signal.SIGTERM)
        first, last = said_by(process).splitlines()
        assert first == "the summary"
        assert last.startswith("nstrace: cut off: the events were not read")


def test_what_it_says_has_no_effect_on_a_terminal() -> None:
    body = r"""
print("ready", flush=True)
it.cut_off("a \x1b[31m name")
it.say("w\x1b]0;x\x07\u202e\x9b2J\neb")
"""
    with running(body) as process:
        assert said_by(process).splitlines() == [
            r"w\x1b]0;x\x07\u202e\x9b2J\x0aeb",
            r"nstrace: cut off: a \x1b[31m name",
        ]


def test_a_status_line_makes_room_for_what_is_said_and_fits_the_terminal() -> None:
    body = r"""
print("ready", flush=True)
it.show("one " + "x" * 200)
it.show("two\x1b[31m")
it.say("a note")
it.show("three")
it.show("")
it.say("the end")
"""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    with running(body, stderr=slave) as process:
        assert process.wait(DEADLINE_S) == 0
    os.close(slave)
    said = os.read(master, 65536).decode().replace("\r\n", "\n")
    os.close(master)
    clear = "\r\x1b[K"
    first = "one " + "x" * 34 + "…"
    assert said == rf"{first}{clear}two\x1b[31m{clear}a note" + f"\nthree{clear}the end\n"


def test_still_another_one_ends_it_at_once_and_says_so() -> None:
    body = """
it.hold()
it.ends(run)
print("ready", flush=True)
while True: time.sleep(0.01)
"""
    with running(body) as process:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            process.send_signal(number)
        said = said_by(process)
        assert said.startswith(f"nstrace: cut off by {signal.Signals(process.returncode - 128).name}:")


def test_who_else_takes_a_signal_has_it_alone() -> None:
    body = """
taken = []
it.hold()
it.ends(run)
it.pass_on = lambda number: taken.append(number) is None
print("ready", flush=True)
while len(taken) < 2: time.sleep(0.01)
os._exit(10 + run.is_stopping)
"""
    with running(body) as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert said_by(process) == ""
        assert process.returncode == 10


def test_behind_the_end_nothing_changes_it_any_more() -> None:
    body = """
it.hold()
it.ends(run)
it.__exit__(None, None, None)
print("ready", flush=True)
sys.stdin.readline()
os._exit(7)
"""
    with running(body) as process:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process.send_signal(number)
        assert process.stdin
        process.stdin.write("\n")
        assert said_by(process) == ""
        assert process.returncode == 7


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A recording of more lines than a pipe holds."""
    record(tmp_path / "long.arrows", [facts(), storm(1, 2000)])
    return tmp_path / "long.arrows"


def replaying(path: Path, *more: str, **options: Any) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "tracer", "replay", str(path), *more]
    return subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_replay_into_a_pipe_that_is_not_read(long: Path, count: int) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with replaying(long, stdout=writing) as replay:
        os.close(writing)
        seen = len(os.read(reading, 1))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[:count]:  # two of one kind may become one
            replay.send_signal(number)
        if count == 1:
            while some := os.read(reading, 1 << 16):
                seen += len(some)
        said = said_by(replay)
    os.close(reading)
    assert " 0 lost" in said
    assert replay.returncode == (0 if count == 1 else 1)
    assert ("nstrace: cut off: " in said.splitlines()[-1]) == (count > 1)


def test_replay_into_a_pipe_that_is_closed_is_silent(long: Path) -> None:
    reading, writing = os.pipe()
    with replaying(long, stdout=writing) as replay:
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)
        assert said_by(replay) == ""
    assert replay.returncode == 0


def test_a_signal_ends_a_replay_at_its_own_speed(tmp_path: Path) -> None:
    path = tmp_path / "slow.arrows"
    record(path, [facts(), batch(fork(1000), exits(1000, ts_ns=10**13))])
    with replaying(path, "--speed", "1", stdout=subprocess.PIPE) as replay:
        assert replay.stdout
        assert replay.stdout.readline().startswith("TIME")
        assert replay.stdout.readline()
        replay.send_signal(signal.SIGTERM)
        said = said_by(replay)
    assert "1 event (1 fork)" in said
    assert replay.returncode == 0
