"""Processes that the kernel's iterator over tasks leaves out: here by leaving them out of what it told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from stack import DEFAULT, Space, close_trace, open_trace

from tracer.host.proc_operations import Proc, proc_operations
from tracer.host.unlisted import Unlisted, find_unlisted
from tracer.stream.batch import Batch
from tracer.stream.schema import Kind
from tracer.system.broker import Local

pytestmark = pytest.mark.kernel


def unlisted(*left_out: int) -> tuple[Batch, Unlisted]:
    """What the iterator says, and what is found where it has left some out."""
    trace = open_trace(DEFAULT)
    try:
        listed = trace.snapshot().batch
        events = trace.drain().batch
    finally:
        close_trace(trace)
    told = listed.select(~np.isin(listed.rows["tgid"], left_out))
    return listed, find_unlisted(Proc(Local(proc_operations(4097))), told, events, trace.began_ns)


def test_all_that_proc_shows_is_told() -> None:
    listed, found = unlisted()
    there = {int(path.name) for path in Path("/proc").glob("[0-9]*")}
    assert there & {1, os.getpid()} <= {*listed.rows["tgid"].tolist(), *found.batch.rows["tgid"].tolist()}


def test_a_process_with_a_child_is_told_as_the_iterator_would() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 600; true"]) as shell:
        children = Path(f"/proc/{shell.pid}/task/{shell.pid}/children")
        while not children.read_text():
            pass
        listed, found = unlisted(shell.pid)
        os.kill(int(children.read_text()), 15)
    assert shell.pid not in found.unknown
    mine = found.batch.rows[found.batch.rows["tgid"] == shell.pid]
    truth = listed.rows[listed.rows["tgid"] == shell.pid]
    for name in sorted(set(truth.dtype.names or ()) - {"ts_ns", "seq", "cpu", "exec_id"}):
        assert mine[name].tolist() == truth[name].tolist(), name
    assert mine["kind"].tolist() == [Kind.SNAPSHOT]


def test_whose_start_or_namespace_is_not_known_is_said() -> None:
    space = Space("sleep", "600")
    with subprocess.Popen(["sleep", "600"]) as childless:
        _listed, found = unlisted(childless.pid, space.init)
        childless.kill()
    space.kill()
    assert {childless.pid, space.init} <= set(found.unknown)
    assert not np.isin(found.batch.rows["tgid"], (childless.pid, space.init)).any()
