"""Losses: all counted, the table right again soon after the last one, and never a wrong answer on the way."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from stack import Stack, in_pidns, init_of, numbers_of_proc

from tracer.events import Flag, Kind
from tracer.kernel.load import LoadOptions
from tracer.repair import WITHIN_S

pytestmark = pytest.mark.kernel
SMALL = LoadOptions(ring_pages=16)  # 64 KiB


def slowly(value: bool) -> bool:
    """A consumer that takes longer than the ring has room for."""
    time.sleep(0.02)
    return value


def inum_of(unshare: subprocess.Popen[bytes]) -> int:
    return Path(f"/proc/{init_of(unshare)}/ns/pid").stat().st_ino


def test_a_storm_that_the_ring_cannot_hold_is_counted_and_made_up_for(workload: Path) -> None:
    with Stack(options=SMALL) as stack:
        storm = in_pidns(workload, "storm", 20_000, 2)
        inum = inum_of(storm)
        stack.read(lambda: slowly(storm.poll() is not None))
        began = time.monotonic()
        stack.read(lambda: not stack.table.unsure and not stack.numbers(inum))
        assert time.monotonic() - began < WITHIN_S
        assert numbers_of_proc(inum) == {}
        batch = stack.stop()
        account = stack.source.account()
    gaps = batch.rows[batch.rows["kind"] == Kind.GAP]
    assert account.total("failed") == int(gaps["seq"].sum()) > 1000
    assert account.differences() == []
    inferred = batch.rows[batch.rows["flags"] & Flag.INFERRED != 0]
    assert set(inferred["kind"].tolist()) <= {Kind.FORK, Kind.EXIT}


def test_a_workload_that_ends_in_a_gap_leaves_a_right_table(workload: Path) -> None:
    """Nobody reads while processes come and go: some of those that live at the end were never told, some that were
    told have gone unseen."""
    with Stack(options=SMALL) as stack:
        first = in_pidns(workload, "crowd", 50)
        assert first.stdout and first.stdout.readline()
        inum_1 = inum_of(first)
        stack.read(lambda: len(stack.numbers(inum_1)) == 51)
        storm = in_pidns(workload, "storm", 2000, 2)
        storm.wait()
        first.kill()
        first.wait()
        second = in_pidns(workload, "crowd", 50)
        assert second.stdout and second.stdout.readline()
        inum_2 = inum_of(second)
        while numbers_of_proc(inum_1) and inum_1 != inum_2:
            time.sleep(0.01)
        began = time.monotonic()
        stack.read(lambda: stack.table.unsure)
        stack.read(lambda: not stack.table.unsure)
        took = time.monotonic() - began
        truth = numbers_of_proc(inum_2)
        assert len(truth) == 51
        assert stack.numbers(inum_2) == truth
        assert inum_1 == inum_2 or stack.numbers(inum_1) == {}
        pidns = stack.pidns(inum_2)
        assert {nr: stack.table.to_host(pidns, nr) for nr in truth} == truth
        second.kill()
        second.wait()
        rows = stack.stop().rows
    inferred = rows[rows["flags"] & Flag.INFERRED != 0]
    assert np.isin(list(truth.values()), inferred["tgid"][inferred["kind"] == Kind.FORK]).all()
    assert took < WITHIN_S
    for kind in (Kind.FORK, Kind.EXIT):
        told = rows[rows["kind"] == kind][["tgid", "start_ns"]].tolist()
        assert len(told) == len(set(told)), f"a process with two {kind.name} rows"


def test_the_gap_says_whose_events_were_lost(workload: Path) -> None:
    with Stack(options=SMALL) as stack:
        storm = in_pidns(workload, "storm", 2000, 2)
        inum = inum_of(storm)
        storm.wait()
        stack.read(lambda: stack.table.unsure)
        rows = stack.stop().rows
        losses = stack.trace.maps.losses()
    gaps = rows[rows["kind"] == Kind.GAP]
    told = gaps[gaps["chain"]["inum"][:, 0] == inum]["seq"].sum()
    assert 0 < told <= sum(int(lost.sum()) for loser, lost in losses.items() if loser.pair and loser.pair[0] == inum)
