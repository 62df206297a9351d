"""Targets applied to a stream: each pair of namespace and cgroup is decided once."""

from dataclasses import replace

import builders
import pytest
from builders import PIDNS, WEB

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.metadata import Container
from tracer.stream.pidns import PidnsId
from tracer.stream.schema import Flag, Kind
from tracer.stream.selection import Decision, Selection
from tracer.typed.targets import TargetKind, parse_target


def selected(selection: Selection, batch: Batch) -> list[bool]:
    return [bool(shown) for part in selection.attribution.split_and_learn(batch) for shown in selection.mask(part)]


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


# what an engine has not said yet

BARE = Container("c" * 64, "docker", "web-1", "nginx", {"tier": "front"})
UNNAMED = Container(BARE.id, "docker")


@pytest.mark.parametrize(
    ("text", "nested", "before", "after"),
    [
        ("web-*", True, None, True),
        ("db-*", True, None, False),
        ("label:tier=front", True, None, True),
        ("image:nginx", False, None, True),
        ("compose:web", False, None, False),
        ("all", True, True, True),
        ("all", False, None, True),
        ("host", True, False, False),
        ("host", False, None, False),
        (f"pidns:{PIDNS}", True, True, True),
        (f"pidns:{PIDNS}", False, False, False),
    ],
)
def test_undecided_until_it_has(text: str, nested: bool, before: bool | None, after: bool) -> None:
    """A cgroup that only an engine can tell to be a container's, with and without a namespace of its own."""
    selection = Selection((parse_target(text),), Attribution())
    row = builders.fork(100, [(PIDNS, 1)] if nested else [], cgroup_id=10, flags=Flag.UNDECIDED)
    batch = builders.batch(builders.cgroup(10, pending=True), row)
    pair = batch.pairs.keys[-1]
    assert selected(selection, batch) == [True, before is True]
    assert (selection.follows(pair), len(selection.take_fresh())) == (before, int(before is not None))
    selected(selection, builders.batch(builders.cgroup(10, BARE)))
    assert selection.follows(pair) is after
    assert len(selection.take_fresh()) == int(before is not after)


def test_one_target_that_means_it_is_enough() -> None:
    selection = Selection((parse_target("web-*"), parse_target(UNNAMED.id)), Attribution())
    target = replace(selection.targets[1], kind=TargetKind.ID)
    selection.targets = (selection.targets[0], target)
    row = builders.fork(100, [(PIDNS, 1)], cgroup_id=10)
    assert selected(selection, builders.batch(builders.cgroup(10, UNNAMED, pending=True), row)) == [True, True]


def test_what_runs_inside_of_a_container_without_a_name_waits_with_it() -> None:
    selection = Selection((parse_target("web-*"),), Attribution())
    first = builders.fork(100, [(PIDNS, 1)], cgroup_id=10)
    inner = builders.fork(101, [(PIDNS, 2), (PIDNS + 1, 1)], cgroup_id=11)
    facts = builders.cgroup(10, UNNAMED, pending=True), builders.cgroup(11, Container("d" * 64, "docker", "inner"))
    assert selected(selection, builders.batch(*facts, first, inner))[2:] == [False, False]
    assert selected(selection, builders.batch(builders.cgroup(10, BARE), first, inner))[1:] == [True, True]


def test_a_decision_is_made_again_where_an_engine_comes_later() -> None:
    selection = Selection((parse_target("web-*"),), Attribution())
    row = builders.fork(100, [(PIDNS, 1)], cgroup_id=10, flags=Flag.UNDECIDED)
    assert selected(selection, builders.batch(builders.cgroup(10, UNNAMED), row)) == [True, False]
    assert [decision.follow for decision in selection.take_fresh()] == [False]
    assert selected(selection, builders.batch(builders.cgroup(10, BARE), row)) == [True, True]
    assert [decision.follow for decision in selection.take_fresh()] == [True]


def test_who_is_seen_ahead_of_its_namespaces_first_process_is_decided_about_again() -> None:
    """As a container, by its cgroup, is found only then."""
    selection = Selection((parse_target("web"),), Attribution())
    visitor = builders.fork(101, [(PIDNS, 7)], cgroup_id=1)
    facts = builders.cgroup(10, WEB), builders.cgroup(1)
    assert selected(selection, builders.batch(*facts, visitor)) == [True, True, False]
    assert [decision.follow for decision in selection.take_fresh()] == [False]
    first = builders.row(Kind.SNAPSHOT, 200, [(PIDNS, 1)], cgroup_id=10)
    assert selected(selection, builders.batch(first, visitor)) == [True, True]
    assert Decision(PidnsId(PIDNS, 1), 1, True) in selection.take_fresh()
