"""What engines move between cgroups: nobody is said to live who has ended, nobody comes from nowhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from following import Event, Following, alive

from tracer.host.procfs import TICK_NS, start_ticks, tgids

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]


def living_processes() -> set[str]:
    """<PID>-<start in clock ticks> of all processes, by /proc."""
    return {f"{tgid}-{start_ticks(tgid)}" for tgid in tgids()}


def left_behind(follow: Following) -> list[Event]:
    """Ends it. Who lives as far as the stream says, and did not a moment before its end, by /proc."""
    before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    there = living_processes()
    found = alive(follow.stop())
    older = [event for event in found if int(event["proc_id"].split("-")[1]) < before_ns]
    return [event for event in older if _in_ticks(event["proc_id"]) not in there]


def _in_ticks(proc_id: str) -> str:
    tgid, start_ns = proc_id.split("-")
    return f"{tgid}-{int(start_ns) // TICK_NS}"


def begin_well(events: list[Event]) -> None:
    """Every story begins with a fork, or as one of a process that was there, and ends with its exit."""
    began: dict[str, str] = {}
    over = set()
    for event in events:
        if "proc_id" in event:
            began.setdefault(event["proc_id"], event["event"])
            assert event["proc_id"] not in over, event
            if event["event"] == "exit":
                over.add(event["proc_id"])
    assert set(began.values()) <= {"fork", "snapshot"}


@pytest.mark.parametrize("targets", [("host",), ("all",), ("host", "all")])
def test_containers_that_come_and_go(targets: tuple[str, ...], engine: Any, image: str, start_container: Start) -> None:
    web = start_container()
    with Following(*targets) as follow:
        follow.ready()
        for _ in range(5):
            engine.containers.run(image, "true", remove=True, network_mode="none")
            assert web.exec_run("true").exit_code == 0
        engine.containers.run(image, "true", remove=True, network_mode="none", pid_mode="host")
        assert left_behind(follow) == []
        begin_well(follow.events())


def test_containers_in_a_container(inner_engine: Any) -> None:
    with Following(inner_engine.outer.name) as follow:
        follow.ready()
        for _ in range(3):
            inner_engine.containers.run(inner_engine.image, "true", remove=True, network_mode="none")
        assert left_behind(follow) == []
        begin_well(follow.events())


def test_a_container_that_makes_cgroups_of_its_own(start_container: Start) -> None:
    mounts = ("/sys/fs/cgroup:/sys/fs/cgroup:rw",)
    script = (
        "own=$(sed -n 's/^[0-9]*:pids://p' /proc/self/cgroup); base=/sys/fs/cgroup/pids;"
        ' [ "$own" ] || { own=$(sed -n "s/^0:://p" /proc/self/cgroup); base=/sys/fs/cgroup; };'
        " mkdir $base$own/below; for i in 1 2 3; do sh -c 'echo 0 >$0/cgroup.procs; true; exec true' $base$own/below;"
        " done; rmdir $base$own/below; echo done; exec sleep 600"
    )
    web = start_container(["sh", "-c", script], mounts=mounts, cgroupns="host", name="delegating")
    assert Path(f"/proc/{_pid(web)}").exists()
    with Following(web.name) as follow:
        follow.ready()
        web.restart(timeout=0)
        follow.until(lambda events: any("600" in (event.get("args") or ()) for event in events[10:]))
        assert left_behind(follow) == []
        events = follow.events()
    begin_well(events)
    assert sum(event["event"] == "exec" and event["args"] == ["true"] for event in events) >= 3


def _pid(container: Any) -> int:
    container.reload()
    pid: int = container.attrs["State"]["Pid"]
    return pid
