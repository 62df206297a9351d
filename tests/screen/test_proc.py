"""What nstrace top looks up of living processes: a process that changes its user and name without any event."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import wait_for

from tracer.host import procfs
from tracer.screen.model import Proc
from tracer.screen.proc import is_unreaped, set_states

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
        proc = Proc((child.pid, start_ns(child.pid)), [child.pid], 0, (0, 0))
        other = Proc((child.pid, start_ns(child.pid) + 10**9), [child.pid], 0, (0, 0))
        proc.uid = other.uid = 77
        proc.comm = other.comm = b"before"
        set_states([proc, other])
        child.communicate(b"\n")
    assert (proc.uid, proc.comm) == (12345 if os.getuid() == 0 else os.getuid(), b"a) b")
    assert proc.state in ("R", "S")
    assert (other.uid, other.comm, other.state) == (77, b"before", " ")  # another process with its number


LEFT = """
import ctypes, sys, threading
def rest():
    sys.stdout.write("rest\\n"); sys.stdout.flush()
    sys.stdin.readline()
    import os
    os._exit(0)
threading.Thread(target=rest).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_whose_main_thread_has_ended_is_no_zombie_until_all_have() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", LEFT], stdin=pipe, stdout=pipe) as child:
        assert child.stdin
        assert child.stdout
        child.stdout.readline()
        stat = Path(f"/proc/{child.pid}/stat")
        wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z")  # what the kernel says of it
        proc = Proc((child.pid, start_ns(child.pid)), [child.pid], 0, (0, 0))
        set_states([proc])
        assert proc.state in ("R", "S")
        assert not is_unreaped(proc)
        with procfs.opened_process(child.pid) as directory:
            listed = procfs.read_process(directory, lambda _fd: ())
        assert (listed.state in ("R", "S"), listed.is_zombie) == (True, False)
        child.stdin.write(b"\n")
        child.stdin.flush()
        wait_for(lambda: is_unreaped(proc))
        assert proc.reaper == os.getpid()
        child.wait()
        assert not is_unreaped(proc)
