"""Whoever reads what strangers have written can do nothing: looked at from outside, and tried from inside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trespass
from conftest import wait_for
from engine_processes import children

from tracer.system.privileges import FIRST_UID

pytestmark = pytest.mark.kernel

NSTRACE = [sys.executable, "-m", "tracer"]
ARRAY, RINGBUF = 2, 27
REFUSED = {"EPERM", "EACCES", "ENOENT", "ENOTDIR", "EBADF", "EAGAIN"}
COMMANDS = [
    ("run", "--json", "--", "sh", "-c", "read line"),
    ("follow", "--json", "host", "all"),
]
IDS = [" ".join(words[:2]) for words in COMMANDS]


@contextmanager
def reading(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that has shown its first event."""
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    shown = "stderr" if "run" in argv else "stdout"
    with subprocess.Popen(argv, bufsize=0, **streams) as process:
        stream = getattr(process, shown)
        try:
            wait_for(lambda: stream.readline().startswith(b"{"))
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            assert process.stdin
            process.stdin.close()
            for stream in (process.stdout, process.stderr):
                assert stream
                stream.read()
            process.wait()


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


def of_each(folder: Path, look: Callable[[Path], str]) -> list[str]:
    """Of what is there: a descriptor can be closed between the list and the look."""
    found = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            found.append(look(path))
    return found


def descriptors(pid: int) -> list[str]:
    links = of_each(Path(f"/proc/{pid}/fd"), lambda fd: fd.readlink().name)
    return [link.removeprefix("anon_inode:").strip("[]") for link in links]


def map_types(pid: int) -> list[int]:
    """enum bpf_map_type of each descriptor of a map."""
    facts = of_each(Path(f"/proc/{pid}/fdinfo"), Path.read_text)
    return [int(fact.split("map_type:")[1].split()[0]) for fact in facts if "map_type:" in fact]


@pytest.mark.parametrize("words", COMMANDS, ids=IDS)
def test_the_reader_holds_nothing(words: tuple[str, ...]) -> None:
    with reading(*NSTRACE, *words) as process:
        found = status(process.pid)
        assert found["Uid"].split() == found["Gid"].split() == [str(FIRST_UID + process.pid)] * 4
        assert found["Groups"] == ""
        assert {int(found[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        assert next(line for line in limits.splitlines() if line.startswith("Max processes")).split()[2:4] == ["0", "0"]
        assert list(Path(f"/proc/{process.pid}/root").iterdir()) == []
        assert {leads_to for leads_to in descriptors(process.pid) if "bpf" in leads_to} <= {"bpf-map", "bpf_link"}
        assert set(map_types(process.pid)) == {ARRAY, RINGBUF}  # what it has mapped: bpf(2) is refused to it


@pytest.mark.parametrize("words", COMMANDS, ids=IDS)
def test_whoever_takes_it_over_is_refused_everything(words: tuple[str, ...]) -> None:
    argv = trespass.command(*words)
    done = subprocess.run(argv, input=b"\n", capture_output=True, timeout=240) if "run" in words else ended(argv)
    found = trespass.results(done.stderr.decode())
    assert {name: what for name, what in found.items() if what not in REFUSED} == {}
    assert len(found) > 20


def ended(argv: list[str]) -> subprocess.CompletedProcess[bytes]:
    """The command, ended when it has shown something."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=240)
    return subprocess.CompletedProcess(argv, process.returncode, line + stdout, stderr)


def broker_of(pid: int) -> int:
    return next(child for child in children(pid) if status(child)["Name"] == "nstrace-broker")


def test_a_command_that_is_not_followed_any_more_is_waited_for() -> None:
    words = ["run", "--json", "--", "sh", "-c", "read line; exit 7"]
    with subprocess.Popen([*NSTRACE, *words], stdin=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:
        stderr = process.stderr
        assert process.stdin and stderr
        wait_for(lambda: b'"exec"' in stderr.readline())
        os.kill(broker_of(process.pid), signal.SIGKILL)
        process.stdin.write(b"\n")
        assert "keeps nstrace's privileges has ended" in stderr.read().decode()
        assert process.wait() == 7


def test_a_recording_that_a_failure_ends_is_not_called_whole(tmp_path: Path) -> None:
    path = tmp_path / "web.arrows"
    with subprocess.Popen([*NSTRACE, "record", "-w", path, "host"], stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: path.exists() and path.stat().st_size > 5000)
        os.kill(broker_of(process.pid), signal.SIGKILL)
        process.send_signal(signal.SIGINT)
        assert process.stderr
        assert "keeps nstrace's privileges has ended" in process.stderr.read()
        assert process.wait() == 1
    whole = subprocess.run([*NSTRACE, "replay", "--require-complete", path], capture_output=True, text=True)
    assert whole.returncode == 5, whole.stderr


def test_the_reader_of_run_has_no_part_in_the_input_of_the_command() -> None:
    argv = trespass.command("run", "--json", "--", "cat", where=("tracer.views.jsonl", "JsonLines", "render"))
    argv[2] = argv[2].replace(
        "def trespass():", "def trespass():\n    os.write(1, b'forged'); STOLEN.append(os.read(0, 99))", 1
    )
    argv[2] = argv[2].replace("FIRST = 1", "FIRST = 1\nSTOLEN = []", 1)
    done = subprocess.run(argv, input=b"secret\n", capture_output=True, timeout=240, check=False)
    assert done.stdout == b"secret\n"
