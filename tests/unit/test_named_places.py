"""Which PID namespaces a name means at which time, of containers that were renamed."""

from __future__ import annotations

import builders
import pytest
from builders import PIDNS

from tracer.past.places import ALWAYS, Place, as_called, named_places
from tracer.stream.attribution import Attribution
from tracer.stream.metadata import Container
from tracer.stream.pidns import PidnsId

OLD_NS, NEW_NS = PidnsId(PIDNS, 1), PidnsId(PIDNS + 1, 2)
OLD = Container("a" * 64, "docker", "app-old", earlier=["app"])
NEW = Container("b" * 64, "docker", "app")
TWICE = Container("a" * 64, "docker", "app", earlier=["app", "app-old"])


def told(*facts: tuple[Container, int]) -> Attribution:
    attribution = Attribution()
    for container, ts_ns in facts:
        batch = builders.batch(builders.cgroup(7, container, ts_ns=ts_ns))
        assert list(attribution.split_and_learn(batch))
    return attribution


RENAMED = told((Container("a" * 64, "docker", "app"), 5), (OLD, 10), (OLD, 20))


@pytest.mark.parametrize(
    ("name", "homes", "places"),
    [
        ("app", [(OLD_NS, OLD), (NEW_NS, NEW)], [Place(OLD_NS, ALWAYS[0], 10), Place(NEW_NS)]),
        ("app", [(OLD_NS, OLD)], [Place(OLD_NS)]),
        ("app-old", [(OLD_NS, OLD), (NEW_NS, NEW)], [Place(OLD_NS)]),
        ("app", [(NEW_NS, NEW)], [Place(NEW_NS)]),
        ("db", [(OLD_NS, OLD), (NEW_NS, NEW)], []),
    ],
)
def test_a_name_is_that_of_who_has_it(name: str, homes: list[tuple[PidnsId, Container]], places: list[Place]) -> None:
    assert named_places(name, homes, RENAMED) == places


def test_a_name_that_comes_back() -> None:
    names = told((OLD, 10), (TWICE, 30))
    other = Container("c" * 64, "docker", "app-old", earlier=["x"])
    names_of_both = told((OLD, 10), (TWICE, 30), (other, 40))
    assert named_places("app", [(OLD_NS, TWICE)], names) == [Place(OLD_NS)]
    assert named_places("app-old", [(OLD_NS, TWICE), (NEW_NS, other)], names_of_both) == [
        Place(OLD_NS, ALWAYS[0], 40), Place(NEW_NS, ALWAYS[0], 10), Place(NEW_NS, 30)
    ]  # fmt: skip


@pytest.mark.parametrize(("moment_ns", "earlier"), [(9, ["app"]), (10, []), (11, [])])
def test_names_of_a_moment(moment_ns: int, earlier: list[str]) -> None:
    assert as_called(OLD, moment_ns, RENAMED).earlier == earlier
    assert as_called(NEW, moment_ns, RENAMED) is NEW
