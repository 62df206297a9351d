"""Losses: all counted, the table right again soon after the last one, and never a wrong answer on the way."""

from __future__ import annotations

import os
import time
from pathlib import Path

import figures
import numpy as np
import pytest
from oracle import Ledger
from stack import Space, Stack, eventually, numbers_of_proc, size

from tracer.kernel.options import LoadOptions
from tracer.stream.batch import split_args
from tracer.stream.repair import WITHIN_S
from tracer.stream.schema import CONTAINER_KINDS, Flag, Kind

pytestmark = pytest.mark.kernel
SMALL = LoadOptions(ring_bytes=64 << 10)


def slowly(value: bool) -> bool:
    """A consumer that takes longer than the ring has room for."""
    time.sleep(0.02)
    return value


def test_a_storm_that_the_ring_cannot_hold_is_counted_and_made_up_for(workload: Path) -> None:
    with Stack("all", "host", options=SMALL) as stack:
        storm = Space(workload, "storm", size(20_000, 1_000_000), 2)
        stack.read(lambda: slowly(storm.has_ended()))
        began = time.monotonic()
        stack.read(lambda: not stack.table.unsure and not stack.numbers(storm.inum))
        took = time.monotonic() - began
        assert storm.is_empty()
        stack.read_until_as_proc()
        batch = stack.stop()
        told = len(stack.rows(storm, Kind.FORK, Kind.EXEC, Kind.EXIT))
    forks = Ledger.parse(storm.line()).forks
    gaps = batch.rows[batch.rows["kind"] == Kind.GAP]
    lost = int(gaps["seq"].sum())
    figures.note(
        "storm into a ring of 64 KiB, slow reader",
        f"{figures.count(forks)} processes",
        told=told,
        lost=lost,
        wrong=max(0, 2 * (forks + 1) - told - lost),
        more=f"table right {took:.2f} s after the last event, and as /proc",
    )
    assert took < WITHIN_S
    assert told + lost >= 2 * (forks + 1)  # others may have lost some as well
    assert stack.account.total("failed") == lost > 1000
    assert stack.account.differences() == []
    inferred = set(batch.rows["kind"][batch.rows["flags"] & Flag.INFERRED != 0].tolist())
    assert inferred - set(CONTAINER_KINDS) <= {Kind.FORK, Kind.EXEC, Kind.EXIT}  # others make containers meanwhile


def test_a_workload_that_ends_in_a_gap_leaves_a_right_table(workload: Path) -> None:
    """Nobody reads while processes come and go: some of those that live at the end were never told, some that were
    told have gone unseen. No answer on the way is another's."""
    with Stack(options=SMALL) as stack:
        first = Space(workload, "crowd", 50)
        assert first.line()
        stack.read(lambda: len(stack.numbers(first.inum)) == 51)
        before = stack.pidns(first.inum)
        storm = Space(workload, "storm", 2000, 2)
        held = os.open(f"/proc/{storm.init}/ns/pid", os.O_RDONLY)  # so that the second one does not get its number
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
        os.close(held)
        rows = stack.stop().rows
    figures.note(
        "a gap at the end: who was told is gone, who is there was not told",
        "51 processes, and 51 others",
        told=len(stack.batch),
        lost=stack.trace.lost,
        wrong=len(set(answers) - {None, *truth.values()}),
        more=f"right after {took:.2f} s; asked {figures.count(len(answers))} times meanwhile",
    )
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
        events = len(stack.rows(storm, Kind.FORK, Kind.EXEC, Kind.EXIT))
    forks = Ledger.parse(storm.line()).forks
    gaps = rows[rows["kind"] == Kind.GAP]
    told = int(gaps[gaps["chain"]["inum"][:, 0] == storm.inum]["seq"].sum())
    lost = {loser: int(counts.sum()) for loser, counts in losses.items() if counts.sum()}
    of_storm = sum(count for loser, count in lost.items() if loser.pair and loser.pair[0] == storm.inum)
    did = forks + 1 + forks + 1  # births, the exec of the storm, ends; it was born itself before the trace began
    figures.note(
        "whose losses",
        f"{figures.count(did)} events of one namespace",
        told=events,
        lost=of_storm,
        wrong=abs(did - events - of_storm),
        more=f"gaps that say whose: {figures.count(told)}",
    )
    assert of_storm > 100
    assert events + of_storm == did
    if sum(lost.values()) == of_storm:  # nobody else on this machine lost anything
        assert told == of_storm
    assert told <= of_storm


def test_the_name_of_a_cgroup_that_had_no_room_is_told_later(workload: Path, small_cgroup: Path) -> None:
    """Its first events find a full ring; after that it is known all the same, by its path."""
    with Stack(options=SMALL) as stack:
        mover = Space("sh", "-c", f"read line; echo 0 > {small_cgroup}/cgroup.procs; exec sleep 600")
        stack.read(lambda: mover.init in stack.numbers(mover.inum).values())
        eventually(Space(workload, "storm", 2000, 2).has_ended)
        mover.go()
        eventually(lambda: command_line(mover) == ["sleep", "600"])
        stack.read(lambda: stack.table.unsure)
        stack.read(lambda: not stack.table.unsure)
        fact = stack.source.attribution.cgroups.get(small_cgroup.stat().st_ino)
        mover.kill()
    assert fact is not None
    assert Path(fact.path).name == small_cgroup.name
