"""The programs in the real kernel: what they tell against what the kernel says by other ways."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import figures
import numpy as np
import pytest
from stack import close_trace, open_trace

from tracer.kernel.loader_client import Loading
from tracer.kernel.maps import Reader
from tracer.kernel.options import LoadOptions, ring_bytes_for
from tracer.kernel.trace import Trace
from tracer.stream.batch import Batch, split_args
from tracer.stream.decoding import Decoded
from tracer.stream.pidns import chain_of
from tracer.stream.schema import Flag, Kind

pytestmark = pytest.mark.kernel
DEADLINE_S = 20
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@pytest.fixture
def trace() -> Iterator[Trace]:
    running = open_trace(LoadOptions())
    yield running
    close_trace(running)


def until_exit_of(trace: Trace, tgid: int) -> Batch:
    """All events up to the exit of this process."""
    parts: list[Decoded] = []
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        parts.append(trace.poll(0.1))
        rows = parts[-1].batch.rows
        if ((rows["tgid"] == tgid) & (rows["kind"] == Kind.EXIT)).any():
            return Batch.concat(part.batch for part in parts)
    raise AssertionError(f"no exit of {tgid} within {DEADLINE_S} s")


def of(batch: Batch, tgid: int) -> list[int]:
    return np.flatnonzero(batch.rows["tgid"] == tgid).tolist()


def nspid(tgid: int) -> list[int]:
    status = Path(f"/proc/{tgid}/status").read_text()
    return [int(nr) for nr in status.split("NSpid:")[1].split("\n")[0].split()]


def test_what_happens_before_and_after_it_is_not_reported() -> None:
    """Programs are attached one after the other: what they see until all are, and while they go, is of some kinds."""
    options = LoadOptions()
    loaded = Loading(options).wait()
    children = [subprocess.Popen(["true"])]
    children[0].wait()
    trace = Trace(loaded, options)
    children.append(subprocess.Popen(["true"]))
    children[1].wait()
    batch = until_exit_of(trace, children[1].pid)
    trace.maps.say(Reader.CLOSED)
    children.append(subprocess.Popen(["true"]))
    children[2].wait()
    batch = Batch.concat([batch, trace.finish().batch])
    assert [len(of(batch, child.pid)) for child in children] == [0, 3, 0]
    assert trace.account().differences() == []
    close_trace(trace)


def test_fork_exec_exit_of_a_child(trace: Trace) -> None:
    child = subprocess.Popen(["/bin/sh", "-c", "exit 7", "a b", "", "\x1b[31m"])
    child.wait()
    batch = until_exit_of(trace, child.pid)
    fork, execed, exited = of(batch, child.pid)
    rows = batch.rows
    assert rows["kind"][[fork, execed, exited]].tolist() == [Kind.FORK, Kind.EXEC, Kind.EXIT]
    assert rows["parent_tgid"][fork] == os.getpid()
    assert rows["uid"][fork] == os.getuid()
    assert batch.payload(execed).exe == b"/bin/sh"
    assert split_args(batch.payload(execed).args) == [b"/bin/sh", b"-c", b"exit 7", b"a b", b"", b"\x1b[31m"]
    assert os.waitstatus_to_exitcode(int(rows["status"][exited])) == 7
    assert len(set(rows["start_ns"][[fork, execed, exited]].tolist())) == 1


def test_events_gather_ahead_of_a_read_where_each_is_dear(trace: Trace) -> None:
    trace.gather_from_s = trace.gather_up_to_s = 0.5
    most, until = 0, time.monotonic() + DEADLINE_S
    while most < 3 and time.monotonic() < until:
        child = subprocess.Popen(["/bin/true"])
        reads = [trace.poll(5.0).batch for _read in range(2)]  # the first may be one that waited already
        child.wait()
        most = max(len(of(read, child.pid)) for read in reads)
    assert most == 3  # fork, exec and exit at once, though the first of them ends a wait


def test_truncated_arguments_are_marked(trace: Trace) -> None:
    child = subprocess.Popen(["/bin/true", "x" * 100_000])
    child.wait()
    batch = until_exit_of(trace, child.pid)
    execed = of(batch, child.pid)[1]
    row = batch.rows[execed]
    assert row["flags"] & Flag.ARGS_TRUNCATED
    assert row["args_len"] == 4096
    assert row["args_total"] == len("/bin/true") + 1 + 100_000 + 1
    assert batch.payload(execed).args == b"/bin/true\0" + b"x" * (4096 - 10)


@pytest.mark.parametrize("depth", [1, 3, 4, 5, 12, 32])
def test_every_number_at_every_depth(trace: Trace, depth: int) -> None:
    argv = ["unshare", "--fork", "--pid", "--kill-child"] * depth + ["sh", "-c", "echo ready; read line"]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin and child.stdout and child.stdout.readline() == b"ready\n"
    innermost = child.pid
    while children := Path(f"/proc/{innermost}/task/{innermost}/children").read_text().split():
        innermost = int(children[0])
    told_by_proc = nspid(innermost)
    inum = Path(f"/proc/{innermost}/ns/pid").stat().st_ino
    snapshot = trace.snapshot().batch
    child.communicate(b"\n")
    batch = until_exit_of(trace, child.pid)
    assert len(told_by_proc) == depth + 1
    wrong = 0
    for source, index in [(snapshot, of(snapshot, innermost)[0]), *((batch, i) for i in of(batch, innermost))]:
        chain = chain_of(source, index)
        told = [int(source.rows["tgid"][index]), *(number.nr for number in chain)]
        wrong += figures.differing(told, told_by_proc)
        assert told == told_by_proc
        assert chain[-1].pidns.inum == inum
        assert len({number.pidns for number in chain}) == depth
    figures.note(
        f"{depth + 1} levels",
        "1 process",
        told=len(of(batch, innermost)),
        lost=trace.lost,
        wrong=wrong,
        more="every PID",
    )


def test_snapshot_agrees_with_proc(trace: Trace) -> None:
    snapshot = trace.snapshot().batch
    checked = 0
    for row in snapshot.rows:
        try:
            numbers = nspid(int(row["tgid"]))
            stat = Path(f"/proc/{row['tgid']}/stat").read_bytes()
        except OSError:
            continue  # gone since
        fields = stat[stat.rindex(b")") + 2 :].split()
        assert int(fields[19]) == int(row["start_ns"]) // TICK_NS
        assert numbers[0] == row["tgid"]
        assert len(numbers) == row["level"] + 1
        checked += 1
    assert checked > 5
    assert os.getpid() in snapshot.rows["tgid"]


def test_snapshot_leaves_nobody_out(trace: Trace) -> None:
    children = [subprocess.Popen(["sleep", "60"]) for _ in range(300)]
    before = {int(path.name) for path in Path("/proc").glob("[0-9]*")}
    listed = trace.snapshot().batch.rows["tgid"].tolist()
    after = {int(path.name) for path in Path("/proc").glob("[0-9]*")}
    for child in children:
        child.kill()
        child.wait()
    assert len(set(listed)) == len(listed)
    assert {child.pid for child in children} <= set(listed)
    assert not [tgid for tgid in before & after - set(listed) if is_ours_to_see(tgid)]


def is_ours_to_see(tgid: int) -> bool:
    """A hardened kernel may hide a process with more capabilities than ours, from its own iterator too."""
    try:
        return bool(Path(f"/proc/{tgid}/ns/pid").readlink())
    except PermissionError:
        return False


def test_ring_too_small_loses_and_says_exactly_how_many() -> None:
    trace = open_trace(LoadOptions(ring_bytes=ring_bytes_for(1)))
    try:
        cpu = str(min(os.sched_getaffinity(0)))
        for _ in range(60):
            subprocess.run(["taskset", "-c", cpu, "/bin/true"], check=True)
        parts = [trace.poll(0.2).batch]
        behind = subprocess.Popen(["taskset", "-c", cpu, "/bin/true"])
        behind.wait()
        parts += [trace.poll(0.2).batch for _ in range(3)]
        parts.append(trace.finish().batch)
        account = trace.account()
    finally:
        close_trace(trace)
    batch = Batch.concat(parts)
    gaps = batch.rows[batch.rows["kind"] == Kind.GAP]
    events = len(batch) - len(gaps)
    assert account.total("failed") > 0
    assert account.total("attempts") == events + int(gaps["seq"].sum())
    assert account.differences() == []
    assert (gaps["start_ns"] < gaps["ts_ns"]).all()
    exits = (batch.rows["tgid"] == behind.pid) & (batch.rows["kind"] == Kind.EXIT)
    lost = (batch.rows["kind"] == Kind.GAP) & (batch.rows["cpu"] == int(cpu))
    assert np.flatnonzero(lost)[0] < np.flatnonzero(exits)[0], "the gap is where the events are missing"


def test_a_loader_that_is_abandoned_leaves_no_files() -> None:
    before = set(Path("/run").glob("nstrace-*"))
    loading = Loading(LoadOptions(max_args_bytes=os.getpid() % 4096 + 1))  # most likely never compiled before
    loading.abandon()
    assert set(Path("/run").glob("nstrace-*")) <= before


def test_threads_only_when_asked() -> None:
    code = "import threading; t = threading.Thread(target=lambda: None); t.start(); t.join()"
    seen = {}
    for threads in (False, True):
        trace = open_trace(LoadOptions(threads=threads))
        try:
            child = subprocess.Popen(["/usr/bin/python3", "-c", code])
            child.wait()
            batch = until_exit_of(trace, child.pid)
        finally:
            close_trace(trace)
        seen[threads] = [Kind(kind).name for kind in batch.rows["kind"][of(batch, child.pid)].tolist()]
    assert seen[False] == ["FORK", "EXEC", "EXIT"]
    assert seen[True] == ["FORK", "EXEC", "THREAD_FORK", "THREAD_EXIT", "EXIT"]
