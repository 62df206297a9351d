"""nstrace run as a user runs it: the command keeps its terminal, its output and its exit code."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_for
from engine_processes import name_of
from service import below

pytestmark = pytest.mark.kernel
NSTRACE = [sys.executable, "-m", "tracer"]
DEADLINE_S = 30


def run(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*NSTRACE, "run", *args], capture_output=True, text=True, timeout=DEADLINE_S, **options)


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


def test_failures_alone_with_what_failed() -> None:
    done = run("-q", "--failed", "--", "sh", "-c", "(exit 4); true; sh -c 'exit 3'; sh -c 'kill -9 $$'; exit 0")
    infos = [line.split(maxsplit=8)[8] for line in done.stderr.splitlines() if " exit " in line]
    found = [re.sub(" after [^:]*", "", info) for info in infos]
    whole = "sh -c '(exit 4); true; sh -c '\"'\"'exit 3'\"'\"'; sh -c '\"'\"'kill -9 $$'\"'\"'; exit 0'"
    assert found == [f"exit 4: {whole}", "exit 3: sh -c 'exit 3'", "SIGKILL by itself: sh -c 'kill -9 $$'"]


def test_a_tree_is_what_its_processes_say(tmp_path: Path) -> None:
    script = "say() { echo $1 >> depths; }; say 0; (say 1; (say 2; sh -c 'echo 3 >> depths' & :); :); exec sleep 0.3"
    done = run("-q", "--tree", "-w", "tree.arrows", "--", "sh", "-c", script, cwd=tmp_path)
    assert (tmp_path / "depths").read_text().split() == ["0", "1", "2", "3"]
    lines = [line for line in done.stderr.splitlines() if " fork " in line]
    starts = [len(line) - len(line.split()[-1]) for line in lines]
    depths = [(start - starts[0]) // 2 for start in starts]
    assert lines[1].endswith("  nstrace-init")
    assert depths == [0, 1, 2, 3, 4]  # init, the shell, two subshells, and the shell that they leave behind
    argv = [*NSTRACE, "replay", "-q", "--tree", "tree.arrows"]
    assert subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, check=True).stdout == done.stderr


def test_the_command_is_as_nice_as_we_were() -> None:
    done = run("-q", "--to", "/dev/null", "--", "sh", "-c", "cut -d' ' -f19 /proc/self/stat")
    assert int(done.stdout) == os.getpriority(os.PRIO_PROCESS, 0)


@pytest.mark.parametrize("where", ["comm::int = 1", "case when comm = 'sleep' then comm::int = 1 end"])
def test_a_condition_that_fails_for_a_row_is_not_the_commands_end(where: str) -> None:
    done = run("-q", "--where", where, "--", "sh", "-c", "echo begun; sleep 0.1; echo done; exit 7")
    assert (done.returncode, done.stdout) == (7, "begun\ndone\n")
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("nstrace: ")]
    assert said.startswith("nstrace: --where: '") and said.endswith("is not followed any more")
    assert run("-q", "--where", where, "--", "true").returncode == (2 if "case" not in where else 0)


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


STUBBORN = "trap '' INT TERM HUP; sleep 600 & while :; do sleep 1; done"


@contextmanager
def running(*argv: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """nstrace run, in which a command runs."""
    argv = (*NSTRACE, "run", *argv)
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, **options) as process:
        try:
            wait_for(lambda: "sleep" in processes_below(process.pid).values())
            yield process
        finally:
            for pid in processes_below(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.kill()


def processes_below(pid: int) -> dict[int, str]:
    """Everyone whom a process has started, and they in turn: PID -> name."""
    found: dict[int, str] = {}
    with suppress(OSError):
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            found |= {child: Path(f"/proc/{child}/comm").read_text().strip()} | processes_below(child)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_is_sent_to_us_is_the_commands(number: int) -> None:
    """We are in no terminal's foreground here."""
    with running("--", "sleep", "600", start_new_session=True) as process:
        process.send_signal(number)
        said = process.communicate(timeout=DEADLINE_S)[1]
    assert process.returncode == 128 + number, said
    assert signal.Signals(number).name in said
    assert " 0 lost" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_insists_kills_a_command_that_will_not_end(number: int) -> None:
    with running("--", "sh", "-c", STUBBORN, start_new_session=True) as process:
        everyone = processes_below(process.pid)
        for _ in range(20):  # some of them may become one
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
                break
        said = process.communicate(timeout=DEADLINE_S)[1]
        assert process.returncode == 128 + signal.SIGKILL, said
        assert " 0 lost" in said
        assert not [pid for pid in everyone if Path(f"/proc/{pid}").exists()]


def test_a_signal_now_and_then_is_no_insisting() -> None:
    with running("--", "sh", "-c", STUBBORN, start_new_session=True) as process:
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1.1)


