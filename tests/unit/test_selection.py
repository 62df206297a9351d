"""Targets applied to a stream: each pair of namespace and cgroup is decided once."""

import builders
from builders import PIDNS, WEB

from tracer.attribution import Attribution
from tracer.events import Batch, Flag
from tracer.pidns import PidnsId
from tracer.selection import Decision, Selection
from tracer.targets import parse_target


def selected(selection: Selection, batch: Batch) -> list[bool]:
    return [bool(shown) for part in selection.attribution.take(batch) for shown in selection.mask(part)]


def test_decides_once_and_tells_it_once() -> None:
    selection = Selection((parse_target("web"),), Attribution())
    batch = builders.batch(
        builders.cgroup(10, WEB),
        builders.cgroup(1),
        builders.fork(100, [(PIDNS, 1)], cgroup_id=10, flags=Flag.UNDECIDED),
        builders.fork(101, [(PIDNS, 2)], cgroup_id=10),
        builders.fork(102, cgroup_id=1, flags=Flag.UNDECIDED),
        builders.gap(3),
    )
    assert selected(selection, batch) == [True, True, True, True, False, True]
    told = selection.take_fresh()
    assert told[0] == Decision(PidnsId(PIDNS, 1), 10, True)
    assert sorted((decision.cgroup_id, decision.follow) for decision in told) == [(1, False), (10, True)]
    batch.rows["flags"] = 0
    assert selected(selection, batch) == [True, True, True, True, False, True]
    assert selection.take_fresh() == []


def test_a_source_that_has_forgotten_a_decision_is_told_again() -> None:
    selection = Selection((parse_target("web"),), Attribution())
    row = builders.fork(100, [(PIDNS, 1)], cgroup_id=10, flags=Flag.UNDECIDED)
    selected(selection, builders.batch(builders.cgroup(10, WEB), row))
    first = selection.take_fresh()
    selected(selection, builders.batch(row))
    assert selection.take_fresh() == first == [Decision(PidnsId(PIDNS, 1), 10, True)]


def test_nothing_is_decided_for_good_about_a_cgroup_that_was_not_told() -> None:
    selection = Selection((parse_target("web"),), Attribution())
    row = builders.fork(100, [(PIDNS, 2)], cgroup_id=10, flags=Flag.UNDECIDED)
    assert selected(selection, builders.batch(row)) == [False]
    assert selection.take_fresh() == []
    assert selected(selection, builders.batch(builders.cgroup(10, WEB), row)) == [True, True]


def test_any_of_several_targets() -> None:
    selection = Selection((parse_target("host"), parse_target(f"pidns:{PIDNS}")), Attribution())
    batch = builders.batch(
        builders.fork(100, [(PIDNS, 1)], cgroup_id=10),
        builders.fork(101, [(PIDNS + 1, 1)], cgroup_id=10),
        builders.fork(102, cgroup_id=1),
    )
    assert selected(selection, batch) == [True, False, True]


def test_the_same_inode_number_is_decided_anew_for_a_later_namespace() -> None:
    selection = Selection((parse_target("web"),), Attribution())
    batch = builders.batch(
        builders.cgroup(10, WEB),
        builders.fork(100, [(PIDNS, 1, 5)], cgroup_id=10),
        builders.fork(200, [(PIDNS, 1, 6)], cgroup_id=2),
    )
    assert selected(selection, batch) == [True, True, False]
