"""What an exit says that its process ran, held against what each process has read in its own /proc/self/cmdline."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from stack import Stack

from tracer.stream.schema import Flag, Kind

pytestmark = pytest.mark.kernel
CLONE_PARENT = 0x8000
WORKLOAD = f"""
import ctypes, os, signal, sys

def tell():
    raw = open("/proc/self/cmdline", "rb").read()
    os.write(1, f"{{os.getpid()}} {{raw.hex()}}\\n".encode())

def child(*then):
    if not (pid := os.fork()):
        for action in then:
            action()
        os._exit(3)
    os.waitpid(pid, 0)

def sibling():
    number = {{"x86_64": 56, "aarch64": 220}}[os.uname().machine]
    if not ctypes.CDLL(None).syscall(number, {CLONE_PARENT} | signal.SIGCHLD, 0, 0, 0, 0):
        tell()
        os._exit(4)

def other():
    os.execv(sys.executable, [sys.executable, "-c", "import workload", "other", "a b"])

if sys.argv[1] == "other":
    tell()
    sys.exit(5)
if sys.argv[1] == "first":
    sys.stdin.readline()
    os.execv(sys.executable, [sys.executable, "-c", "import workload", "second"])
sys.stdin.readline()
child(tell)
child(tell, lambda: child(tell))
child(tell, lambda: child(other), lambda: child(tell))
tell()
if sys.argv[1] == "sibling":
    sibling()
"""


def started(folder: Path, *args: str) -> subprocess.Popen[bytes]:
    """A process that has done its exec, and waits for a line."""
    (folder / "workload.py").write_text(WORKLOAD)
    process = subprocess.Popen(
        [sys.executable, "-c", "import workload", *args], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    while args[0].encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
        time.sleep(0.001)
    return process


def finished(process: subprocess.Popen[bytes], lines: bytes = b"\n") -> dict[int, bytes]:
    """The command line that each process has seen of itself."""
    out, _ = process.communicate(lines)
    told = (line.split() for line in out.decode().splitlines())
    return {int(pid): bytes.fromhex(raw) for pid, raw in told}


def exits(stack: Stack) -> dict[int, bytes]:
    """The arguments in each reported exit."""
    batch = stack.batch
    at = np.flatnonzero((batch.rows["kind"] == Kind.EXIT) & (batch.rows["flags"] & Flag.INFERRED == 0))
    return {int(batch.rows["tgid"][index]): batch.payload(index).args for index in at.tolist()}


@pytest.mark.parametrize("is_older", [False, True], ids=["started while traced", "started before"])
def test_exits_say_what_ran(is_older: bool, tmp_path: Path) -> None:
    process = started(tmp_path, "job") if is_older else None
    with Stack("host") as stack:
        process = process or started(tmp_path, "job")
        seen = finished(process)
        stack.read(lambda: stack.has_exit_of(process.pid))
    assert len(seen) == 7
    said = exits(stack)
    assert {pid: said[pid] for pid in seen} == seen
    assert len(stack.table.commands) <= len(stack.table.living())


def test_an_exec_replaces_what_a_listed_process_ran(tmp_path: Path) -> None:
    process = started(tmp_path, "first")
    with Stack("host") as stack:
        seen = finished(process, b"\n\n")
        stack.read(lambda: stack.has_exit_of(process.pid))
    assert seen[process.pid].endswith(b"second\0")
    said = exits(stack)
    assert {pid: said[pid] for pid in seen} == seen


def test_a_process_that_another_one_forked_for_its_parent_says_nothing(tmp_path: Path) -> None:
    """With CLONE_PARENT it does not run what its parent runs."""
    with Stack("host") as stack:
        process = started(tmp_path, "sibling")
        seen = finished(process)
        (sibling,) = (pid for pid in seen if _is_ours(pid))
        os.waitpid(sibling, 0)
        stack.read(lambda: stack.has_exit_of(sibling))
    said = exits(stack)
    assert said.pop(sibling) == b""
    assert {pid: said[pid] for pid in seen if pid != sibling} == {
        pid: args for pid, args in seen.items() if pid != sibling
    }


def _is_ours(pid: int) -> bool:
    """Whether it is a child of ours that nobody has waited for."""
    try:
        return f"PPid:\t{os.getpid()}\n" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
