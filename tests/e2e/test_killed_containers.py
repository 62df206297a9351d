"""Who ended the processes of containers: against what the engine and the killer say of themselves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from following import Event, Following
from oracle import SOCKET, WORKLOAD, Receiver

pytestmark = pytest.mark.e2e
Start = Callable[..., Any]


def exits_of(container: Any, events: list[Event]) -> dict[int, Event]:
    """The exits in a container, by their number in there."""
    return {
        event["ns_pid"]: event
        for event in events
        if event["event"] == "exit" and (event["container"] or {}).get("id") == container.id
    }


def has_ended(container: Any, *numbers: int) -> Callable[[list[Event]], bool]:
    return lambda events: exits_of(container, events).keys() >= set(numbers or (1,))


def is_by_runc(exit_: Event, events: list[Event]) -> bool:
    """Whether the sender is a process that the same stream shows as a run of runc, on the host."""
    killer = exit_["killed_by"]
    runs = [event["args"] for event in events if event["event"] == "exec" and event["proc_id"] == killer["proc_id"]]
    assert killer["comm"] == "runc", killer
    assert any("kill" in args for args in runs), runs
    return bool((killer["pids"], killer["container"], killer["kernel"]) == ([killer["pid"]], None, False))


def test_docker_kill_and_the_rest_of_the_namespace(start_container: Start, tmp_path: Path) -> None:
    container = start_container("sh -c 'sleep 600 & wait'")
    path = tmp_path / "kill.arrows"
    with Following("host", container.name, "-w", str(path)) as follow:
        follow.ready()
        container.kill()
        events = follow.until(lambda seen: len(exits_of(container, seen)) == 2)
        follow.stop()
        shown = follow.output()
    first, rest = (event for _number, event in sorted(exits_of(container, events).items()))
    assert is_by_runc(first, events)
    assert (first["signal"], first["oom"], rest["signal"], rest["oom"]) == ("SIGKILL", False, "SIGKILL", False)
    killer = rest["killed_by"]
    assert (killer["kernel"], killer["reason"]) == (True, "pidns_ended")
    assert (killer["proc_id"], killer["pids"], killer["container"]) == (first["proc_id"], first["pids"], container.name)
    assert container.wait()["StatusCode"] == 137
    replay = [sys.executable, "-m", "tracer", "replay", "--json", "-q", str(path)]
    assert subprocess.run(replay, capture_output=True, check=True).stdout == shown


def test_docker_stop_that_ends_in_sigkill(start_container: Start) -> None:
    container = start_container(["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"])
    with Following("host", container.name) as follow:
        follow.ready()
        container.stop(timeout=1)
        events = follow.until(has_ended(container))
        follow.stop()
    first = exits_of(container, events)[1]
    assert is_by_runc(first, events)
    assert (first["signal"], first["exit_code"]) == ("SIGKILL", None)


def test_docker_stop_that_is_obeyed_names_nobody(start_container: Start) -> None:
    container = start_container(["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"])
    with Following(container.name) as follow:
        follow.ready()
        container.stop(timeout=20)
        first = exits_of(container, follow.until(has_ended(container)))[1]
    assert (first["exit_code"], first["signal"], first["killed_by"], first["oom"]) == (0, None, None, False)


def test_docker_kill_of_a_container_in_the_hosts_namespace(start_container: Start) -> None:
    container = start_container(pid_mode="host")
    with Following("host", container.name) as follow:
        follow.ready()
        container.kill("SIGUSR1")
        events = follow.until(lambda seen: len(exits_of(container, seen)) == 1)
        follow.stop()
    (only,) = exits_of(container, events).values()
    assert only["signal"] == "SIGUSR1"
    assert is_by_runc(only, events)


@pytest.mark.parametrize("sharing", [True, False])
def test_from_another_container(sharing: bool, start_container: Start, receiver: Receiver) -> None:
    """It shares the PID namespace, or has the host's."""
    owner = start_container("sh -c 'sleep 600 & sleep 600 & wait'")
    with Following("all") as follow:
        inside = follow.until(lambda seen: len([e for e in seen if of(owner, e)]) >= 3)
        victim = next(event for event in inside if of(owner, event) and event["ns_pid"] != 1)
        number = victim["ns_pid"] if sharing else victim["pid"]
        command = [WORKLOAD, "kill", SOCKET, "process", "15", str(number)]
        guest = start_container(command, receiver, pid_mode=f"container:{owner.id}" if sharing else "host")
        (pair,) = receiver.wait(1)
        exit_ = exits_of(owner, follow.until(has_ended(owner, victim["ns_pid"])))[victim["ns_pid"]]
    killer = exit_["killed_by"]
    assert (killer["pids"], killer["container"]) == (list(pair.nspid), guest.name)
    assert (killer["comm"], killer["kernel"], exit_["signal"]) == ("workload", False, "SIGTERM")


def of(container: Any, event: Event) -> bool:
    return bool((event["container"] or {}).get("id") == container.id and "proc_id" in event)


MEMORY = {"mem_limit": "16m", "memswap_limit": "16m"}
GATE = "until [ -e /tmp/go ]; do sleep 0.1; done"


def go(container: Any) -> None:
    """Open the gate."""
    container.exec_run(["touch", "/tmp/go"])


def test_out_of_memory(start_container: Start) -> None:
    container = start_container(["sh", "-c", f"{GATE}; exec {WORKLOAD} eat"], **MEMORY)
    with Following(container.name) as follow:
        follow.ready()
        go(container)
        first = exits_of(container, follow.until(has_ended(container)))[1]
    killer = first["killed_by"]
    assert (first["signal"], first["oom"], killer["kernel"], killer["reason"]) == ("SIGKILL", True, True, "oom")
    assert (killer["proc_id"], killer["pids"], killer["container"]) == (first["proc_id"], first["pids"], container.name)
    container.wait()
    container.reload()
    assert (container.attrs["State"]["OOMKilled"], container.attrs["State"]["ExitCode"]) == (True, 137)


def test_who_asked_for_memory_and_who_died(start_container: Start) -> None:
    script = f"(echo 1000 >/proc/self/oom_score_adj; exec sleep 600) & {GATE}; {WORKLOAD} eat; wait"
    container = start_container(["sh", "-c", script], **MEMORY)
    with Following(container.name) as follow:
        follow.ready()
        go(container)
        events = follow.until(lambda seen: len([e for e in exits_of(container, seen).values() if e["oom"]]) == 2)
    ended = [event for event in exits_of(container, events).values() if event["oom"]]
    died, asked = sorted(ended, key=lambda event: event["ts_ns"])
    assert (died["comm"], asked["comm"]) == ("sleep", "workload")
    assert died["killed_by"]["proc_id"] == asked["killed_by"]["proc_id"] == asked["proc_id"]


def test_whoever_shares_the_memory_is_out_of_it_too(start_container: Start) -> None:
    container = start_container(["sh", "-c", f"{GATE}; {WORKLOAD} eat shared; sleep 600"], **MEMORY)
    with Following(container.name) as follow:
        follow.ready()
        go(container)
        events = follow.until(
            lambda seen: len([e for e in exits_of(container, seen).values() if e["comm"] == "workload"]) == 2
        )
    both = [event for event in exits_of(container, events).values() if event["comm"] == "workload"]
    assert [(event["signal"], event["oom"], event["killed_by"]["reason"]) for event in both] == [
        ("SIGKILL", True, "oom")
    ] * 2
