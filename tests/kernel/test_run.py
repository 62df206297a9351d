"""nstrace run as a user runs it: the command keeps its terminal, its output and its exit code."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel
NSTRACE = [sys.executable, "-m", "tracer"]
DEADLINE_S = 30


def run(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*NSTRACE, "run", *args], capture_output=True, text=True, timeout=DEADLINE_S, **options)  # type: ignore[call-overload,no-any-return]


def test_events_and_the_commands_output_never_mix() -> None:
    done = run("--", "sh", "-c", "cat; echo out; echo err >&2; exit 5", input="in\n")
    assert (done.returncode, done.stdout) == (5, "in\nout\n")
    header, *lines = done.stderr.splitlines()
    assert header.startswith("TIME")
    assert "err" in lines
    assert lines[-1].startswith("nstrace: ")


def test_followed_from_its_very_first_event(tmp_path: Path) -> None:
    out = tmp_path / "events.jsonl"
    done = run("--json", "--to", str(out), "--", "sh", "-c", "echo $$; /bin/true; ls /proc")
    events = [json.loads(line) for line in out.read_text().splitlines()]
    own, *entries = done.stdout.split()
    assert [(event["event"], event["ns_pid"]) for event in events[:2]] == [("fork", 1), ("fork", int(own))]
    assert {entry for entry in entries if entry.isdigit()} == {"1", own, str(events[-3]["ns_pid"])}  # its own /proc
    assert (events[-1]["event"], events[-1]["ns_pid"]) == ("exit", 1)
    commands = [event["args"] for event in events if event["event"] == "exec"]
    assert [args[0] for args in commands] == ["sh", "/bin/true", "ls"]
    assert out.stat().st_mode & 0o777 == 0o600


def test_the_command_is_as_nice_as_we_were() -> None:
    done = run("-q", "--to", "/dev/null", "--", "sh", "-c", "cut -d' ' -f19 /proc/self/stat")
    assert int(done.stdout) == os.getpriority(os.PRIO_PROCESS, 0)


@pytest.mark.parametrize(
    ("argv", "code"), [(["false"], 1), (["sh", "-c", "kill -9 $$"], 137), (["/etc/passwd"], 126), (["nowhere"], 127)]
)
def test_exit_code_is_the_commands(argv: list[str], code: int) -> None:
    done = run("-q", "--to", "/dev/null", "--", *argv)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_ctrl_c_reaches_the_command_alone() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [*NSTRACE, "run", "--", "sleep", "60"])
    seen = b""
    deadline = time.monotonic() + DEADLINE_S
    while b"sleep 60" not in seen and time.monotonic() < deadline:
        seen += os.read(terminal, 65536)
    os.write(terminal, b"\x03")
    _pid, status = os.waitpid(pid, 0)
    seen += os.read(terminal, 65536)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGINT
    assert b"SIGINT" in seen
    assert b"0 lost" in seen


def test_sigterm_is_passed_on() -> None:
    with subprocess.Popen([*NSTRACE, "run", "--", "sleep", "60"], stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr
        while "sleep 60" not in running.stderr.readline():
            assert running.poll() is None
        running.terminate()
        assert "SIGTERM" in running.stderr.read()
    assert running.returncode == 128 + signal.SIGTERM
