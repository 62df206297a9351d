"""Cgroups that are removed: when they may be forgotten, and what goes with them."""

from __future__ import annotations

import builders
import numpy as np
from builders import PIDNS, SECOND_NS, WEB

from tracer.containers.answers import Answer, Description
from tracer.containers.cgroups import Cgroups
from tracer.recording.carry_over import CarryOver
from tracer.stream.attribution import Attribution
from tracer.stream.batch import EVENT, PIECE
from tracer.stream.decoding import Decoded, Joiner
from tracer.stream.ended_spaces import LATER_NS
from tracer.stream.metadata import CgroupFact, CgroupName
from tracer.stream.pidns import PidnsId
from tracer.stream.removed_cgroups import AT_ONCE, RemovedCgroups
from tracer.stream.schema import Kind, PieceKind

A, B = "a" * 64, "b" * 64
POD = "0f1e2d3c-0000-4000-8000-123456789abc"


OLD_NS = SECOND_NS + LATER_NS


def test_they_are_due_once_and_together_and_the_last_are_kept() -> None:
    removed = RemovedCgroups(keep=10)
    removed.note(range(AT_ONCE + 9), SECOND_NS)
    assert not removed.may_be_due(OLD_NS)
    removed.note([AT_ONCE + 9], SECOND_NS)
    assert not removed.may_be_due(OLD_NS - 1)
    assert removed.due(OLD_NS - 1) == frozenset()
    assert removed.may_be_due(OLD_NS)
    assert removed.due(OLD_NS) == frozenset(range(AT_ONCE))
    assert not removed.may_be_due(OLD_NS)
    assert removed.due(OLD_NS) == frozenset()


def test_those_that_come_meanwhile_hold_up_none() -> None:
    removed = RemovedCgroups()
    removed.note(range(AT_ONCE), SECOND_NS)
    removed.note([AT_ONCE], OLD_NS)
    assert removed.may_be_due(OLD_NS)
    assert removed.due(OLD_NS) == frozenset(range(AT_ONCE))


def test_none_is_due_until_all_was_said() -> None:
    removed = RemovedCgroups()
    removed.note(range(AT_ONCE), SECOND_NS)
    assert not removed.may_be_due(0)


def test_one_that_is_in_use_waits_for_others() -> None:
    removed = RemovedCgroups()
    removed.note(range(AT_ONCE), SECOND_NS)
    assert removed.due(OLD_NS, in_use={3, 5}) == frozenset(range(AT_ONCE)) - {3, 5}
    assert not removed.may_be_due(99 * SECOND_NS)
    removed.note([100], OLD_NS)
    assert removed.due(OLD_NS, in_use={5}) == {3}
    assert removed.due(99 * SECOND_NS) == {5, 100}


def test_the_programs_say_it_without_an_event() -> None:
    records = np.zeros(3, EVENT)
    pieces = records.view(PIECE)
    pieces["kind"][0], pieces["id"][0] = PieceKind.REMOVED, 1 << 40
    pieces["kind"][1], pieces["id"][1], pieces["last"][1], pieces["len"][1] = PieceKind.CGROUP, 8, 1, 0
    pieces["kind"][2], pieces["id"][2] = PieceKind.REMOVED, 9
    joiner = Joiner()
    decoded = joiner.join(records)
    assert (len(decoded.batch), decoded.cgroups, decoded.removed) == (0, [CgroupName(8, 0, "")], [1 << 40, 9])
    after = joiner.join(builders.batch(builders.fork(100)).rows)
    assert (len(after.batch), after.removed) == (1, ())
    assert Decoded.concat([decoded, after, decoded]).removed == [1 << 40, 9, 1 << 40, 9]


