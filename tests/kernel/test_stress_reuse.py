"""Numbers of processes and of namespaces are given away at once: nobody is taken for who had them before."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest
from oracle import Ledger, Receiver
from stack import Space, Stack, identities, size

from tracer.events import Kind

pytestmark = pytest.mark.kernel


def test_one_number_again_and_again(workload: Path, receiver: Receiver) -> None:
    count, nr = size(1000, 10_000), 777
    with Stack() as stack:
        reuse = Space(workload, "reuse", receiver.path, count, nr)
        asked: list[int | None] = []

        def ask() -> bool:
            living = [process for process in stack.table.living() if process.path[-1].inum == reuse.inum]
            asked.extend(stack.table.to_host(process.path[-1], nr) for process in living[:1])
            return reuse.has_ended()

        stack.read(ask)
        stack.stop()
        forks, exits = stack.rows(reuse, Kind.FORK)[1:], stack.rows(reuse, Kind.EXIT)[:-1]
    truth = [pair.host_tgid for pair in receiver.wait(count)]
    assert forks["tgid"].tolist() == truth
    assert set(forks["chain"]["nr"][:, 0].tolist()) == {nr}
    assert identities(exits) == identities(forks)
    assert (exits["status"] >> 8).tolist() == [index % 200 for index in range(count)]
    assert set(asked) <= {None, *truth}


def test_round_a_space_of_ten_numbers(workload: Path) -> None:
    if not Path("/proc/sys/kernel/pid_max").exists():
        pytest.skip("no pid_max")
    with Stack() as stack:
        turning = Space(workload, "round", size(10_000, 1_000_000))
        stack.read(turning.has_ended)
        ledger = Ledger.parse(turning.line())
        stack.stop()
        forks, exits = stack.rows(turning, Kind.FORK)[1:], stack.rows(turning, Kind.EXIT)[:-1]
    assert stack.trace.lost == 0
    assert len(forks) == len(exits) == ledger.forks
    # it begins behind its own number; 300 is RESERVED_PIDS, kernel/pid.c
    assert set(forks["chain"]["nr"][310:, 0].tolist()) <= set(range(300, 310))
    assert identities(forks) == identities(exits)
    assert forks["chain"]["nr"].tolist() == exits["chain"]["nr"].tolist()


def test_namespaces_one_after_the_other(workload: Path, receiver: Receiver) -> None:
    """Each has one process; the kernel gives the next one the inode number of the last."""
    count = size(200, 1000)
    with Stack() as stack:
        churn = subprocess.Popen([workload, "churn", receiver.path, str(count)], stdout=subprocess.PIPE)
        stack.read(lambda: churn.poll() is not None)
        stack.stop()
        rows = stack.batch.rows
    pairs = receiver.wait(count)
    inums = [pair.pidns for pair in pairs]
    assert len(set(inums)) < count / 2, "no inode number was used twice"
    forks = rows[(rows["kind"] == Kind.FORK) & (rows["chain"]["nr"][:, 0] == 1)]
    innermost = {
        tgid: (inum, gen)
        for tgid, (inum, _nr, gen) in zip(forks["tgid"].tolist(), forks["chain"][:, 0].tolist(), strict=True)
    }
    assert [innermost[pair.host_tgid][0] for pair in pairs] == inums
    generations = Counter(innermost[pair.host_tgid] for pair in pairs)
    assert max(generations.values()) == 1, "two namespaces are taken for one"
    exits = rows[rows["kind"] == Kind.EXIT]
    statuses = {
        tgid: status >> 8 for tgid, status in zip(exits["tgid"].tolist(), exits["status"].tolist(), strict=True)
    }
    assert [statuses[pair.host_tgid] for pair in pairs] == [pair.index % 200 for pair in pairs]
    assert not any(stack.numbers(inum) for inum in set(inums) if inum)
