"""Losses: all counted, the table right again soon after the last one, and never a wrong answer on the way."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from stack import Space, Stack, eventually, numbers_of_proc, size

from tracer.events import Flag, Kind, split_args
from tracer.kernel.load import LoadOptions
from tracer.repair import WITHIN_S

pytestmark = pytest.mark.kernel
SMALL = LoadOptions(ring_pages=16)  # 64 KiB


def slowly(value: bool) -> bool:
    """A consumer that takes longer than the ring has room for."""
    time.sleep(0.02)
    return value


def test_a_storm_that_the_ring_cannot_hold_is_counted_and_made_up_for(workload: Path) -> None:
    with Stack(options=SMALL) as stack:
        storm = Space(workload, "storm", size(20_000, 1_000_000), 2)
        stack.read(lambda: slowly(storm.has_ended()))
        began = time.monotonic()
        stack.read(lambda: not stack.table.unsure and not stack.numbers(storm.inum))
        assert time.monotonic() - began < WITHIN_S
        assert storm.is_empty()
        batch = stack.stop()
    gaps = batch.rows[batch.rows["kind"] == Kind.GAP]
    assert stack.account.total("failed") == int(gaps["seq"].sum()) > 1000
    assert stack.account.differences() == []
    inferred = batch.rows[batch.rows["flags"] & Flag.INFERRED != 0]
    assert set(inferred["kind"].tolist()) <= {Kind.FORK, Kind.EXEC, Kind.EXIT}


def test_a_workload_that_ends_in_a_gap_leaves_a_right_table(workload: Path) -> None:
    """Nobody reads while processes come and go: some of those that live at the end were never told, some that were
    told have gone unseen. No answer on the way is another's."""
    with Stack(options=SMALL) as stack:
        first = Space(workload, "crowd", 50)
        assert first.line()
        stack.read(lambda: len(stack.numbers(first.inum)) == 51)
        before = stack.pidns(first.inum)
        storm = Space(workload, "storm", 2000, 2)
        eventually(storm.has_ended)
        first.kill()
        second = Space(workload, "crowd", 50)
        assert second.line()
        truth = numbers_of_proc(second.inum)
        assert len(truth) == 51
        answers: list[int | None] = []

        def is_right() -> bool:
            spaces = {process.path[-1] for process in stack.table.living() if process.path[-1].inum == second.inum}
            for pidns in spaces - {before}:
                answers.extend(stack.table.to_host(pidns, nr) for nr in truth)
            return stack.numbers(second.inum) == truth and not stack.table.unsure

        began = time.monotonic()
        stack.read(is_right)
        took = time.monotonic() - began
        assert first.inum == second.inum or stack.numbers(first.inum) == {}
        assert not stack.table.is_alive(before)
        second.kill()
        rows = stack.stop().rows
    assert took < WITHIN_S
    assert set(answers) <= {None, *truth.values()}
    inferred = rows[rows["flags"] & Flag.INFERRED != 0]
    assert Kind.FORK in inferred["kind"] and Kind.EXIT in inferred["kind"]
    for kind in (Kind.FORK, Kind.EXIT):
        told = rows[rows["kind"] == kind][["tgid", "start_ns"]].tolist()
        assert len(told) == len(set(told)), f"a process with two {kind.name} rows"


def test_a_program_that_was_changed_in_a_gap_is_told(workload: Path) -> None:
    """One does two execs that nobody is told of, into a program of the same name; one does none and takes another
    name; and one does an exec that is told."""
    with Stack(options=SMALL) as stack:
        twice = Space("sh", "-c", "read line; exec sh -c 'exec sh -c \"read line; :\"'")
        renamed = Space("sh", "-c", "read line; printf other > /proc/self/comm; read line; :")
        told = Space("sh", "-c", "read line; exec sleep 600")
        spaces = twice, renamed, told
        stack.read(lambda: all(comm_in_table(stack, space) == b"sh" for space in spaces))
        told.go()
        stack.read(lambda: comm_in_table(stack, told) == b"sleep")
        eventually(Space(workload, "storm", 2000, 2).has_ended)  # the ring is full, and nobody reads
        twice.go()
        renamed.go()
        eventually(lambda: command_line(twice) == ["sh", "-c", "read line; :"])
        eventually(lambda: Path(f"/proc/{renamed.init}/comm").read_text() == "other\n")
        stack.read(lambda: stack.table.unsure)
        stack.read(lambda: not stack.table.unsure)
        batch = stack.stop()
        for space in spaces:
            space.kill()
    execs = np.flatnonzero((batch.rows["kind"] == Kind.EXEC) & (batch.rows["flags"] & Flag.INFERRED != 0))
    mine = [at for at in execs.tolist() if batch.rows["tgid"][at] in [space.init for space in spaces]]
    assert batch.rows["tgid"][mine].tolist() == [twice.init]
    payload = batch.payload(mine[0])
    assert split_args(payload.args) == [b"sh", b"-c", b"read line; :"]
    assert Path(os.fsdecode(payload.exe)).samefile("/bin/sh")


def comm_in_table(stack: Stack, space: Space) -> bytes | None:
    return next((process.comm for process in stack.table.living() if process.tgid == space.init), None)


def command_line(space: Space) -> list[str]:
    return Path(f"/proc/{space.init}/cmdline").read_text().split("\0")[:-1]


def test_the_gap_says_whose_events_were_lost(workload: Path) -> None:
    storm = Space(workload, "storm", 2000, 2, go=False)
    with Stack(f"pidns:{storm.inum}", options=SMALL) as stack:
        storm.go()
        eventually(storm.has_ended)
        stack.read(lambda: stack.table.unsure)
        rows = stack.stop().rows
        losses = stack.trace.maps.losses()
    gaps = rows[rows["kind"] == Kind.GAP]
    told = int(gaps[gaps["chain"]["inum"][:, 0] == storm.inum]["seq"].sum())
    lost = {loser: int(counts.sum()) for loser, counts in losses.items() if counts.sum()}
    of_storm = sum(count for loser, count in lost.items() if loser.pair and loser.pair[0] == storm.inum)
    assert of_storm > 100
    if sum(lost.values()) == of_storm:  # nobody else on this machine lost anything
        assert told == of_storm
    assert told <= of_storm
