"""A consumer that does not read: what it misses is said exactly, and the table is right soon after."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import figures
import pytest
from following import Event, Following, alive, lost
from oracle import Ledger
from stack import LONG, Space, eventually, numbers_of_proc, size

pytestmark = pytest.mark.kernel
NSTRACE = [sys.executable, "-m", "tracer"]


def living(events: list[Event], inum: int) -> dict[int, int]:
    """What someone who reads the stream believes: host PID by number in a namespace."""
    return {event["ns_pid"]: event["pid"] for event in alive(events) if event["pidns"] == inum}


@pytest.mark.parametrize("seconds", [1, 10, 60] if LONG else [1])
def test_stopped_under_load(seconds: int, workload: Path) -> None:
    first = Space(workload, "crowd", 100)
    assert first.line()
    with Following("--buffer-size", "0.25", "all") as follow:
        follow.until(lambda events: len(living(events, first.inum)) == 101)
        follow.process.send_signal(signal.SIGSTOP)
        storm, until = Space(workload, "storm", 10_000_000, 2), time.monotonic() + seconds
        first.kill()
        second = Space(workload, "crowd", 100)
        assert second.line()
        eventually(lambda: time.monotonic() > until)
        storm.kill()
        follow.process.send_signal(signal.SIGCONT)
        began = time.monotonic()
        truth = numbers_of_proc(second.inum)
        follow.until(lambda events: living(events, second.inum) == truth and events[-1]["event"] != "gap")
        took = time.monotonic() - began
        stream = living(follow.events(), second.inum)
        second.kill()
        memory = figures.peak_mib(follow.process.pid)
        events = follow.stop()
    figures.note(
        f"SIGSTOP of {seconds} s under a storm, ring of 256 KiB",
        "101 processes gone meanwhile, 101 others come",
        told=sum(event["event"] in ("fork", "exec", "exit") for event in events),
        lost=lost(events),
        wrong=len(stream.items() ^ truth.items()),
        more=f"stream right after {took:.1f} s; {memory}",
    )
    assert lost(events) > 100
    assert first.inum == second.inum or not living(events, first.inum)
    assert f"{lost(events)} lost" in follow.stderr
    assert "does not add up" not in follow.stderr
    assert took < 2 + 3  # to read what the ring has, and the lines of this test's own reader


@pytest.fixture
def resident(workload: Path) -> Iterator[Space]:
    """Someone who is there from the beginning, so that there is something to print."""
    space = Space(workload, "crowd", 1)
    assert space.line()
    yield space
    space.kill()


@pytest.fixture
def stuck_pipe() -> Iterator[tuple[int, int]]:
    """A pipe of a page that nobody reads."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    yield reading, writing
    for fd in (reading, writing):
        with suppress(OSError):
            os.close(fd)


def test_a_pipe_that_is_not_read_and_then_is(stuck_pipe: tuple[int, int], resident: Space, workload: Path) -> None:
    reading, writing = stuck_pipe
    argv = [*NSTRACE, "follow", "--json", "--buffer-size", "0.0625", "all"]
    with subprocess.Popen(argv, stdout=writing, stderr=subprocess.PIPE) as follow:
        os.close(writing)
        out = bytearray(os.read(reading, 1))  # the processes that are there
        storm = Space(workload, "storm", 5000, 2)
        eventually(storm.has_ended)
        crowd = Space(workload, "crowd", 20)
        assert crowd.line()
        truth = numbers_of_proc(crowd.inum)

        def events() -> list[Event]:
            out.extend(os.read(reading, 1 << 16))
            return [json.loads(line) for line in out.split(b"\n")[:-1]]

        eventually(lambda: living(events(), crowd.inum) == truth)
        crowd.kill()
        follow.send_signal(signal.SIGINT)
        while more := os.read(reading, 1 << 16):
            out.extend(more)
        assert follow.stderr
        stderr = follow.stderr.read().decode()
    assert follow.returncode == 0, stderr
    all_events = [json.loads(line) for line in out.splitlines()]
    assert lost(all_events) > 0
    assert f"{lost(all_events)} lost" in stderr
    assert "does not add up" not in stderr


