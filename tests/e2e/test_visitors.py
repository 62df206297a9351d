"""Sessions on a real engine: who came in, what the engine says of it, who belongs to it, and who outlives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import init
from conftest import wait_for
from following import Event, Following
from oracle import SOCKET, WORKLOAD, Receiver, nspid, pids_hierarchy

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]


def said(events: list[Event], action: str, root: int | None = None) -> list[Event]:
    """What was said of sessions. root: of the one whose first process has this PID on the host."""
    found = [event for event in events if event["event"] == "session" and event["action"] == action]
    return [event for event in found if root in (None, event["session"]["pids"][0])]


def marked(events: list[Event], number: int) -> set[int]:
    """The PIDs of the processes that carry this session."""
    rows = [event for event in events if "pid" in event and event["session"]]
    return {event["pid"] for event in rows if event["session"]["number"] == number}


def described(follow: Following, exec_id: str) -> Event:
    """What is said of the session of this exec, once all is known."""

    def find(events: list[Event]) -> list[Event]:
        rows = said(events, "described")
        return [row for row in rows if row["session"]["exec_id"] == exec_id and row["session"]["kind"]]

    return find(follow.until(lambda events: bool(find(events))))[0]


def run_exec(engine: Any, container: Any, command: Any, **options: Any) -> str:
    """Run a command by docker exec to its end; the id of the exec."""
    exec_id: str = engine.api.exec_create(container.id, command, **options)["Id"]
    engine.api.exec_start(exec_id)
    return exec_id


def pid_of(engine: Any, exec_id: str) -> int:
    """The host PID of an exec, as its engine reports it."""
    wait_for(lambda: engine.api.exec_inspect(exec_id)["Pid"] != 0)
    pid: int = engine.api.exec_inspect(exec_id)["Pid"]
    return pid


def test_everyone_below_an_exec_belongs_to_it(engine: Any, start_container: Start, receiver: Receiver) -> None:
    """Who belongs to it is said by the processes themselves (SCM_CREDENTIALS)."""
    container = start_container(receiver=receiver)
    with Following(container.name) as follow:
        follow.ready()
        exec_id = run_exec(engine, container, ["sh", "-c", f"{WORKLOAD} pairs {SOCKET} 40 exec; exit 7"])
        pairs = receiver.wait(40)
        fact = described(follow, exec_id)
        events = follow.stop()
    session = fact["session"]
    root = pid_of(engine, exec_id)
    assert session["pids"][0] == root
    assert session["command"] == ["sh", "-c", f"{WORKLOAD} pairs {SOCKET} 40 exec; exit 7"]
    assert (session["kind"], fact["container"]["id"]) == ("exec", container.id)
    assert {pair.host_tgid for pair in pairs} | {root} <= marked(events, session["number"])
    assert all(event["session"] for event in events if "pid" in event and event["event"] != "snapshot")
    (ended,) = said(events, "ended", root)
    assert (ended["exit_code"], ended["signal"], ended["left"]) == (7, None, [])
    assert ended["duration_ns"] > 0


def test_what_an_exec_leaves_behind_stays_marked(engine: Any, start_container: Start) -> None:
    container = start_container()
    with Following(container.name) as follow:
        follow.ready()
        run_exec(engine, container, ["sh", "-c", "sleep 300 >/dev/null 2>&1 & sleep 0.1"])
        (ended,) = said(follow.until(lambda events: bool(said(events, "ended"))), "ended")
        (left,) = ended["left"]
        assert Path(f"/proc/{left}/cmdline").read_bytes() == b"sleep\x00300\x00"
        assert Path(f"/proc/{left}/stat").read_text().split()[3] == str(
            container.attrs["State"]["Pid"] or init(container)
        )
        os.kill(left, signal.SIGTERM)
        follow.until(lambda events: any(event["event"] == "exit" and event["pid"] == left for event in events))
        events = follow.stop()
    end = next(event for event in events if event["event"] == "exit" and event["pid"] == left)
    assert end["session"]["number"] == ended["session"]["number"]


def test_one_that_is_killed_and_one_of_another_user(engine: Any, start_container: Start) -> None:
    container = start_container()
    with Following(container.name) as follow:
        follow.ready()
        exec_id = engine.api.exec_create(container.id, ["sleep", "300"], user="65534")["Id"]
        engine.api.exec_start(exec_id, detach=True)
        root = pid_of(engine, exec_id)
        fact = described(follow, exec_id)
        os.kill(root, signal.SIGKILL)
        (ended,) = said(follow.until(lambda events: bool(said(events, "ended"))), "ended")
        follow.stop()
    assert fact["session"]["user"] == "65534"
    assert fact["session"]["pids"] == [root, *nspid(root)[1:]] or fact["session"]["pids"][0] == root
    assert (ended["exit_code"], ended["signal"]) == (None, "SIGKILL")


def test_health_checks_are_told_apart_from_people(engine: Any, start_container: Start) -> None:
    """Also from one who runs the same command; the engine's own log says when its checks ran."""
    second_ns = 1_000_000_000
    check = {"test": ["CMD-SHELL", "sleep 0.2"], "interval": second_ns, "timeout": 30 * second_ns}
    container = start_container(healthcheck=check)
    with Following(container.name) as follow:
        follow.ready()
        mine = run_exec(engine, container, ["/bin/sh", "-c", "sleep 0.2"])
        other = run_exec(engine, container, ["true"])
        kinds = {
            fact["session"]["exec_id"]: fact["session"]["kind"]
            for fact in (described(follow, one) for one in (mine, other))
        }

        def checks(events: list[Event]) -> list[Event]:
            return [event for event in said(events, "described") if event["session"]["kind"] == "health"]

        follow.until(lambda events: len(checks(events)) >= 2)
        events = follow.stop()
    assert kinds == {mine: "exec", other: "exec"}
    assert not {mine, other} & {event["session"]["exec_id"] for event in checks(events)}
    assert all(event["session"]["command"] == ["/bin/sh", "-c", "sleep 0.2"] for event in checks(events))


