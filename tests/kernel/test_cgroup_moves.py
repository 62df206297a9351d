"""Processes that move between cgroups while they are followed: their stories have a beginning and an end."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import wait_for
from oracle import pids_hierarchy
from stack import Stack

from tracer.stream.batch import Batch
from tracer.stream.schema import STREAM_KINDS, Kind

pytestmark = pytest.mark.kernel

CODE = 7
Story = list[Kind]


@pytest.fixture
def container_cgroup() -> Iterator[Path]:
    """A cgroup that is named as a container's; gone in the end."""
    top = pids_hierarchy() / f"nstrace-test-{secrets.token_hex(4)}"
    own = top / "docker" / secrets.token_hex(32)
    own.mkdir(parents=True)
    yield own
    for directory in (own, own.parent, top):
        wait_for(partial(_is_removed, directory))


def _is_removed(directory: Path) -> bool:
    with suppress(OSError):
        directory.rmdir()
    return not directory.exists()


def stories(batch: Batch, tgid: int) -> Story:
    rows = batch.rows
    mine = (rows["tgid"] == tgid) & ~np.isin(rows["kind"], STREAM_KINDS)
    return [Kind(kind) for kind in rows["kind"][mine].tolist()]


def children(batch: Batch, tgid: int) -> list[int]:
    rows = batch.rows
    born: list[int] = rows["tgid"][(rows["parent_tgid"] == tgid) & (rows["kind"] == Kind.FORK)].tolist()
    return born


def run_and_move(script: str, *cgroups: Path, reach: Callable[[int], None] = lambda _pid: None) -> int:
    """The PID of a shell that has run the script; $1, $2, ... are the files that move a process. reach: called with the
    PID while the script may wait for a line."""
    files = [str(cgroup / "cgroup.procs") for cgroup in cgroups]
    with subprocess.Popen(["sh", "-c", script, "sh", *files], stdin=subprocess.PIPE) as shell:
        reach(shell.pid)
        shell.communicate(b"\n")
        assert shell.returncode == CODE
    return shell.pid


def test_who_leaves_the_host_for_a_container_is_followed_to_its_end(container_cgroup: Path) -> None:
    with Stack("host") as stack:
        pid = run_and_move(f'echo $$ >"$1"; (exit 3); exec sh -c "exit {CODE}"', container_cgroup)
        stack.read(lambda: stack.has_exit_of(pid))
        batch = stack.stop()
    assert stories(batch, pid) == [Kind.FORK, Kind.EXEC, Kind.MOVE, Kind.EXEC, Kind.EXIT]
    assert children(batch, pid) == []  # they are the container's
    assert not stack.account.differences()


def test_who_comes_into_a_container_has_a_beginning(container_cgroup: Path) -> None:
    with Stack(container_cgroup.name) as stack:
        script = f'(exit 3); echo $$ >"$1"; (exit 4); read line; exec sh -c "exit {CODE}"'
        until_there = lambda pid: stack.read(lambda: bool(stories(stack.batch, pid)))  # noqa: E731
        pid = run_and_move(script, container_cgroup, reach=until_there)
        stack.read(lambda: stack.has_exit_of(pid))
        batch = stack.stop()
    assert stories(batch, pid) == [Kind.SNAPSHOT, Kind.EXEC, Kind.EXIT]
    index = int(np.flatnonzero((batch.rows["tgid"] == pid) & (batch.rows["kind"] == Kind.SNAPSHOT))[0])
    assert batch.payload(index).args.startswith(b"sh\0-c\0")
    (child,) = children(batch, pid)  # of those forked, the one that was born inside
    assert batch.rows["status"][(batch.rows["tgid"] == child) & (batch.rows["kind"] == Kind.EXIT)].tolist() == [4 << 8]


@pytest.mark.parametrize("target", ["host", "container"])
def test_there_and_back_and_out_again(target: str, container_cgroup: Path) -> None:
    """A hundred times, faster than decisions reach the kernel."""
    outside = pids_hierarchy()
    script = 'for i in $(seq 100); do echo $$ >"$1"; echo $$ >"$2"; done; '
    last = 'echo $$ >"$1"; ' if target == "host" else ""
    with Stack("host" if target == "host" else container_cgroup.name) as stack:
        pid = run_and_move(f"{script}{last}exit {CODE}", container_cgroup, outside)
        stack.read(lambda: stack.has_exit_of(pid))
        told = stories(stack.stop(), pid)
    assert told[0] == (Kind.FORK if target == "host" else Kind.SNAPSHOT)
    assert told.count(Kind.SNAPSHOT) == (target != "host")
    assert told[-1] == Kind.EXIT


def test_moves_of_those_who_are_not_followed_are_not_told(container_cgroup: Path) -> None:
    with Stack("f" * 64) as stack:
        pid = run_and_move(f'echo $$ >"$1"; exit {CODE}', container_cgroup)
        batch = stack.stop()
    assert stories(batch, pid) == []


def test_a_process_is_where_its_leader_is(container_cgroup: Path, workload: Path) -> None:
    """A thread may be in another cgroup than its process (cgroup version 1), and have another name and user."""
    tasks = container_cgroup / "tasks"
    if not tasks.exists():
        pytest.skip("needs a hierarchy of cgroup version 1, whose threads move one by one")
    with Stack("host") as stack:
        done = subprocess.run([workload, "other-thread-last", tasks, "33"], check=False, capture_output=True)
        assert done.returncode == CODE, done.stderr
        pid = int(done.stdout)
        stack.read(lambda: stack.has_exit_of(pid))
        batch = stack.stop()
    last = batch.rows[(batch.rows["tgid"] == pid) & (batch.rows["kind"] == Kind.EXIT)]
    execed = batch.rows[(batch.rows["tgid"] == pid) & (batch.rows["kind"] == Kind.EXEC)]
    for name in ("comm", "uid", "cgroup_id"):
        assert last[name].tolist() == execed[name].tolist(), name
