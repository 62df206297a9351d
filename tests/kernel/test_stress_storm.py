"""Full speed on all cores: nothing lost with the ring that is the default, every pair right, the table as /proc."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from oracle import Ledger, Receiver
from stack import Space, Stack, eventually, identities, numbers_of_proc, size

from tracer.events import Kind
from tracer.kernel.trace import now_ns
from tracer.table import Table

pytestmark = pytest.mark.kernel
CPUS = os.cpu_count() or 1


def finish(stack: Stack, space: Space) -> bytes:
    """Read until it has ended and the table knows; what it printed."""
    stack.read(space.has_ended)
    stack.read(lambda: not stack.numbers(space.inum))
    eventually(space.is_empty)
    return space.line()


@pytest.mark.parametrize(("count", "how"), [(size(5000, 400_000), "exec"), (size(50_000, 1_000_000), "fork")])
def test_nothing_is_lost(count: int, how: str, workload: Path) -> None:
    with Stack() as stack:
        storm = Space(workload, "storm", count, CPUS, how)
        ledger = Ledger.parse(finish(stack, storm))
        stack.stop()
        forks, execs, exits = (stack.rows(storm, kind) for kind in (Kind.FORK, Kind.EXEC, Kind.EXIT))
    assert stack.trace.lost == 0
    assert stack.account.differences() == []
    assert len(forks) == ledger.forks + 1  # the storm itself
    assert len(execs) == ledger.execs + 2
    assert Counter(identities(forks)) == Counter(identities(exits)), "one exit for each"
    statuses = Counter((exits["status"][exits["tgid"] != forks["tgid"][0]] >> 8).tolist())
    assert statuses == ledger.exits


def test_every_pair_is_right_in_a_storm(workload: Path, receiver: Receiver) -> None:
    count = size(2000, 50_000)
    with Stack() as stack:
        noise = Space(workload, "storm", 1_000_000, CPUS)
        pairs = Space(workload, "pairs", receiver.path, count, "seq", 0, "nowait")
        stack.read(pairs.has_ended)
        noise.kill()
        stack.stop()
        forks = stack.rows(pairs, Kind.FORK)[1:]
    assert stack.trace.lost == 0
    truth = [(pair.host_tgid, pair.ns_pid, pair.ns_ppid) for pair in receiver.wait(count)]
    told = zip(forks["tgid"].tolist(), forks["chain"]["nr"][:, 0].tolist(), forks["parent_vtgid"].tolist(), strict=True)
    assert list(told) == truth


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """A cgroup with room for 8 processes, lest the bomb have the machine; all in it are killed in the end."""
    base = next(
        (path for path in map(Path, ("/sys/fs/cgroup/pids", "/sys/fs/cgroup")) if (path / "cgroup.procs").exists()),
        None,
    )
    assert base, "no cgroups"
    own = base / f"nstrace-test-{os.getpid()}"
    own.mkdir()
    try:
        (own / "pids.max").write_text("8")
        yield own
    finally:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for tgid in (own / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(tgid), 9)
            with suppress(OSError):
                own.rmdir()
                break
            time.sleep(0.01)


def test_a_fork_bomb_beside_a_quiet_one(workload: Path, small_cgroup: Path, receiver: Receiver) -> None:
    with Stack() as stack:
        bomb = Space("sh", "-c", f"echo 0 > {small_cgroup}/cgroup.procs; exec {workload} bomb")
        stack.read(lambda: len(stack.numbers(bomb.inum)) > 4)
        quiet = Space(workload, "pairs", receiver.path, 20, "exec", 0, "nowait")
        stack.read(quiet.has_ended)
        bomb.kill()
        stack.read(lambda: not stack.numbers(bomb.inum))
        stack.stop()
        forks, exits = (identities(stack.rows(bomb, kind)) for kind in (Kind.FORK, Kind.EXIT))
        told = stack.rows(quiet, Kind.FORK)[1:]
    assert stack.trace.lost == 0
    assert Counter(forks) == Counter(exits)
    truth = [(pair.host_tgid, pair.ns_pid) for pair in receiver.wait(20)]
    assert list(zip(told["tgid"].tolist(), told["chain"]["nr"][:, 0].tolist(), strict=True)) == truth


def test_attached_in_the_middle_nobody_is_missing_and_nobody_is_there_twice(workload: Path) -> None:
    crowd = Space(workload, "crowd", size(2000, 5000))
    storm = Space(workload, "storm", 1_000_000, CPUS)
    assert crowd.line()
    with Stack() as stack:
        attached_ns = now_ns()
        before = len(stack.batch)
        stack.read(lambda: len(stack.batch) > before + 10_000)
        storm.kill()
        stack.read(lambda: not stack.numbers(storm.inum))
        assert stack.numbers(crowd.inum) == numbers_of_proc(crowd.inum)
        stack.stop()
        for space in (crowd, storm):
            appeared = Counter(identities(stack.rows(space, Kind.FORK, Kind.SNAPSHOT)))
            ended = Counter(identities(stack.rows(space, Kind.EXIT)))
            assert {*appeared.values(), *ended.values()} <= {1}
            unknown = [start_ns for _tgid, start_ns in set(ended) - set(appeared)]
            assert all(start_ns < attached_ns for start_ns in unknown), "ended before the list came to it"
    crowd.kill()


def test_two_at_once_tell_the_same(workload: Path) -> None:
    with Stack() as one, Stack() as other:
        storm = Space(workload, "storm", 2000, CPUS)
        ledger = Ledger.parse(finish(one, storm))
        other.read(lambda: not other.numbers(storm.inum))
        told = []
        for stack in (one, other):
            stack.stop()
            told.append([sorted(identities(stack.rows(storm, kind))) for kind in (Kind.FORK, Kind.EXEC, Kind.EXIT)])
    assert told[0] == told[1]
    assert len(told[0][0]) == ledger.forks + 1


def test_a_table_that_is_too_small_forgets_and_says_so(workload: Path) -> None:
    with Stack(table=Table(300)) as stack:
        crowd = Space(workload, "crowd", 500)
        assert crowd.line()
        stack.read(lambda: stack.table.evicted_living >= 200)
        assert len(stack.table) == 300
        truth = numbers_of_proc(crowd.inum)
        assert stack.numbers(crowd.inum).items() <= truth.items()
        crowd.kill()
