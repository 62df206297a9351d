"""Processes that change their cgroup: who was reported stays reported, who comes in has a beginning."""

from __future__ import annotations

from typing import Any

import builders
from builders import WEB, Row

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.cgroup_moves import CgroupMoves
from tracer.stream.schema import Flag, Kind
from tracer.stream.selection import Selection
from tracer.stream.table import Table
from tracer.typed.targets import parse_target

HOST, INSIDE = 1, 10
CGROUPS = (builders.cgroup(HOST), builders.cgroup(INSIDE, WEB))


class Stream:
    """A selection with its moves and table, as a live source has them. told: kind and tgid of the rows it reports."""

    def __init__(self, target: str) -> None:
        self.table, self.told = Table(), list[tuple[Kind, int]]()
        self._selection = Selection((parse_target(target),), Attribution())
        self._moves = CgroupMoves(
            lambda batch, at: self.table.cgroup_of(int(batch.rows["tgid"][at]), int(batch.rows["start_ns"][at]))
        )
        self.rows: list[Batch] = []
        self.take(*CGROUPS)

    def take(self, *rows: Row) -> None:
        for part in self._selection.attribution.split_and_learn(builders.batch(*rows)):
            mask = self._moves.apply(part, self._selection.mask(part))
            batch = part.select(mask)
            self.table.apply(batch)
            self.rows.append(batch)
            self.told += [
                (Kind(kind), tgid)
                for kind, tgid in zip(batch.rows["kind"].tolist(), batch.rows["tgid"].tolist(), strict=True)
                if kind != Kind.CGROUP
            ]


def move(tgid: int, cgroup_id: int, **fields: Any) -> Row:
    return builders.row(Kind.MOVE, tgid, cgroup_id=cgroup_id, flags=Flag.MOVED, **fields)


def execs(tgid: int, cgroup_id: int, flags: int = Flag.MOVED) -> Row:
    return builders.row(Kind.EXEC, tgid, cgroup_id=cgroup_id, flags=flags)


def ends(tgid: int, cgroup_id: int, flags: int = Flag.MOVED) -> Row:
    return builders.exits(tgid, cgroup_id=cgroup_id, flags=flags)


def in_one_batch_and_in_many(target: str, *rows: Row) -> list[tuple[Kind, int]]:
    """As the programs tell it; as it is recorded, without their flag, too."""
    one, many, recorded = Stream(target), Stream(target), Stream(target)
    one.take(*rows)
    for row in rows:
        many.take(row)
    for row in rows:
        row.event["flags"] = 0
    recorded.take(*rows)
    assert one.told == many.told == recorded.told
    return one.told


def test_who_leaves_is_reported_to_its_end_and_its_children_are_not() -> None:
    told = in_one_batch_and_in_many(
        "host",
        builders.fork(100, cgroup_id=HOST),
        move(100, INSIDE),
        execs(100, INSIDE),
        builders.fork(101, cgroup_id=INSIDE, parent_tgid=100),
        ends(101, INSIDE, flags=0),
        ends(100, INSIDE),
    )
    assert told == [(Kind.FORK, 100), (Kind.MOVE, 100), (Kind.EXEC, 100), (Kind.EXIT, 100)]


def test_who_comes_in_begins_as_one_that_was_there() -> None:
    told = in_one_batch_and_in_many(
        "web",
        builders.fork(100, cgroup_id=HOST),
        execs(100, HOST, flags=0),
        move(100, INSIDE),
        execs(100, INSIDE, flags=0),
        ends(100, INSIDE, flags=0),
    )
    assert told == [(Kind.SNAPSHOT, 100), (Kind.EXEC, 100), (Kind.EXIT, 100)]


def test_there_and_back_is_told_once() -> None:
    told = in_one_batch_and_in_many(
        "web",
        builders.fork(100, cgroup_id=INSIDE),
        move(100, HOST),
        move(100, INSIDE),
        move(100, HOST),
        ends(100, HOST),
    )
    assert told == [(Kind.FORK, 100), *[(Kind.MOVE, 100)] * 3, (Kind.EXIT, 100)]


def test_who_was_never_reported_is_not_by_moving_about_outside() -> None:
    other = builders.cgroup(2)
    told = in_one_batch_and_in_many(
        "web", other, builders.fork(100, cgroup_id=HOST), move(100, 2), execs(100, 2), move(100, HOST), ends(100, HOST)
    )
    assert told == []


def test_a_process_with_the_number_of_one_that_moved_is_another() -> None:
    told = in_one_batch_and_in_many(
        "host",
        builders.fork(100, cgroup_id=HOST),
        move(100, INSIDE),
        ends(100, INSIDE),
        builders.row(Kind.EXEC, 100, cgroup_id=INSIDE, start_ns=9),
    )
    assert told == [(Kind.FORK, 100), (Kind.MOVE, 100), (Kind.EXIT, 100)]


def test_a_move_says_where_from_and_the_table_knows_where_to() -> None:
    stream = Stream("host")
    stream.take(builders.fork(100, cgroup_id=HOST), move(100, INSIDE))
    moved = stream.rows[-1].rows[-1]
    assert (moved["seq"], moved["cgroup_id"]) == (HOST, INSIDE)
    assert stream.table.cgroup_of(100, builders.SECOND_NS) == INSIDE


def test_the_lost_row_of_a_move_takes_nothing_with_it() -> None:
    """The programs mark what comes after it all the same."""
    stream = Stream("host")
    stream.take(builders.fork(100, cgroup_id=HOST))
    stream.take(builders.gap(1), ends(100, INSIDE))
    assert stream.told == [(Kind.FORK, 100), (Kind.GAP, 0), (Kind.EXIT, 100)]
