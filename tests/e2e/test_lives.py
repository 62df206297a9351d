"""The lives of containers in the stream, held against docker inspect, docker events and what the test did."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from conftest import wait_for
from following import Event, Following, lost

from tracer.stream.metadata import NEVER_RAN

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
RESTARTS = 200
STORM = ["sh", "-c", "while :; do /bin/true; /bin/true & done"]
BUSY = ["sh", "-c", "while :; do /bin/true & sleep 0.02; done"]


@pytest.fixture
def name() -> str:
    return f"nstrace-{uuid.uuid4().hex[:8]}"


class Told(Following):
    """nstrace follow with a recording; `whole` ends it, and shows that replay tells the same."""

    def __init__(self, arrows: Path, *args: str) -> None:
        self.arrows, self._shown = arrows, [arg for arg in args if arg in ("--events", "container", "exit")]
        super().__init__("-w", str(arrows), *args)

    def whole(self) -> list[Event]:
        time.sleep(2.5)  # so long what engines say may wait for the kernel's word
        events = self.stop()
        assert lost(events) == 0
        assert replayed(self.arrows, *self._shown) == self.output()
        return events


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Callable[..., Told]]:
    """follow(*args): nstrace follow, ready."""
    running: list[Told] = []

    def start(*args: str) -> Told:
        running.append(Told(tmp_path / f"{len(running)}.arrows", *args))
        wait_for(lambda: bool(running[-1].arrows.exists() and running[-1].arrows.stat().st_size))
        return running[-1]

    yield start
    for one in running:
        one.__exit__()


Deaths = dict[str, list[int]]


@pytest.fixture
def deaths(engine: Any) -> Iterator[Deaths]:
    """The exit codes of each container's ends, by id, as docker's events have them."""
    found: Deaths = defaultdict(list)
    events = engine.events(decode=True, filters={"type": "container", "event": "die"})

    def listen() -> None:
        for event in events:
            found[event["Actor"]["ID"]].append(int(event["Actor"]["Attributes"]["exitCode"]))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    yield found
    events.close()


def replayed(arrows: Path, *args: str) -> bytes:
    argv = [sys.executable, "-m", "tracer", "replay", "--json", str(arrows), *args]
    return subprocess.run(
        argv, check=True, capture_output=True, timeout=120, env={"PATH": "/bin", "LC_ALL": "C.UTF-8"}
    ).stdout


def why(*args: str) -> str:
    argv = [sys.executable, "-m", "tracer", "why", *args]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


def lives(events: list[Event], name: str = "", action: str = "") -> list[Event]:
    """What is told of a container, in order."""
    told = [event for event in events if event["event"] == "container"]
    return [event for event in told if name in ("", event["container"]["name"]) and action in ("", event["action"])]


def actions(events: list[Event], name: str) -> list[str]:
    return [event["action"] for event in lives(events, name)]


def ends(events: list[Event], name: str = "") -> list[Event]:
    return lives(events, name, "stopped")


def code(end: Event) -> int:
    """As docker reports it."""
    import signal

    return int(end["exit_code"]) if end["signal"] is None else 128 + getattr(signal.Signals, end["signal"])


def state(container: Any) -> dict[str, Any]:
    container.reload()
    return dict(container.attrs["State"])


def check_ends(events: list[Event], container: Any) -> None:
    """The last end is what docker inspect says; each is that of its first process, which may have been killed before it
    ran the container's command."""
    told, last = ends(events, container.name), state(container)
    assert code(told[-1]) == last["ExitCode"]
    firsts = [event for event in events if event.get("ns_pid") == 1 and event["event"] in ("exec", "snapshot")]
    ran = {event["incarnation"] for event in firsts}
    assert [end["doubt"] for end in told] == [None if end["incarnation"] in ran else NEVER_RAN for end in told]
    exits = {event["incarnation"]: event for event in events if event["event"] == "exit" and event["ns_pid"] == 1}
    for end in told:
        first = exits[end["incarnation"]]
        assert (end["exit_code"], end["signal"]) == (first["exit_code"], first["signal"])
        assert end["time"] >= first["time"]


