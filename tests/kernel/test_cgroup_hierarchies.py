"""Containers by cgroup, without an engine: what events say, and what /proc says, of processes in cgroups made here."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from following import Following
from oracle import hierarchies
from stack import Space, Stack, eventually

from tracer.host.processes import Host
from tracer.stream.metadata import Container
from tracer.stream.pidns import chain_of
from tracer.stream.schema import Kind

pytestmark = pytest.mark.kernel

Make = Callable[[Path, str], Path]


@pytest.fixture
def make_cgroup() -> Iterator[Make]:
    """make(hierarchy, path): a cgroup, removed in the end when it is empty."""
    made: list[Path] = []

    def make(hierarchy: Path, path: str) -> Path:
        place = hierarchy
        for name in path.split("/"):
            place /= name
            if not place.exists():
                place.mkdir()
                made.append(place)
        return place

    yield make

    def is_removed(place: Path) -> bool:
        with suppress(OSError):
            place.rmdir()
        return not place.exists()

    for place in reversed(made):
        eventually(partial(is_removed, place))


def enter(cgroup: Path, tgid: int) -> None:
    (cgroup / "cgroup.procs").write_text(str(tgid))


def of_events(stack: Stack, tgid: int) -> Container | None:
    batch = stack.batch
    index = next(at for at in range(len(batch)) if batch.rows["tgid"][at] == tgid)
    assert batch.rows["kind"][index] == Kind.SNAPSHOT
    return stack.source.attribution.container(chain_of(batch, index), int(batch.rows["cgroup_id"][index]))


def test_events_and_proc_go_by_one_hierarchy(make_cgroup: Make) -> None:
    """In every hierarchy it is in another container."""
    space = Space("sleep", "600")
    try:
        for number, hierarchy in enumerate(hierarchies()):
            with suppress(OSError):  # cpuset takes nobody without CPUs
                enter(make_cgroup(hierarchy, f"lxc.payload.nstrace-{time.monotonic_ns()}-{number}"), space.init)
        host = Host(lambda _id: None)
        process = host.process(space.init)
        assert process and len(process.cgroups) >= len(hierarchies()) - 1
        with Stack("all") as stack:
            told = of_events(stack, space.init)
        assert told and told.runtime == "lxc"
        assert host.container(process) == told
    finally:
        space.kill()


@pytest.mark.parametrize("target", ["{}", "{}*", "nstrace-?{}"], ids=["name", "glob", "other glob"])
def test_a_name_that_its_cgroup_tells_is_followed_by_name_and_glob(
    target: str, make_cgroup: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a runtime without an engine, on a host without one."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/sock")
    number = time.monotonic_ns()
    name = f"nstrace-x{number}"
    places = [make_cgroup(hierarchy, f"lxc.payload.{name}") for hierarchy in hierarchies()]
    space = Space("sh", "-c", "while read line; do sleep 0.01; done")
    try:
        for place in places:
            with suppress(OSError):
                enter(place, space.init)
        meant = target.format(number if "?" in target else name)
        with Following(meant) as follow:
            follow.ready()
            space.go()
            events = follow.until(lambda events: {"fork", "exec", "exit"} <= {event["event"] for event in events})
            follow.stop()
        assert {(event["container"]["id"], event["container"]["runtime"]) for event in events} == {
            (f"lxc.payload.{name}", "lxc")
        }
        assert events[0]["pid"] == space.init
        shown = subprocess.run(
            [sys.executable, "-m", "tracer", "ps", "-q", meant], capture_output=True, text=True, timeout=60
        )
        assert shown.stdout.split()[0] == str(space.init), shown.stderr
    finally:
        space.kill()
