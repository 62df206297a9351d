"""Containers whose cgroups have any name, are left by their processes, or hold others': every answer is the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from commands import init, objects, run
from conftest import wait_for
from following import Event, Following
from oracle import SOCKET, WORKLOAD, Receiver, pidns_inum

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
PLACES = ["/ecs/{}", "/{}/folder", "/{}", "/kubepods/{}"]
COUNT = 20


@pytest.fixture
def folder() -> Iterator[str]:
    """The name of a cgroup for containers, as long as Amazon's are; engines leave it behind."""
    folder = uuid.uuid4().hex
    yield folder
    for place in sorted(Path("/sys/fs/cgroup").glob(f"**/{folder}"), reverse=True):
        for cgroup in [*place.glob("*/"), place, place.parent]:
            with suppress(OSError):  # others are in it
                cgroup.rmdir()


@pytest.fixture
def name() -> str:
    return f"nstrace-{uuid.uuid4().hex[:8]}"


def of(events: list[Event], name: str) -> list[Event]:
    return [event for event in events if "proc_id" in event and (event["container"] or {}).get("name") == name]


@pytest.mark.parametrize(("place", "pid_mode"), [*((place, None) for place in PLACES), (PLACES[1], "host")])
def test_wherever_an_engine_puts_it(
    place: str, pid_mode: str | None, name: str, folder: str, start_container: Start, holding_receiver: Receiver
) -> None:
    options = {"name": name, "cgroup_parent": place.format(folder), "pid_mode": pid_mode}
    container = start_container([WORKLOAD, "pairs", SOCKET, str(COUNT), "burst"], holding_receiver, **options)
    pairs = {pair.host_tgid: pair.ns_pid for pair in holding_receiver.wait(COUNT)}
    everyone = set(pairs) | {init(container)}
    with Following(name) as follow:
        follow.until(lambda events: len(events) >= len(everyone))
        snapshots = follow.stop()
    assert {event["pid"] for event in snapshots} == everyone
    for found in snapshots, objects("ps", name), objects("tree", name):
        assert {one["pid"]: one["ns_pid"] for one in found if one["pid"] in pairs} == pairs
        assert {one["container"]["runtime"] for one in found} == {"docker"}
        assert {one["pid"] for one in found} == everyone
    findings = objects("verify", name)
    assert {finding["pid"] for finding in findings if finding["ok"]} == everyone
    (listed,) = (one for one in objects("containers") if one["name"] == name)
    assert (listed["init_pid"], listed["runtime"], listed["processes"]) == (init(container), "docker", len(everyone))
    (translated,) = objects("translate", init(container))
    assert translated["container"]["name"] == name


@pytest.mark.parametrize("target", ["{}", "{}*", "label:nstrace-test={}", "all"])
def test_from_its_first_process_when_it_starts_later(
    target: str, name: str, folder: str, start_container: Start, engine: Any
) -> None:
    start_container()
    options = {"labels": {"nstrace-test": name}, "pid_mode": "host", "name": name, "cgroup_parent": f"/{folder}/folder"}
    if target == "{}":
        start_container(["true"], **options).wait()
    with Following(target.format(name), "nstrace-*") as follow:
        follow.ready()
        if target == "{}":
            engine.containers.get(name).start()
        else:
            start_container(["true"], **options)
        events = follow.until(
            lambda events: any(event["event"] == "exit" and event["comm"] == "true" for event in events)
        )
        follow.stop()
    main = next(event for event in of(events, name) if event["event"] == "exec" and event["args"] == ["true"])
    mine = [event["event"] for event in of(events, name) if event["pid"] == main["pid"]]
    assert (mine[0], mine[-1]) == ("fork", "exit")


