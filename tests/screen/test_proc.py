"""What nstrace top looks up of living processes: a process that changes its user and name without any event."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tracer.screen.model import Proc
from tracer.screen.proc import set_states

CHANGES = """
import ctypes, os
if os.getuid() == 0: os.setuid(12345)
ctypes.CDLL(None).prctl(15, b"a) b", 0, 0, 0)  # PR_SET_NAME
print(flush=True)
input()
"""


def start_ns(pid: int) -> int:
    """As /proc says it, to the tick."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return ticks * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


def test_user_and_name_are_those_of_now() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", CHANGES], stdin=pipe, stdout=pipe) as child:
        assert child.stdin
        assert child.stdout
        child.stdout.readline()
        proc = Proc((child.pid, start_ns(child.pid)), [child.pid], 0, (0, 0), 0.0)
        other = Proc((child.pid, start_ns(child.pid) + 10**9), [child.pid], 0, (0, 0), 0.0)
        proc.uid = other.uid = 77
        proc.comm = other.comm = b"before"
        set_states([proc, other])
        child.communicate(b"\n")
    assert (proc.uid, proc.comm) == (12345 if os.getuid() == 0 else os.getuid(), b"a) b")
    assert proc.state in ("R", "S")
    assert (other.uid, other.comm, other.state) == (77, b"before", " ")  # another process with its number