@pytest.mark.timeout(400)
def test_restarts_in_a_storm(follow: Callable[..., Told], start_container: Start, deaths: Deaths) -> None:
    start_container(STORM)
    container = start_container(BUSY)
    told = follow("-F", container.name)  # on a busy machine a restart takes longer than following waits without
    told.ready()
    for _ in range(RESTARTS):
        container.restart(timeout=0)
    container.kill()
    container.wait()
    events = told.whole()
    started, stopped = lives(events, action="started"), ends(events)
    assert [event["incarnation"] for event in started] == list(range(2, RESTARTS + 2))
    assert [event["incarnation"] for event in stopped] == list(range(1, RESTARTS + 2))
    assert [code(event) for event in stopped] == deaths[container.id]
    assert {event["container"]["id"] for event in lives(events)} == {container.id}
    check_ends(events, container)
    for end in stopped:  # nobody is left: every process that was born has ended
        own = [event for event in events if event.get("incarnation") == end["incarnation"] and event.get("level")]
        born = {event["proc_id"] for event in own if event["event"] in ("fork", "snapshot")}
        assert born == {event["proc_id"] for event in own if event["event"] == "exit"}
        assert end["processes"] == sum(event["time"] > _first_exit(own) for event in own if event["event"] == "exit")


def _first_exit(own: list[Event]) -> str:
    return next(str(event["time"]) for event in own if event["event"] == "exit" and event["ns_pid"] == 1)


def test_one_name_after_another(follow: Callable[..., Told], engine: Any, image: str, name: str) -> None:
    told, ids = follow(f"{name}*"), []
    for number in range(20):
        container = engine.containers.run(
            image, ["sh", "-c", f"exit {number}"], name=name, detach=True, network_mode="none"
        )
        assert container.wait()["StatusCode"] == number
        container.remove()
        ids.append(container.id)
    events = told.whole()
    assert [(end["container"]["id"], end["exit_code"]) for end in ends(events, name)] == list(
        zip(ids, range(20), strict=True)
    )
    assert [event["container"]["id"] for event in lives(events, action="started")] == ids
    assert [event["container"]["id"] for event in lives(events, action="created")] == ids
    assert [event["container"]["id"] for event in lives(events, action="removed")] == ids
    assert actions(events, name) == ["created", "started", "stopped", "removed"] * 20


def test_of_a_project_all_that_happens_is_shown(
    follow: Callable[..., Told], engine: Any, image: str, name: str
) -> None:
    told, labels = follow(f"compose:{name}"), {"com.docker.compose.project": name}
    container = engine.containers.run(image, ["true"], name=name, detach=True, network_mode="none", labels=labels)
    container.wait()
    container.remove()
    assert actions(told.whole(), name) == ["created", "started", "stopped", "removed"]


def test_a_command_that_is_not_there(follow: Callable[..., Told], engine: Any, image: str, name: str) -> None:
    told = follow(f"{name}*")
    container = engine.containers.create(image, ["/none"], name=name, network_mode="none")
    with pytest.raises(docker.errors.APIError):
        container.start()
    container.remove()
    (end,) = ends(told.whole(), name)
    assert end["doubt"] == NEVER_RAN and end["exit_code"] not in (0, None)


def test_what_only_the_engine_knows(follow: Callable[..., Told], engine: Any, image: str, name: str) -> None:
    told = follow(f"{name}*")
    container = engine.containers.run(image, ["sleep", "600"], name=name, detach=True, network_mode="none")
    container.pause()
    container.unpause()
    container.rename(f"{name}-new")
    container.restart(timeout=0)
    container.remove(force=True)
    wait_for(lambda: "removed" in [event["action"] for event in lives(told.events())])
    events = told.whole()
    said = [event["action"] for event in lives(events)]
    assert sorted(said) == sorted(
        [
            "created",
            "started",
            "paused",
            "unpaused",
            "renamed",
            "stopped",
            "started",
            "restarting",
            "stopped",
            "removed",
        ]
    )
    assert {event["action"] for event in lives(events) if event["said_by"] == "kernel"} == {"started", "stopped"}
    (renamed,) = lives(events, action="renamed")
    assert (renamed["container"]["name"], renamed["old_name"]) == (f"{name}-new", name)