def test_a_pipe_that_is_not_read_does_not_stop_the_recording(
    stuck_pipe: tuple[int, int], resident: Space, workload: Path, tmp_path: Path
) -> None:
    reading, writing = stuck_pipe
    recording = tmp_path / "run.arrows"
    argv = [*NSTRACE, "follow", "--json", "-w", str(recording), "all"]
    with subprocess.Popen(argv, stdout=writing, stderr=subprocess.DEVNULL) as follow:
        os.close(writing)
        os.read(reading, 1)
        storm = Space(workload, "storm", 2000, 2)
        forks = Ledger.parse(storm.line()).forks
        eventually(lambda: lives_in(recording, storm) == (forks + 1, forks + 1), every_s=0.1)
        follow.kill()


def lives_in(recording: Path, space: Space) -> tuple[int, int]:
    """How many forks and exits of a namespace's processes a recording has, as far as it is written."""
    done = subprocess.run([*NSTRACE, "replay", "--json", recording], capture_output=True, check=True)
    inside = [event for event in map(json.loads, done.stdout.splitlines()) if event.get("pidns") == space.inum]
    born = next((event for event in inside if event["pid"] == space.init), None)
    kinds = [event["event"] for event in inside if born and event["pidns_gen"] == born["pidns_gen"]]
    return kinds.count("fork"), kinds.count("exit")


def test_a_second_ctrl_c_ends_it_though_nobody_reads(
    stuck_pipe: tuple[int, int], resident: Space, workload: Path
) -> None:
    reading, writing = stuck_pipe
    with subprocess.Popen([*NSTRACE, "follow", "--json", "all"], stdout=writing, stderr=subprocess.PIPE) as follow:
        os.close(writing)
        os.read(reading, 1)
        eventually(Space(workload, "storm", 200, 1).has_ended)
        deadline = time.monotonic() + 30
        while follow.poll() is None and time.monotonic() < deadline:
            follow.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                follow.wait(0.2)
        assert follow.stderr
        stderr = follow.stderr.read().decode()
        assert follow.poll() == 1, stderr
        assert " 0 lost" in stderr
        assert stderr.splitlines()[-1].startswith("nstrace: cut off: ")


def programs_of(pid: int | str) -> set[bytes]:
    """Ids of eBPF programs that a process holds."""
    held = set()
    with suppress(OSError):
        for fdinfo in Path(f"/proc/{pid}/fdinfo").iterdir():
            with suppress(OSError):
                held |= {line.split()[1] for line in fdinfo.read_bytes().splitlines() if line.startswith(b"prog_id:")}
    return held


def has_programs(pid: int) -> bool:
    return bool(programs_of(pid))


def programs_of_nobody() -> set[bytes]:
    """Ids of eBPF programs of ours that no living process holds: what would stay attached for ever."""
    import ctypes

    libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    held = set().union(*(programs_of(entry.name) for entry in Path("/proc").glob("[0-9]*")))
    found, number = set(), ctypes.c_uint32(0)
    while not libbpf.bpf_prog_get_next_id(number, ctypes.byref(number)):
        fd = libbpf.bpf_prog_get_fd_by_id(number)
        if fd < 0:
            continue
        info, length = ctypes.create_string_buffer(232), ctypes.c_uint32(232)
        libbpf.bpf_obj_get_info_by_fd(fd, info, ctypes.byref(length))
        os.close(fd)
        if info.raw[64:80].startswith(b"nstrace_"):  # name, include/uapi/linux/bpf.h
            found.add(str(number.value).encode())
    return found - held


def test_killed_at_any_moment_it_leaves_nothing_behind() -> None:
    mounts, attached = mounted(), 0
    for number in range(size(8, 60)):
        follow = subprocess.Popen([*NSTRACE, "follow", "-q", "all"], stdout=subprocess.DEVNULL)
        if number == 0:
            eventually(partial(has_programs, follow.pid))
        with suppress(subprocess.TimeoutExpired):
            follow.wait(random.uniform(0, 1.5))  # a random moment is what is tested
        attached += bool(programs_of(follow.pid))
        follow.kill()
        follow.wait()
    eventually(lambda: not programs_of_nobody())
    left = mounted() - mounts
    figures.note(
        "kill -9 of nstrace at any moment",
        f"{number + 1} times, {attached} of them attached",
        told=0,
        lost=0,
        wrong=len(left) + len(programs_of_nobody()),
        more="no program and no mount stays",
    )
    assert attached
    assert not left


def mounted() -> set[str]:
    """Mounts of the kinds that tracing tools make; others on this machine make others."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return {line for line in lines if line.split()[2] in ("bpf", "tracefs", "debugfs") or "nstrace" in line}