def move(tgid: int, folder: str) -> None:
    """Into a cgroup of each hierarchy that is not the container's."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in (Path(mount[1]) / folder for mount in mounts if mount[2] in ("cgroup", "cgroup2")):
        place.mkdir(exist_ok=True)
        with suppress(OSError):  # a cpuset takes nobody without CPUs
            (place / "cgroup.procs").write_text(str(tgid))


def test_processes_that_were_moved_out_of_its_cgroup(folder: str, name: str, start_container: Start) -> None:
    container = start_container("sh -c 'while true; do sleep 0.2; done'", name=name)
    first = init(container)
    move(first, folder)  # those that it starts from now on are there too
    with Following(name) as follow:
        events = follow.until(lambda events: sum(event["event"] == "exit" for event in events) >= 3)
        follow.stop()
    assert {event["container"]["name"] for event in events if event["event"] != "gap"} == {name}
    assert {event["pidns"] for event in events} == {pidns_inum(first)}
    assert first in {process["pid"] for process in objects("ps", name)}
    assert all(finding["ok"] for finding in objects("verify", name))
    (listed,) = (one for one in objects("containers") if one["name"] == name)
    assert (listed["init_pid"], listed["id"]) == (first, container.id)
    assert run("translate", "-q", f"{name}/1", first).stdout == f"{first}\n1\n"


def test_a_session_in_its_cgroup_does_not_hide_that_the_others_were_moved_out(
    folder: str, name: str, start_container: Start
) -> None:
    container = start_container("sh -c 'while true; do sleep 0.2; done'", name=name)
    first = init(container)
    move(first, folder)
    container.exec_run("sleep 600", detach=True)
    wait_for(lambda: len(objects("ps", f"pid:{first}")) >= 3)
    with Following(name) as follow:
        events = follow.until(lambda events: sum(event["event"] == "exit" for event in events) >= 3)
        follow.stop()
    assert {event["container"]["name"] for event in events if event["event"] != "gap"} == {name}
    assert first in {process["pid"] for process in objects("ps", name)}
    (listed,) = (one for one in objects("containers") if one["name"] == name)
    assert listed["init_pid"] == first


def test_a_visitor_with_a_lower_pid_than_the_first_process(name: str, start_container: Start) -> None:
    """PIDs wrap on every host that runs long: the list of processes, which is by PID, has the visitor first."""
    last = Path("/proc/sys/kernel/ns_last_pid")
    last.write_text("20000")
    first = init(start_container(["sleep", "600"], name=name))
    last.write_text("12000")
    loop = ["nsenter", "-t", str(first), "-p", "-m", "sh", "-c", "while true; do sleep 0.2; done"]
    with subprocess.Popen(loop, start_new_session=True) as visitor:
        try:
            wait_for(lambda: len(objects("ps", name)) >= 3)
            assert min(process["pid"] for process in objects("ps", name)) < first
            with Following(name) as follow:
                events = follow.until(lambda events: sum(event["event"] == "exit" for event in events) >= 3)
                follow.stop()
        finally:
            os.killpg(visitor.pid, signal.SIGKILL)
    assert {event["container"]["name"] for event in events if event["event"] != "gap"} == {name}


@pytest.mark.parametrize(
    "verb", [["follow", "--duration", "1"], ["ps"], ["tree"], ["verify"]], ids=lambda verb: verb[0]
)
def test_what_nothing_tells_apart_is_an_error_not_silence(
    verb: list[str], folder: str, name: str, start_container: Start
) -> None:
    container = start_container(name=name, pid_mode="host")
    move(init(container), folder)
    done = run(*verb, name)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"{name} runs as process {init(container)}" in done.stderr


def test_a_process_of_the_host_in_its_cgroup_does_not_make_it_another(name: str, start_container: Start) -> None:
    """containers, translate and verify agree on its first process, with an engine and without."""
    with subprocess.Popen(["sleep", "600"]) as helper:
        container = start_container(name=name)
        lines = [line.split(":", 2) for line in Path(f"/proc/{init(container)}/cgroup").read_text().splitlines()]
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
        for _number, controllers, path in lines:
            for mount in mounts:
                is_of = controllers in mount[3].split(",") if controllers else mount[2] == "cgroup2"
                if mount[2] in ("cgroup", "cgroup2") and is_of and path != "/":
                    (Path(mount[1]) / path[1:] / "cgroup.procs").write_text(str(helper.pid))
        for environment in ({}, {"DOCKER_HOST": "unix:///nowhere/sock"}):
            (listed,) = (one for one in objects("containers", **environment) if one["id"] == container.id)
            assert listed["init_pid"] == init(container)
            translated = run("translate", "-q", f"{container.id[:20]}/1", **environment)
            assert translated.stdout == f"{init(container)}\n"
        helper.kill()


def test_a_name_that_is_given_again_goes_on_behind(name: str, start_container: Start, tmp_path: Path) -> None:
    start_container()
    arrows = tmp_path / "run.arrows"
    with Following("-w", str(arrows), "nstrace-*") as follow:
        follow.ready()
        ids = []
        for _life in range(2):
            container = start_container(["true"], name=name)
            container.wait()
            container.start()
            container.wait()
            ids += [container.id] * 2
            container.rename(f"{name}-{len(ids)}")
        events = follow.until(lambda events: {event["incarnation"] for event in of(events, name)} >= {1, 2, 3, 4})
        follow.stop()
    lives = {event["incarnation"]: event["container"]["id"] for event in of(events, name)}
    assert [lives[number] for number in sorted(lives)] == ids
    argv = [sys.executable, "-m", "tracer", "replay", "--no-header", "--color", "never", str(arrows), name]
    text = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
    labels = {line.split()[2] for line in text.splitlines() if line.split()[1] != "life"}  # a rename has the new name
    assert labels == {name, *(f"{name}#{number}" for number in (2, 3, 4))}