def test_out_of_memory(follow: Callable[..., Told], start_container: Start, name: str) -> None:
    told = follow(f"{name}*")
    container = start_container(["sh", "-c", "head -c 100m /dev/zero | tail"], name=name, mem_limit="16m")
    container.wait()
    events = told.whole()
    assert state(container)["OOMKilled"] is True
    (end,) = ends(events)
    assert code(end) == 137  # of the shell, or the shell itself was chosen
    assert "out of memory" in why(name, "--from", str(told.arrows))
    assert "exit code 137, memory had run out before" in why(name)
    oom, *_more = lives(events, action="oom")  # the kernel may choose both
    check_ends(events, container)
    assert oom["time"] <= end["time"] or oom["said_by"] == "engine"


@pytest.mark.parametrize("init", [False, True])
def test_a_stop_that_ends_in_sigkill(
    init: bool, follow: Callable[..., Told], start_container: Start, name: str
) -> None:
    told = follow(f"{name}*")
    container = start_container(["sh", "-c", "trap : TERM; while :; do sleep 0.1; done"], name=name, init=init)
    wait_for(lambda: any(event["event"] == "exec" and "sleep" in event["args"] for event in told.events()))
    container.stop(timeout=1)
    events = told.whole()
    check_ends(events, container)
    (end,) = ends(events)
    assert (end["signal"], code(end)) == ("SIGKILL", 137)
    assert end["signals"][0] == "SIGTERM"
    assert end["processes"] >= 1
    said = why(name, "--from", str(told.arrows))
    assert "its engine sent SIGTERM" in said


@pytest.mark.parametrize(("sent", "init"), [("SIGHUP", True), ("SIGUSR1", True), ("SIGKILL", False), ("SIGQUIT", True)])
def test_signals_by_docker_kill(
    sent: str, init: bool, follow: Callable[..., Told], start_container: Start, name: str
) -> None:
    told = follow(f"{name}*")
    container = start_container(name=name, init=init)
    wait_for(lambda: any(event["event"] == "exec" and "sleep" in event["args"] for event in told.events()))
    container.kill(signal=sent)
    container.wait()
    events = told.whole()
    check_ends(events, container)
    assert len(ends(events)) == 1


def test_a_command_that_crashes_is_told_each_time(
    follow: Callable[..., Told], start_container: Start, name: str
) -> None:
    told = follow(f"{name}*")
    container = start_container(["sh", "-c", "exit 3"], name=name, restart_policy={"Name": "always"})
    wait_for(lambda: len(ends(told.events())) >= 4)
    container.stop()
    events = told.whole()
    stopped = ends(events)
    assert {end["exit_code"] for end in stopped} == {3}
    assert [end["incarnation"] for end in stopped] == list(range(1, len(stopped) + 1))
    assert [event["incarnation"] for event in lives(events, action="started")] == list(range(1, len(stopped) + 1))
    begun = [event["time"] for event in lives(events, action="started")]
    for again in lives(events, action="restarting"):
        ended_as = again["incarnation"]
        assert stopped[ended_as - 1]["time"] < again["time"] < [*begun, "9"][ended_as]
    container.reload()
    assert container.attrs["RestartCount"] in (len(stopped) - 1, len(stopped))  # the next one may have been due
    assert f"{len(stopped)}  exit code 3" in why("--all", "--from", str(told.arrows))