def test_nsenter_comes_without_an_engine(start_container: Start) -> None:
    container = start_container()
    with Following(container.name) as follow:
        follow.ready()
        argv = ["nsenter", "-t", str(init(container)), "-p", "-m", "sh", "-c", "sleep 0.2; exit 5"]
        with subprocess.Popen(argv) as nsenter:
            pass
        events = follow.until(lambda events: bool(said(events, "ended")))
        follow.stop()
    (began,), (ended,) = said(events, "began"), said(events, "ended")
    assert (began["session"]["kind"], began["session"]["asked_by"]["pid"]) == ("enter", nsenter.pid)
    assert began["session"]["asked_by"]["comm"] == "nsenter"
    assert (ended["exit_code"], ended["session"]["exec_id"]) == (5, None)
    assert ended["session"]["command"] == ["sh", "-c", "sleep 0.2; exit 5"]
    assert len(marked(events, began["session"]["number"])) == 2


def test_ctr_exec_is_a_session_of_which_no_engine_speaks(start_container: Start) -> None:
    container = start_container()
    with Following(container.name) as follow:
        follow.ready()
        shim = Path(f"/proc/{Path(f'/proc/{init(container)}/stat').read_text().split()[3]}/cmdline").read_bytes()
        address = shim.split(b"-address\0")[1].split(b"\0")[0].decode()
        argv = ["ctr", "--address", address, "-n", "moby", "task", "exec", "--exec-id", "mine", container.id, "true"]
        subprocess.run(argv, check=True)
        events = follow.until(lambda events: bool(said(events, "ended")))
        follow.stop()
    (began,), (ended,) = said(events, "began"), said(events, "ended")
    assert (began["session"]["kind"], began["session"]["asked_by"]) == (None, None)
    assert (ended["exit_code"], ended["session"]["command"]) == (0, ["true"])


