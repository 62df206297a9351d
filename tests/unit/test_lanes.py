"""Lanes: one for each life of a container, with what has set it up in namespaces around its own; others inside it."""

from __future__ import annotations

from typing import Any

from builders import PIDNS, WEB, Row, batch, cgroup, exits, fork

from tracer.stream.attribution import Attribution
from tracer.stream.lanes import Lanes
from tracer.stream.metadata import CgroupFact, Container

OWN, NESTED = PIDNS, PIDNS + 1
IN_WEB: dict[str, Any] = {"cgroup_id": 7}
SIDE = Container("b" * 64, "docker", "side")


def named(container: Container) -> Row:
    """Of the cgroup 7, which is the container's own."""
    return cgroup(7, fact=CgroupFact("/web", container, root=7))


def lanes_of(*rows: Row) -> tuple[Lanes, list[int]]:
    """The lanes of these rows, and which one each row about a process is in."""
    lanes, attribution, found = Lanes(), Attribution(), []
    for part in attribution.split_and_learn(batch(*rows)):
        lanes.learn(part, attribution)
        found += [lanes.number(part, at, attribution) for at in range(len(part)) if part.rows["tgid"][at]]
    return lanes, found


def said(lanes: Lanes) -> list[tuple[str, int, int | None]]:
    return [(lane.label, lane.level, lanes.parent(lane)) for lane in lanes.all]


def test_what_sets_a_container_up_is_in_its_lane() -> None:
    lanes, found = lanes_of(
        cgroup(7, WEB), fork(60, **IN_WEB), fork(61, **IN_WEB), fork(62, [(OWN, 1)], **IN_WEB), exits(60, **IN_WEB),
        fork(63, [(OWN, 15)], **IN_WEB),
    )  # fmt: skip
    assert (said(lanes), found) == ([("web", 1, None)], [0] * 5)


def test_a_namespace_inside_has_a_lane_in_it() -> None:
    inside = [(OWN, 15), (NESTED, 1)]
    lanes, found = lanes_of(
        cgroup(7, WEB), fork(60, **IN_WEB), fork(62, [(OWN, 1)], **IN_WEB), fork(63, inside, **IN_WEB),
        fork(64, [(OWN, 16)], **IN_WEB), fork(65, [(OWN, 17), (NESTED, 2)], **IN_WEB),
    )  # fmt: skip
    assert (said(lanes), found) == ([("web", 1, None), ("web", 2, 0)], [0, 0, 1, 0, 1])
    assert list(map(lanes.title, lanes.all)) == ["web", f"web pidns:{NESTED} (level 2)"]


def test_a_renamed_container_keeps_its_lanes_and_has_the_new_name_at_once() -> None:
    inside = [(OWN, 15), (NESTED, 1)]
    renamed = Container(WEB.id, WEB.runtime, "api", WEB.image, incarnation=3, earlier=["web"])
    story = (named(WEB), fork(60, **IN_WEB), fork(62, [(OWN, 1)], **IN_WEB), fork(63, inside, **IN_WEB), named(renamed))
    lanes, found = lanes_of(*story)
    assert (said(lanes), found) == ([("api#3", 1, None), ("api#3", 2, 0)], [0, 0, 1])
    assert lanes.of_container(WEB) == lanes.of_container(renamed) == 0
    lanes, found = lanes_of(*story, fork(64, [(OWN, 16)], **IN_WEB), fork(65, [(OWN, 17), (NESTED, 2)], **IN_WEB))
    assert (said(lanes), found) == ([("api#3", 1, None), ("api#3", 2, 0)], [0, 0, 1, 0, 1])


def test_each_life_has_a_lane() -> None:
    again = Container(WEB.id, WEB.runtime, WEB.name, WEB.image, incarnation=2)
    lanes, found = lanes_of(
        cgroup(7, WEB), fork(60, **IN_WEB), fork(62, [(OWN, 1)], **IN_WEB),
        cgroup(8, again), fork(70, cgroup_id=8), fork(72, [(NESTED, 1)], cgroup_id=8),
    )  # fmt: skip
    assert (said(lanes), found) == ([("web", 1, None), ("web#2", 1, None)], [0, 0, 1, 1])


def test_containers_that_share_a_namespace_have_a_lane_each() -> None:
    lanes, found = lanes_of(
        cgroup(7, WEB), fork(62, [(OWN, 1)], **IN_WEB), cgroup(8, SIDE), fork(70, cgroup_id=8),
        fork(71, [(OWN, 15)], cgroup_id=8), fork(72, [(OWN, 16)], cgroup_id=8), fork(63, [(OWN, 17)], **IN_WEB),
    )  # fmt: skip
    assert (said(lanes), found) == ([("web", 1, None), ("side", 1, None)], [0, 1, 1, 1, 0])


def test_a_container_in_a_container_is_in_its_lane_from_the_beginning() -> None:
    lanes, found = lanes_of(
        cgroup(7, WEB), fork(62, [(OWN, 1)], **IN_WEB), cgroup(8, SIDE),
        fork(70, [(OWN, 15)], cgroup_id=8), fork(71, [(OWN, 16), (NESTED, 1)], cgroup_id=8),
    )  # fmt: skip
    assert (said(lanes), found) == ([("web", 1, None), ("side", 2, 0)], [0, 1, 1])


def test_one_that_shares_the_hosts_numbers_and_a_namespace_of_nobodys() -> None:
    lanes, found = lanes_of(
        cgroup(7, WEB), fork(60, **IN_WEB), fork(61, **IN_WEB),
        fork(50, cgroup_id=1), fork(51, [(NESTED, 1)], cgroup_id=1),
    )  # fmt: skip
    assert said(lanes) == [("web", 0, None), ("host", 0, None), (f"pidns:{NESTED}", 1, None)]
    assert found == [0, 0, 1, 2]