def test_behind_a_signal_the_reader_sleeps_as_before() -> None:
    with running("-q", "--", "sh", "-c", "trap '' INT; sleep 600; :", start_new_session=True) as process:
        process.send_signal(signal.SIGINT)
        wait_for(lambda: ticks_of(process.pid) > 0)
        before, until = ticks_of(process.pid), time.monotonic() + 2
        wait_for(lambda: time.monotonic() > until)
        assert ticks_of(process.pid) - before < os.sysconf("SC_CLK_TCK")  # half of what it has had if it did not sleep


def ticks_of(pid: int) -> int:
    """CPU time that a process has had."""
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))


def test_a_recording_beside_the_events(tmp_path: Path) -> None:
    arrows, text = tmp_path / "run.arrows", tmp_path / "run.txt"
    done = run("-w", str(arrows), "--to", str(text), "--", "sh", "-c", "cat; /bin/true; exit 5", input="in\n")
    assert (done.returncode, done.stdout) == (5, "in\n")
    assert f"to show it: nstrace replay {arrows}" in done.stderr
    replay = subprocess.run([*NSTRACE, "replay", str(arrows)], capture_output=True, text=True, check=True)
    assert replay.stdout == text.read_text()
    assert "true" in replay.stdout
    assert "/bin/true" not in done.stderr
    again = run("-w", str(arrows), "--", "sh", "-c", "echo ran")
    assert (again.returncode, again.stdout) == (1, "")
    assert "already exists" in again.stderr
    assert run("--force", "-w", str(arrows), "--", "true").returncode == 0


def test_stdout_is_not_for_a_recording() -> None:
    done = run("-w", "-", "--", "true")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        2,
        "nstrace: stdout is the command's: give -w the name of a file",
    )


def test_signals_are_the_commands_when_the_trace_has_ended() -> None:
    with running("--duration", "0.1", "--", "sleep", "600", start_new_session=True) as process:
        assert process.stderr
        while " lost" not in process.stderr.readline():
            assert process.poll() is None
        process.terminate()
        assert process.wait(DEADLINE_S) == 128 + signal.SIGTERM


def test_what_we_ignored_from_the_beginning_the_command_ignores_too() -> None:
    """As without nstrace: the tests themselves may have been started with signals that are ignored."""
    ignoring = ["setsid", "--wait", "sh", "-c", 'trap "" HUP; exec "$@"', "sh"]
    command = ["grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"]
    alone, followed = (
        subprocess.run([*ignoring, *before, *command], capture_output=True, text=True, timeout=DEADLINE_S).stdout
        for before in ([], [*NSTRACE, "run", "-q", "--to", "/dev/null", "--"])
    )
    assert followed == alone
    ignored = next(int(line.split()[1], 16) for line in alone.splitlines() if line.startswith("SigIgn"))
    assert ignored & 1 << (signal.SIGHUP - 1)


@pytest.mark.parametrize("kind", ["nowhere", "link", "dangling", "fifo", "folder", "file", "hard link"])
def test_a_file_that_is_not_ours_to_write(kind: str, tmp_path: Path) -> None:
    path, other = tmp_path / "x", tmp_path / "other"
    other.write_text("precious")
    if kind == "nowhere":
        path = tmp_path / "no" / "x"
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "hard link":
        path.hardlink_to(other)
    elif kind == "file":
        path.write_text("precious")
    else:
        path.symlink_to(other if kind == "link" else tmp_path / "nobody")
    done = run("--to", str(path), "--", "touch", str(tmp_path / "ran"))
    what, hint = done.stderr.splitlines()
    assert done.returncode == 1
    assert what.startswith(f"nstrace: {path} ")
    assert hint.startswith("  ")
    assert other.read_text() == "precious"
    assert not (tmp_path / "ran").exists()
    if kind in ("file", "hard link"):
        assert run("-q", "--force", "--to", str(path), "--", "true").returncode == 0
        assert "true" in path.read_text()
        assert other.read_text() == "precious"


def test_force_without_a_file_is_a_mistake() -> None:
    done = run("--force", "--", "true")
    assert (done.returncode, "--to" in done.stderr) == (2, True)


def test_where_the_broker_was_killed_a_signal_is_not_swallowed() -> None:
    argv = [*NSTRACE, "run", "--", "sleep", "30"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        wait_for(lambda: any(name_of(pid) == "sleep" for pid in below(running.pid)))
        command = next(pid for pid in below(running.pid) if name_of(pid) == "sleep")
        os.kill(next(pid for pid in below(running.pid) if name_of(pid) == "nstrace-broker"), signal.SIGKILL)
        assert running.stderr
        while "the command is not followed any more" not in running.stderr.readline():
            assert running.poll() is None

        def has_ended() -> bool:
            running.send_signal(signal.SIGTERM)
            return running.poll() is not None

        wait_for(has_ended)
        assert running.returncode == 128 + signal.SIGTERM
        with suppress(ProcessLookupError):
            os.kill(command, signal.SIGKILL)  # its stderr is the same pipe
        assert "cut off by SIGTERM" in running.stderr.read()