@pytest.mark.parametrize("mode", ["host", "container"])
def test_in_a_shared_pid_namespace(mode: str, engine: Any, start_container: Start) -> None:
    other = start_container()
    container = start_container(pid_mode="host" if mode == "host" else f"container:{other.id}")
    with Following(container.name) as follow:
        follow.ready()
        exec_id = run_exec(engine, container, ["sh", "-c", "sleep 0.1; exit 4"])
        fact = described(follow, exec_id)
        container.kill()
        container.wait()
        container.start()
        follow.until(lambda events: any(event.get("incarnation") == 2 and event["event"] == "exec" for event in events))
        events = follow.stop()
    assert fact["session"]["pids"][0] == pid_of(engine, exec_id)
    assert len(said(events, "began")) == 1  # neither the first process of a life, nor what it runs
    assert len(marked(events, fact["session"]["number"])) == 2
    assert [ended["exit_code"] for ended in said(events, "ended")] == [4]


def test_who_is_moved_into_the_cgroup_comes_from_outside(start_container: Start) -> None:
    container = start_container()
    lines = Path(f"/proc/{init(container)}/cgroup").read_text().splitlines()
    path = next(line.split(":", 2)[2] for line in lines if line.split(":")[1] in ("pids", ""))
    with (
        Following(container.name) as follow,
        subprocess.Popen(["sh", "-c", "read line; sleep 0.1; exit 6"], stdin=-1) as sh,
    ):
        follow.ready()
        (pids_hierarchy() / path.lstrip("/") / "cgroup.procs").write_text(str(sh.pid))
        sh.communicate(b"\n")
        events = follow.until(lambda events: bool(said(events, "ended")))
        follow.stop()
    (began,), (ended,) = said(events, "began"), said(events, "ended")
    assert (began["session"]["pids"], began["session"]["kind"]) == ([sh.pid], "enter")
    assert ended["exit_code"] == 6
    assert len(marked(events, began["session"]["number"])) == 2


def test_who_was_there_before_is_known_by_its_parent(engine: Any, start_container: Start) -> None:
    container = start_container()
    exec_id = engine.api.exec_create(container.id, ["sh", "-c", "sleep 300; true"])["Id"]
    engine.api.exec_start(exec_id, detach=True)
    root = pid_of(engine, exec_id)
    wait_for(lambda: len(container.top()["Processes"]) == 3)
    with Following(container.name) as follow:
        follow.ready()
        events = follow.until(lambda events: sum(event["event"] == "snapshot" for event in events) == 3)
        follow.stop()
    (began,) = said(events, "began")
    assert (began["session"]["pids"][0], began["session"]["command"]) == (root, ["sh", "-c", "sleep 300; true"])
    assert len(marked(events, began["session"]["number"])) == 2


def test_inside_docker_in_docker_the_inits_are_no_visitors(inner_engine: Any) -> None:
    with Following(inner_engine.outer.name) as follow:
        follow.ready()
        inner = inner_engine.containers.run(inner_engine.image, ["sleep", "600"], network_mode="none", detach=True)
        assert inner.exec_run(["true"]).exit_code == 0
        events = follow.until(lambda events: bool(said(events, "ended")))
        follow.stop()
    assert [event["container"]["id"] for event in said(events, "began")] == [inner.id]


def test_a_replay_tells_the_same(engine: Any, start_container: Start, tmp_path: Path) -> None:
    container, arrows = start_container(), tmp_path / "x.arrows"
    with Following("-w", str(arrows), container.name) as follow:
        follow.ready()
        exec_id = run_exec(engine, container, ["sh", "-c", "sleep 300 & exit 3"], stdout=False, stderr=False)
        described(follow, exec_id)
        time.sleep(0.1)
        follow.stop()
        live = follow.output()
    for argv in (["--json", str(arrows)], ["--json", str(arrows), container.name]):
        replayed = subprocess.run([sys.executable, "-m", "tracer", "replay", *argv], check=True, capture_output=True)
        assert replayed.stdout == live
    only = ["--json", "--events", "session", str(arrows)]
    lines = subprocess.run([sys.executable, "-m", "tracer", "replay", *only], check=True, capture_output=True).stdout
    assert {json.loads(line)["event"] for line in lines.splitlines()} == {"session"}
