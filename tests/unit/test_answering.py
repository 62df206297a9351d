"""Questions about the living host: answered by a child that has privileges, asked by who has read strangers' text."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_engine import serving

from tracer.errors import NstraceError
from tracer.wiring.answering import Asker, answered_elsewhere

ROOT = Path(__file__).parents[2]


def answer(nr: int) -> bytes | None:
    if nr == 13:
        os._exit(1)
    return b"x" * 100_000 if nr == 7 else b"%d/%d" % (os.getpid(), nr) if nr % 2 else None


@pytest.fixture
def asker() -> Iterator[Asker]:
    asker = answered_elsewhere(answer)
    yield asker
    os.close(asker._questions)  # who answers ends
    os.close(asker._answers)
    os.wait()


def test_another_process_answers(asker: Asker) -> None:
    first = asker(5)
    assert first is not None
    pid, nr = first.split(b"/")
    assert (int(pid) != os.getpid(), nr) == (True, b"5")
    assert asker(9) == pid + b"/9"
    assert asker(6) is None
    assert asker(7) == b"x" * (1 << 16)  # bounded
    assert asker((1 << 22) + 1) is None  # no PID: not even asked for


def test_who_has_ended_answers_no_more(asker: Asker) -> None:
    with pytest.raises(NstraceError, match="has ended"):
        asker(13)


def test_an_answer_that_came_too_late_is_not_taken_for_another(asker: Asker) -> None:
    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    def interrupted(fd: int, size: int) -> bytes:
        os.kill(os.getpid(), signal.SIGALRM)
        return read(fd, size)

    before = signal.signal(signal.SIGALRM, interrupt)
    read = os.read
    try:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, "read", interrupted)
            asker(5)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert asker(9) is None  # not that of 5


def test_who_reads_the_text_cannot_ask_the_engine(tmp_path: Path) -> None:
    """The child alone has the socket by which it is asked."""
    argv = [sys.executable, "-m", "tracer", "translate", "--to-container", "-"]
    with serving(tmp_path / "sock") as engine:
        env = os.environ | {"DOCKER_HOST": engine.address}
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=env) as running:
            assert running.stdin and running.stdout
            running.stdin.write(b"a line\n")
            running.stdin.flush()
            if not running.stdout.readline():
                pytest.skip("not in the initial PID namespace")
            held = [str(link.readlink()) for link in Path(f"/proc/{running.pid}/fd").iterdir()]
            running.stdin.close()
    assert not [leads_to for leads_to in held if leads_to.startswith("socket:")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, None])
def test_nobody_is_left_when_the_filter_ends(number: int | None) -> None:
    argv = [sys.executable, "-m", "tracer", "translate", "--to-container", "-"]
    running = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert running.stdin and running.stdout
    running.stdin.write(b"a line\n")
    running.stdin.flush()
    if not running.stdout.readline():
        pytest.skip(running.communicate()[1].decode())  # not in the initial PID namespace
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    (child,) = (one for one in children if Path(f"/proc/{one}/comm").read_text() != "nstrace-connect\n")
    held = os.pidfd_open(int(child))
    try:
        if number:
            running.send_signal(number)
        running.communicate(timeout=60)
        assert select.select([held], [], [], 60)[0]
    finally:
        os.close(held)
