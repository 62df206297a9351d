"""The view from inside of a namespace that is entered, against what /proc says from outside."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conftest import wait_for
from oracle import nspid

from tracer.host import procfs
from tracer.kernel.inside import numbers_inside

pytestmark = pytest.mark.kernel


def children(tgid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{tgid}/task/{tgid}/children").read_text().split()]


@pytest.fixture
def first() -> int:
    """The host PID of number 1 in a namespace with a few processes, one of them a zombie."""
    script = "sleep 600 & sleep 600 & true & exec sleep 600"
    started = subprocess.Popen(["unshare", "--fork", "--pid", "--kill-child", "sh", "-c", script])
    wait_for(lambda: bool(children(started.pid)) and len(children(children(started.pid)[0])) == 3)
    yield children(started.pid)[0]
    started.kill()
    started.wait()


def test_all_numbers_and_no_trace_left(first: int) -> None:
    with procfs.opened_pidns(first) as fd:
        told = numbers_inside(fd)
    assert told == {tgid: nspid(tgid)[-1] for tgid in (first, *children(first))}
    assert len(told) == 4
    assert os.getpid() == int(Path("/proc/self").readlink().name)  # our own mounts are as they were


def test_the_hosts_own_namespace() -> None:
    with procfs.opened_pidns(os.getpid()) as fd:
        told = numbers_inside(fd)
    assert told[os.getpid()] == os.getpid()
    assert all(tgid == nr for tgid, nr in told.items())


def test_later_children_are_born_outside(first: int) -> None:
    with procfs.opened_pidns(first) as fd:
        numbers_inside(fd)
    child = subprocess.Popen(["sleep", "600"])
    assert nspid(child.pid) == [child.pid]
    child.kill()
    child.wait()


def test_a_namespace_that_has_ended(first: int) -> None:
    with procfs.opened_pidns(first) as fd:
        os.kill(first, 9)
        wait_for(lambda: not nspid(first))
        with pytest.raises(ProcessLookupError):
            numbers_inside(fd)
