"""What ps, tree and containers write to stdout and stderr: headers, ids alone, lines on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from builders import PIDNS, batch, row
from recordings import facts, record

from tracer.stream.schema import Kind

HEADERS = {
    "ps": "  PID NSPID PPID NSPPID USER STARTED STATE COMMAND",
    "tree": "PIDS (host first) COMMAND",
    "containers": "NAME ID           RUNTIME INIT      PIDNS LEVEL PROCS SINCE",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The container web with an init and four equal children; a PID namespace that is no container's."""
    inside = [(PIDNS, 1)], *([(PIDNS, nr)] for nr in range(2, 6))
    web = [
        row(Kind.SNAPSHOT, 200 + nr, where, args=[b"sleep", b"9" * 100], cgroup_id=7, start_ns=10**9 + nr,
            parent_tgid=200 if nr else 1, parent_start_ns=10**9 if nr else 1)
        for nr, where in enumerate(inside)
    ]  # fmt: skip
    record(tmp_path / "web.arrows", [facts(), batch(*web, row(Kind.SNAPSHOT, 300, [(4026532472, 1)], args=[b"job"]))])
    return tmp_path / "web.arrows"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tracer", *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done


def on_a_terminal(*words: object, columns: int) -> list[str]:
    """What a terminal of this width is sent, line by line."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns)}
    argv = [sys.executable, "-m", "tracer", *map(str, words)]
    process = subprocess.Popen(argv, stdout=theirs, stderr=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    sent = b""
    while True:
        try:
            sent += (part := os.read(ours, 65536))
        except OSError:  # the other end is closed
            break
        if not part:
            break
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return sent.decode().replace("\r\n", "\n").splitlines()


@pytest.mark.parametrize("command", HEADERS)
def test_the_header_is_the_first_line_of_stdout_unless_it_is_left_out(command: str, file: Path) -> None:
    done, bare = run(command, "--from", file, "web"), run(command, "--from", file, "web", "--no-header")
    first, rest = done.stdout.split("\n", 1)
    assert first.split()[: len(HEADERS[command].split())] == HEADERS[command].split()
    assert (rest, done.stderr) == (bare.stdout, "")
    assert rest


@pytest.mark.parametrize("command", HEADERS)
def test_the_header_is_there_where_nothing_else_is(command: str, tmp_path: Path) -> None:
    record(tmp_path / "x.arrows", [facts(), batch(row(Kind.SNAPSHOT, 300))])
    done = run(command, "--from", tmp_path / "x.arrows")
    assert len(done.stdout.splitlines()) == 1
    assert "no process in any container" in done.stderr


def test_ids_alone(file: Path) -> None:
    assert run("ps", "--from", file, "-q", "web").stdout.split() == ["200", "201", "202", "203", "204"]
    assert run("tree", "--from", file, "-q").stdout.split() == ["300", "200", "201", "202", "203", "204"]
    assert run("containers", "--from", file, "-q").stdout.split() == ["a" * 12, "pidns:4026532472"]


def test_what_identifies_a_container_is_a_target(file: Path) -> None:
    for name in run("containers", "--from", file, "-q").stdout.split():
        assert run("ps", "--from", file, "-q", name).stdout


def test_json_has_every_process_and_no_header(file: Path) -> None:
    for words in (["ps"], ["tree"], ["tree", "-q"], ["ps", "--no-header"]):
        lines = run(*words, "--from", file, "--json").stdout.splitlines()
        assert len(lines) == 6
        assert all(line.startswith("{") for line in lines)


def test_a_terminal_gets_whole_lines_when_asked_for(file: Path) -> None:
    for command in ("ps", "tree"):
        cut, whole = (on_a_terminal(command, "--from", file, *more, columns=60) for more in ([], ["--no-trunc"]))
        assert max(map(len, cut)) <= 60 < max(map(len, whole))
        assert "9" * 100 in "".join(whole)


def test_equal_siblings_are_folded_for_people_alone(file: Path) -> None:
    folded, unfolded = (run("tree", "--from", file, *more, "web").stdout for more in ([], ["--no-fold"]))
    assert "201>2..204>5 4*[sleep " in folded
    assert len(folded.splitlines()) == 4
    assert len(unfolded.splitlines()) == 7
