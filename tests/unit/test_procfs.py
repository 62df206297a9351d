"""What /proc says of processes whose facts are known here."""

import dataclasses
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tracer.host import procfs
from tracer.host.census import entry_of
from tracer.host.pidns_ids import PidnsIds
from tracer.host.proc_operations import Proc, proc_operations
from tracer.host.process_details import details, environ_by, environ_operations, with_more_args
from tracer.host.processes import Host
from tracer.stream.pidns import INITIAL_PIDNS, Number
from tracer.system.broker import Local

SPACES = PidnsIds()


def test_a_process_whole() -> None:
    # Popen() is back before the kernel has put the arguments in place: the child says when it is there.
    child = subprocess.Popen(["sh", "-c", "echo; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout and child.stdout.readline()
        found = procfs.living(child.pid, SPACES.of)
        assert found is not None
        assert (found.tgid, found.numbers[0], found.parent_tgid) == (child.pid, child.pid, os.getpid())
        assert (found.uid, found.comm, found.args) == (os.getuid(), b"sh", b"sh\0-c\0echo; read x\0")
        assert found.exe == os.fsencode(Path(f"/proc/{child.pid}/exe").readlink())
        assert found.proc_id.start_ns == (procfs.start_ticks(child.pid) or 0) * procfs.TICK_NS
        assert found.cgroups and all(path.startswith("/") for path in found.cgroups)
        assert found.level > 0 or found.chain == (Number(INITIAL_PIDNS, child.pid),)
    finally:
        child.kill()
        child.communicate()
    assert procfs.living(child.pid, SPACES.of) is None


@contextmanager
def long_winded() -> Iterator[int]:
    """The PID of a process with half a MB of arguments and more than a MB of environment."""
    argv = ["sh", "-c", "echo; read x", *["a" * 120_000] * 4]
    environment = {f"V{number}": "x" * 120_000 for number in range(10)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, env=environment, **pipes) as child:
        assert child.stdout and child.stdout.readline()
        yield child.pid
        child.communicate(b"\n")


def test_of_long_arguments_the_beginning_is_read() -> None:
    with long_winded() as tgid:
        found = procfs.living(tgid, SPACES.of)
        listed = next(process for process in procfs.processes(SPACES.of) if process.tgid == tgid)
        assert found is not None
        for process in (found, listed):
            assert process.args == (b"sh\0-c\0echo; read x\0" + b"a" * 5000)[:4096]
            assert process.args_truncated
        assert len(Proc(Local(proc_operations(300_000))).commands([found.proc_id], 300_000)[0].args) == 300_000
    ours = procfs.living(os.getpid(), SPACES.of)
    assert ours is not None
    assert not ours.args_truncated


def test_one_process_is_read_further_but_not_without_end() -> None:
    host = Host(lambda _id: None)
    with long_winded() as tgid:
        process = host.process(tgid)
        assert process is not None
        entry = entry_of(host, process)
        assert (len(entry.args or b""), entry.args_truncated) == (4096, True)
        more = with_more_args(entry)
        assert (len(more.args or b""), more.args_truncated) == (128 << 10, True)
        found = details(process, environ_by(Local(environ_operations())))
        assert (len(found.environ or b""), found.environ_truncated) == (1 << 20, True)
    short = dataclasses.replace(entry, args=b"sh\0", args_truncated=False)
    assert with_more_args(short) is short
    assert with_more_args(entry) is entry  # it has exited


def test_a_zombie_is_there_until_it_is_reaped() -> None:
    child = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    found = procfs.living(child.pid, SPACES.of)
    assert found is not None
    assert (found.is_zombie, found.exe, found.args) == (True, b"", b"")
    child.wait()
    assert procfs.living(child.pid, SPACES.of) is None


def test_the_number_of_a_thread_leads_to_its_process() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert thread.native_id != os.getpid()
        found = procfs.living(thread.native_id or 0, SPACES.of)
        assert found is not None
        assert found.tgid == os.getpid()
        assert procfs.has_thread(os.getpid(), 0, thread.native_id or 0)
        assert not procfs.has_thread(os.getpid(), 0, 1)
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("name", [b"a b", b") R 1 (", b"x\ny", b"\xff\x1b[31m"])
def test_a_command_name_may_hold_anything(name: bytes) -> None:
    code = f"import pathlib, sys; pathlib.Path('/proc/self/comm').write_bytes({name!r}); print(flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout and child.stdout.readline() == b"\n"
    found = procfs.living(child.pid, SPACES.of)
    child.communicate(b"\n")
    assert found is not None
    assert (found.comm, found.parent_tgid) == (name, os.getpid())


def test_all_processes_while_some_end() -> None:
    children = [subprocess.Popen(["/bin/sleep", "600"]) for _ in range(5)]
    seen: list[int] = []
    for found in procfs.processes(SPACES.of):
        if not seen:
            for child in children[1:]:
                child.kill()
                child.wait()
        seen.append(found.tgid)
    children[0].kill()
    children[0].wait()
    assert seen == sorted(seen)
    assert {os.getpid(), children[0].pid} <= set(seen)
    assert not {child.pid for child in children[1:]} & set(seen[1:])


def test_when_it_began_by_the_wall_clock() -> None:
    host = Host(lambda _id: None)
    before = time.time_ns()
    child = subprocess.Popen(["/bin/sleep", "600"])
    after = time.time_ns()
    found = host.process(child.pid)
    child.kill()
    child.wait()
    assert found is not None
    assert before - 2 * procfs.TICK_NS <= host.started_ns(found) <= after + procfs.TICK_NS
