"""Somebody else writes our maps: it is said that the counters are broken, and nothing hangs or makes losses of it.

Root can (bpf(2), BPF_MAP_GET_FD_BY_ID), and so could the command of nstrace run when it inherited them.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct
import subprocess
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import wait_for
from following import Following
from stack import Space

from tracer.errors import ExitCode
from tracer.stream.account import COUNTS
from tracer.system.cpus import cpu_count

pytestmark = pytest.mark.kernel
LIBBPF = ctypes.CDLL("libbpf.so.1", use_errno=True)
ARRAY, RINGBUF = 2, 27  # enum bpf_map_type, include/uapi/linux/bpf.h


def map_of(pid: int, kind: int, value_bytes: int = 0) -> int:
    """A descriptor of our own of the map of this type and size of values that a process holds."""
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):
            facts = dict(line.split(":", 1) for line in entry.read_text().splitlines())
            if int(facts.get("map_type", -1)) == kind and int(facts["value_size"]) == value_bytes:
                fd: int = LIBBPF.bpf_map_get_fd_by_id(int(facts["map_id"]))
                assert fd >= 0
                return fd
    raise AssertionError(f"no map of type {kind}")


def write_counts(pid: int, change: Callable[[np.ndarray], None]) -> None:
    """Change what each CPU has counted."""
    fd, value = map_of(pid, ARRAY, COUNTS.itemsize), ctypes.create_string_buffer(COUNTS.itemsize)
    for cpu in range(cpu_count()):
        assert not LIBBPF.bpf_map_lookup_elem(fd, struct.pack("<I", cpu), value)
        counts = np.frombuffer(bytearray(value.raw), COUNTS)
        change(counts)
        assert not LIBBPF.bpf_map_update_elem(fd, struct.pack("<I", cpu), counts.tobytes(), ctypes.c_uint64(0))
    os.close(fd)


def failed_is_huge(counts: np.ndarray) -> None:
    counts["failed"] = 2**64 - 16


def submitted_goes_back(counts: np.ndarray) -> None:
    counts["submitted"] = 0


def seq_goes_back(counts: np.ndarray) -> None:
    counts["seq"] = 1


def seq_jumps(counts: np.ndarray) -> None:
    counts["seq"] = 2**63


def move_consumer(pid: int, to: Callable[[int], int]) -> None:
    """As who holds the ring can: its first page is writable."""
    fd = map_of(pid, RINGBUF)
    with closing(mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED)) as page:
        page[:8] = struct.pack("<Q", to(*struct.unpack("<Q", page[:8])))
    os.close(fd)


def end(follow: Following) -> str:
    """Ctrl-C, and what it said; under --require-complete these are lost events."""
    follow.process.send_signal(signal.SIGINT)
    stderr = follow.process.communicate(timeout=30)[1].decode()
    assert follow.process.returncode == ExitCode.EVENTS_LOST, stderr
    assert "18446744073" not in "".join(line for line in stderr.splitlines() if "broken" not in line)
    assert "Traceback" not in stderr
    return stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (failed_is_huge, "failed is"),
        (submitted_goes_back, "delivered"),
        (seq_goes_back, "the sequence numbers jump"),
        (seq_jumps, "the sequence numbers jump"),
    ],
)
def test_counters_that_cannot_be(change: Callable[[np.ndarray], None], said: str) -> None:
    with Following("--require-complete", "host", "all") as follow:
        follow.ready()
        subprocess.run(["/bin/true", "before"], check=True)
        follow.until(lambda events: any("before" in (event.get("args") or ()) for event in events))
        write_counts(follow.process.pid, change)
        for _ in range(4 * (os.cpu_count() or 1)):
            subprocess.run(["/bin/true", "behind"], check=True)
        follow.until(lambda events: sum("behind" in (event.get("args") or ()) for event in events) > 0)
        stderr = end(follow)
        assert all(event.get("lost", 0) < 1_000_000 for event in follow.events())
    line = next(line for line in stderr.splitlines() if "the counters are broken" in line)
    assert said in line
    assert "does not add up" not in stderr


@pytest.mark.parametrize("by", [-(1 << 16), 1 << 12, 1 << 62])
def test_a_ring_whose_reader_was_moved(by: int, workload: Path) -> None:
    with Following("--require-complete", "--buffer-size", "0.0625", "host", "all") as follow:
        follow.ready()
        storm = Space(workload, "storm", 10_000_000, 2)
        follow.until(lambda events: sum(event.get("ns_pid") == 1 for event in events) > 0)
        follow.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: "\nState:\tT" in Path(f"/proc/{follow.process.pid}/status").read_text())
        move_consumer(follow.process.pid, lambda at: (at + by) % 2**64)
        follow.process.send_signal(signal.SIGCONT)
        storm.kill()
        subprocess.run(["/bin/true", "behind"], check=True)
        stderr = end(follow)
    assert "the counters are broken: " in stderr