def test_answers_go_with_the_last_cgroup_of_their_container() -> None:
    asked: list[str] = []

    def describe(key: str) -> Answer:
        asked.append(key)
        return Description("web", "nginx:1.27")

    cgroups = Cgroups(describe)
    cgroups.learn([CgroupName(1, 0, ""), CgroupName(2, 1, "docker"), CgroupName(3, 2, A), CgroupName(4, 3, "init")])
    cgroups.learn([CgroupName(5, 2, A)])
    assert cgroups.forget([4, 3]) == set()  # the container lives again
    assert cgroups.forget([5]) == {A}
    assert cgroups.forget([99]) == set()
    del asked[:]
    ((_cgroup_id, fact),) = cgroups.learn([CgroupName(6, 2, A)])
    assert asked == [A]
    assert fact.container is not None
    assert (fact.path, fact.container.label) == (f"/docker/{A}", "web#3")


def test_a_pod_is_over_with_its_own_cgroup() -> None:
    cgroups = Cgroups(lambda _key: None)
    cgroups.learn([
        CgroupName(1, 0, ""), CgroupName(2, 1, "kubepods"), CgroupName(3, 2, f"pod{POD}"),
        CgroupName(4, 3, A), CgroupName(5, 3, B),
    ])  # fmt: skip
    assert cgroups.forget([4]) == {A}
    assert cgroups.forget([5, 3]) == {B, f"pod:{POD}"}


def test_a_name_alone_is_over_with_its_cgroup() -> None:
    cgroups = Cgroups(lambda _key: None)
    cgroups.learn([CgroupName(1, 0, ""), CgroupName(2, 1, "lxc.payload.web")])
    assert cgroups.forget([2]) >= {"lxc:web"}


def test_those_above_are_found() -> None:
    cgroups = Cgroups(lambda _key: None)
    cgroups.learn([CgroupName(1, 0, ""), CgroupName(2, 1, "docker"), CgroupName(3, 2, A), CgroupName(4, 2, B)])
    assert cgroups.with_those_above([3]) == {2, 3}


def test_the_names_that_a_life_had_go_with_its_own_cgroup() -> None:
    renamed = builders.cgroup(7, fact=CgroupFact("/web", WEB.__class__(A, "docker", "web", earlier=["old"]), root=7))
    inside = builders.cgroup(8, fact=CgroupFact("/web/init", WEB, root=7))
    attribution = Attribution()
    list(attribution.split_and_learn(builders.batch(renamed, inside)))
    (life,) = [attribution.cgroups.get(7).container]  # type: ignore[union-attr]
    assert life is not None
    assert attribution.renamed_ns(life, "old") is not None
    assert attribution.forget_cgroups([8]) == []
    assert attribution.forget_cgroups([7]) == [life]
    assert attribution.renamed_ns(life, "old") is None
    assert len(attribution.cgroups) == 0


def test_cgroups_by_which_namespaces_are_known_are_named() -> None:
    attribution = Attribution()
    fact = CgroupFact("/docker/web/init", WEB, root=7)
    begun = builders.batch(builders.cgroup(8, fact=fact), builders.fork(100, [(PIDNS, 1)], cgroup_id=8))
    list(attribution.split_and_learn(begun))
    assert attribution.cgroups_of_spaces() == {7, 8}
    attribution.forget(PidnsId(PIDNS, 1))
    assert attribution.cgroups_of_spaces() == set()


def test_a_later_file_repeats_nothing_of_them_but_what_the_living_need() -> None:
    living = CarryOver()
    facts = [builders.cgroup(number, fact=CgroupFact(f"/{number}", WEB, root=number)) for number in (7, 8, 9, 10)]
    living.apply(
        builders.batch(
            *facts,
            builders.row(Kind.PIDNS, 100, [(PIDNS, 1)], cgroup_id=7),
            builders.fork(101, [(PIDNS, 2)], cgroup_id=8),
        )
    )
    living.forget({7, 8, 9})
    rows = living.snapshot(SECOND_NS).rows
    assert rows["cgroup_id"][rows["kind"] == Kind.CGROUP].tolist() == [7, 8, 10]