def test_health(follow: Callable[..., Told], start_container: Start, name: str) -> None:
    second = 1_000_000_000
    check = {"test": ["CMD", "test", "-e", "/ok"], "interval": second, "retries": 1, "timeout": second}
    told = follow(f"{name}*")
    container = start_container(["sh", "-c", "sleep 3; touch /ok; sleep 600"], name=name, healthcheck=check)
    wait_for(lambda: [event["health"] for event in lives(told.events(), action="health")] == ["unhealthy", "healthy"])
    container.kill()
    events = told.whole()
    assert {event["said_by"] for event in lives(events, action="health")} == {"engine"}


@pytest.mark.parametrize("mode", ["host", "container"])
def test_without_a_namespace_of_its_own(
    mode: str, follow: Callable[..., Told], start_container: Start, name: str
) -> None:
    other = start_container()
    told = follow(f"{name}*")
    container = start_container(
        ["sh", "-c", "sleep 0.3; sleep 600 & exit 4"],
        name=name,
        pid_mode="host" if mode == "host" else f"container:{other.id}",
    )
    container.wait()
    for _ in range(3):
        container.start()
        container.wait()
    events = told.whole()
    kernel = [(event["action"], event["incarnation"]) for event in lives(events) if event["said_by"] == "kernel"]
    assert kernel == [(action, number) for number in range(1, 5) for action in ("started", "stopped")]
    assert {(end["exit_code"], end["doubt"]) for end in ends(events)} == {(4, None)}
    assert state(container)["ExitCode"] == 4


def test_it_dies_with_the_container_whose_namespace_it_is_in(
    follow: Callable[..., Told], start_container: Start, name: str
) -> None:
    other = start_container(name=f"{name}-1")
    told = follow(f"{name}*")
    told.ready()
    guest = start_container(name=f"{name}-2", pid_mode=f"container:{other.id}")
    wait_for(lambda: any(event["event"] == "exec" and "sleep" in event["args"] for event in told.events()))
    other.kill()
    guest.wait()
    events = told.whole()
    assert [end["signal"] for end in ends(events)] == ["SIGKILL", "SIGKILL"]
    assert ends(events, other.name)[0]["processes"] == 1
    assert code(ends(events, guest.name)[0]) == state(guest)["ExitCode"]


def test_many_that_live_for_a_moment(follow: Callable[..., Told], engine: Any, image: str, name: str) -> None:
    told, codes = follow(f"{name}-*"), {}
    for number in range(50):
        job = f"{name}-{number}"
        container = engine.containers.run(
            image, ["sh", "-c", f"exit {number}"], name=job, detach=True, network_mode="none"
        )
        codes[job] = container.wait()["StatusCode"]
        container.remove()
    wait_for(lambda: len(lives(told.events(), action="removed")) == 50)
    events = told.whole()
    assert {end["container"]["name"]: end["exit_code"] for end in ends(events)} == codes
    assert len(ends(events)) == len(lives(events, action="started")) == len(lives(events, action="created")) == 50
    assert replayed(told.arrows, f"{name}-7") == b"".join(
        line + b"\n" for line in told.output().splitlines() if f'"{name}-7"'.encode() in line
    )


def test_they_are_told_alone_or_not_at_all(follow: Callable[..., Told], start_container: Start, name: str) -> None:
    alone, without = follow("--events", "container", f"{name}*"), follow("--events", "exit", f"{name}*")
    start_container(["true"], name=name).wait()
    wait_for(lambda: len(ends(alone.events())) == 1)
    assert {event["event"] for event in alone.whole()} == {"container"}
    assert {event["event"] for event in without.whole()} == {"exit"}


def test_an_engine_that_is_believed_less_than_the_kernel(
    follow: Callable[..., Told], start_container: Start, name: str
) -> None:
    """A program that cannot be run: runc's own end is the container's, and docker has another exit code for it."""
    import docker

    told = follow(f"{name}*")
    with pytest.raises(docker.errors.APIError):
        start_container(["/none"], name=name)
    events = told.whole()
    assert [(event["action"], event["exit_code"]) for event in lives(events) if event["said_by"] == "kernel"] == [
        ("started", None), ("stopped", 1),
    ]  # fmt: skip
    assert "no such file" in why(name)
