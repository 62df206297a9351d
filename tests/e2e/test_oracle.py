"""The oracle itself, in a real container: it must be right before nstrace is held against it."""

from collections.abc import Callable
from typing import Any

import pytest
from oracle import SOCKET, WORKLOAD, Ledger, Receiver, nspid, pidns_inum

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
Run = Callable[..., Ledger]


@pytest.mark.parametrize(("mode", "execs"), [("seq", 0), ("exec", 100), ("burst", 0)])
def test_hundred_pairs(mode: str, execs: int, start_container: Start, run_ledger: Run, receiver: Receiver) -> None:
    container = start_container(receiver=receiver)
    ledger = run_ledger(container, "pairs", SOCKET, 100, mode, 150)
    pairs = receiver.wait(100)

    container.reload()
    assert sorted(pair.index for pair in pairs) == list(range(100))
    assert all(pair.nspid == (pair.host_tgid, pair.ns_pid) for pair in pairs)
    assert {pair.pidns for pair in pairs} == {pidns_inum(container.attrs["State"]["Pid"])}
    assert {pair.ns_ppid for pair in pairs} == {ledger.vtgid}
    assert (ledger.forks, ledger.execs) == (100, execs)
    assert ledger.exits == {(150 + index) % 200: 1 for index in range(100)}
    assert ledger.signals == {}


def test_held_processes_are_alive(start_container: Start, holding_receiver: Receiver) -> None:
    container = start_container([WORKLOAD, "pairs", SOCKET, "20", "burst"], holding_receiver)
    for pair in holding_receiver.wait(20):
        assert nspid(pair.host_tgid) == [pair.host_tgid, pair.ns_pid]
        assert pair.ns_ppid == 1
    holding_receiver.release()
    assert container.wait(timeout=20)["StatusCode"] == 0
    assert Ledger.parse(container.logs()).forks == 20


def test_who_does_not_wait_is_known_too(start_container: Start, run_ledger: Run, receiver: Receiver) -> None:
    container = start_container(receiver=receiver)
    run_ledger(container, "pairs", SOCKET, 500, "seq", 0, "nowait")
    pairs = receiver.wait(500)
    assert [pair.index for pair in pairs] == list(range(500))
    assert all(pair.host_tgid > 0 for pair in pairs)
    assert len({pair.ns_pid for pair in pairs}) == len({pair.host_tgid for pair in pairs}) == 500


@pytest.mark.parametrize("depth", [1, 5, 31])
def test_nested_namespaces(depth: int, start_container: Start, run_ledger: Run, receiver: Receiver) -> None:
    container = start_container(receiver=receiver, cap_add=["SYS_ADMIN"], security_opt=["seccomp=unconfined"])
    assert run_ledger(container, "nest", depth, SOCKET).forks == depth
    pairs = receiver.wait(depth + 1)
    assert [pair.index for pair in pairs] == list(range(depth + 1))
    assert [len(pair.nspid) for pair in pairs] == list(range(2, depth + 3))
    assert len({pair.pidns for pair in pairs}) == depth + 1
    for pair in pairs:
        assert (pair.nspid[0], pair.nspid[-1]) == (pair.host_tgid, pair.ns_pid)
    assert all((pair.ns_pid, pair.ns_ppid) == (1, 0) for pair in pairs[1:])


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        ("noop a b", 0),
        ("exec-fail", 9),
        ("leader-first", 7),
        ("leader-first 33", 33),
        (f"thread-exec {WORKLOAD} exec-fail", 9),
        (f"vfork-exec {WORKLOAD} exec-fail", 9),
        ("args-big 100000", 0),
        ("signal 9", 128 + 9),
        ("signal 15", 128 + 15),
        ("core", 128 + 6),
    ],
)
def test_ends(command: str, exit_code: int, start_container: Start) -> None:
    done = start_container().exec_run([WORKLOAD, *command.split()])
    assert done.exit_code == exit_code, done.output


def test_threads_exit_together(start_container: Start) -> None:
    done = start_container().exec_run([WORKLOAD, "threads-exit", "50", "4"])
    assert done.exit_code in (1, 4)  # the kernel decides: see workload.c
