"""Numbers of processes and of namespaces are given away at once: nobody is taken for who had them before."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import figures
import pytest
from oracle import Ledger, Receiver
from stack import Space, Stack, identities, size

from tracer.stream.schema import Kind

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
    wrong = figures.differing(forks["tgid"].tolist(), truth) + len(set(asked) - {None, *truth})
    figures.note(
        "one number again and again (ns_last_pid)",
        f"{figures.count(count)} processes",
        told=len(forks) + len(exits),
        lost=stack.trace.lost,
        wrong=wrong,
        more=f"the table was asked {figures.count(len(asked))} times meanwhile",
    )
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
    numbers = forks["chain"]["nr"][:, 0].tolist()
    # one child at a time: the kernel gives it the next number (idr_alloc_cyclic()), from its parent's 1 on; behind 309
    # comes 300 (RESERVED_PIDS, kernel/pid.c); the workload gives the codes
    truth = [nr if nr < 310 else 300 + nr % 10 for nr in range(2, ledger.forks + 2)]
    codes = [index % 200 for index in range(ledger.forks)]
    figures.note(
        "round a space of ten numbers",
        f"{figures.count(ledger.forks)} processes",
        told=len(forks) + len(exits),
        lost=stack.trace.lost,
        wrong=figures.differing(numbers, truth) + figures.differing((exits["status"] >> 8).tolist(), codes),
        more="number and exit code of each",
    )
    assert stack.trace.lost == 0
    assert numbers == truth
    assert (exits["status"] >> 8).tolist() == codes
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
    told = [innermost[pair.host_tgid][0] for pair in pairs]
    figures.note(
        "namespaces one after the other",
        f"{figures.count(count)}, with {len(set(inums))} inode numbers",
        told=len(forks),
        lost=stack.trace.lost,
        wrong=figures.differing(told, inums) + count - len({innermost[pair.host_tgid] for pair in pairs}),
        more="each has a generation of its own",
    )
    assert told == inums
    generations = Counter(innermost[pair.host_tgid] for pair in pairs)
    assert max(generations.values()) == 1, "two namespaces are taken for one"
    exits = rows[rows["kind"] == Kind.EXIT]
    statuses = {
        tgid: status >> 8 for tgid, status in zip(exits["tgid"].tolist(), exits["status"].tolist(), strict=True)
    }
    assert [statuses[pair.host_tgid] for pair in pairs] == [pair.index % 200 for pair in pairs]
    assert not any(stack.numbers(inum) for inum in set(inums) if inum)
