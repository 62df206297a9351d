"""How processes and namespaces end: once each, whoever goes first."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

import figures
import pytest
from oracle import Ledger, Receiver
from stack import Space, Stack, identities, numbers_of_proc, size

from tracer.kernel.options import LoadOptions
from tracer.stream.schema import Kind

pytestmark = pytest.mark.kernel


def test_threads_that_exit_at_once_are_one_exit(workload: Path) -> None:
    with Stack() as stack:
        storm = Space(workload, "threads-storm", size(500, 10_000), 8)
        stack.read(storm.has_ended)
        ledger = Ledger.parse(storm.line())
        stack.stop()
        forks, exits = stack.rows(storm, Kind.FORK), stack.rows(storm, Kind.EXIT)
    more_than_one = sum(seen != 1 for seen in Counter(identities(exits)).values())
    figures.note(
        "8 threads that exit at once",
        f"{figures.count(ledger.forks)} times",
        told=len(forks) + len(exits),
        lost=stack.trace.lost,
        wrong=abs(len(exits) - ledger.forks - 1) + more_than_one,
        more="one exit each, with the status that wait(2) gave",
    )
    assert len(forks) == ledger.forks + 1
    assert Counter(identities(forks)) == Counter(identities(exits))
    assert Counter((exits["status"][:-1] >> 8).tolist()) == ledger.exits


def test_the_leader_goes_first_and_the_process_lives_on(workload: Path) -> None:
    with Stack() as stack:
        process = Space(workload, "leader-first", 7)
        stack.read(process.has_ended)
        stack.stop()
    assert (stack.rows(process, Kind.EXIT)["status"] >> 8).tolist() == [7]  # the thread's code; the leader has 1


@pytest.mark.parametrize("threads", [False, True])
def test_workers_of_io_uring_do_no_harm(threads: bool, workload: Path) -> None:
    count = size(50, 10_000)
    with Stack(options=LoadOptions(threads=threads)) as stack:
        uring = Space(workload, "uring", count)
        stack.read(uring.has_ended)
        stack.read(lambda: not stack.numbers(uring.inum))
        stack.stop()
        assert uring.process.returncode == 0
        lives = len(stack.rows(uring, Kind.FORK)), len(stack.rows(uring, Kind.EXIT))
        workers = len(stack.rows(uring, Kind.THREAD_EXIT))
    figures.note(
        f"io_uring's workers{', --threads' if threads else ''}",
        f"{figures.count(count)} operations",
        told=sum(lives) + workers,
        lost=stack.trace.lost,
        wrong=figures.differing(lives, (1, 1)),
        more=f"exits of {workers} threads that were never forked, one process" if threads else "one fork, one exit",
    )
    assert lives == (1, 1)
    assert (workers > 0) == threads


def test_the_first_process_dies_with_thousands_alive(workload: Path) -> None:
    count = size(1000, 5000)
    with Stack() as stack:
        crowd = Space(workload, "crowd", count)
        assert crowd.line()
        stack.read(lambda: len(stack.numbers(crowd.inum)) == count + 1)
        pidns = stack.pidns(crowd.inum)
        os.kill(crowd.init, 9)
        stack.read(lambda: not stack.numbers(crowd.inum) and not stack.table.is_alive(pidns))
        stack.stop()
        exits = stack.rows(crowd, Kind.EXIT)
        crowd.kill()
    figures.note(
        "a namespace's first process is killed",
        f"with {figures.count(count)} children alive",
        told=len(exits),
        lost=stack.trace.lost,
        wrong=abs(len(set(identities(exits))) - count - 1) + len(exits) - len(set(identities(exits))),
        more="the namespace ended with its last process",
    )
    assert exits["chain"]["nr"][0, 0] == 1, "its exit comes before its children's"
    assert len(set(identities(exits))) == len(exits) == count + 1


def test_processes_put_into_a_namespace_from_outside(workload: Path, receiver: Receiver) -> None:
    count = size(5, 200)
    with Stack() as stack:
        crowd = Space(workload, "crowd", 3)
        assert crowd.line()
        init = crowd.init
        for index in range(count):
            code = index % 200
            argv = ["nsenter", "-t", str(init), "-p", str(workload), "pair", str(receiver.path), str(index), str(code)]
            assert subprocess.run(argv, check=False).returncode == code
        left = subprocess.Popen(["nsenter", "-t", str(init), "-p", "sleep", "600"])
        stack.read(
            lambda: stack.numbers(crowd.inum) == numbers_of_proc(crowd.inum) and len(stack.numbers(crowd.inum)) == 5
        )
        os.kill(init, 9)
        left.wait()  # the end of a namespace's first process is everyone's
        stack.read(lambda: not stack.numbers(crowd.inum))
        crowd.kill()
        stack.stop()
        forks = stack.rows(crowd, Kind.FORK)
    truth = [(pair.host_tgid, pair.ns_pid, pair.ns_ppid) for pair in receiver.wait(count)]
    told = [
        (int(row["tgid"]), int(row["chain"]["nr"][0]), int(row["parent_vtgid"]))
        for row in forks
        if int(row["tgid"]) in {host_tgid for host_tgid, _nr, _parent in truth}
    ]
    figures.note(
        "put into a namespace from outside (setns)",
        f"{count} processes",
        told=len(told),
        lost=stack.trace.lost,
        wrong=figures.differing(told, truth),
        more="parent 0 inside, as the process itself sees it",
    )
    assert told == truth
    assert {parent for _tgid, _nr, parent in truth} == {0}


def test_a_namespace_that_nobody_enters(workload: Path, receiver: Receiver) -> None:
    """unshare without a fork: the caller stays where it was."""
    with Stack("host", "all") as stack:
        subprocess.run(["unshare", "--pid", workload, "pair", receiver.path, "0", "7"], check=False)
        (pair,) = receiver.wait(1)
        stack.read(lambda: stack.has_exit_of(pair.host_tgid))
        rows = stack.stop().rows
    own = rows[rows["tgid"] == pair.host_tgid]
    figures.note(
        "unshare without a fork",
        "1 process",
        told=len(own),
        lost=stack.trace.lost,
        wrong=int((own["chain"]["nr"][:, 0] != pair.ns_pid).sum() + (own["level"] != 0).sum()),
        more="it stays where it was",
    )
    assert set(own["level"].tolist()) == {0}
    assert set(own["chain"]["nr"][:, 0].tolist()) == {pair.ns_pid} == {pair.host_tgid}


def test_a_namespace_number_that_is_held_is_not_given_away(workload: Path, receiver: Receiver) -> None:
    """A namespace lives on without processes while somebody holds it: it has ended for the table all the same."""
    with Stack() as stack:
        first = Space("sleep", "600")
        held = os.open(f"/proc/{first.init}/ns/pid", os.O_RDONLY)
        stack.read(lambda: len(stack.numbers(first.inum)) == 1)
        pidns = stack.pidns(first.inum)
        first.kill()
        stack.read(lambda: not stack.table.is_alive(pidns))
        second = Space("sleep", "600")
        assert second.inum != first.inum
        os.close(held)
        second.kill()
