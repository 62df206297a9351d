"""nstrace follow while the engine is restarted, killed and stopped: containers go on, and so do their events."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_for
from following import Event, Following, lost
from own_engine import OwnEngine, own_engine

pytestmark = pytest.mark.e2e

_DECIDED_S = 4.0  # until an engine's silence about other containers of this host counts as an answer
TICKS = ("sh", "-c", "while true; do sleep 0.1; done")


@pytest.fixture(params=[True, False], ids=["live-restore", "plain"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnEngine]:
    """What nstrace asks."""
    with own_engine(request.param) as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        yield engine


def named(events: list[Event], name: str) -> list[Event]:
    """Those about its processes."""
    named = [event for event in events if (event["container"] or {}).get("name") == name]
    return [event for event in named if "ns_pid" in event]


def is_whole(events: list[Event], name: str) -> bool:
    mine = {(event["event"], event["ns_pid"]) for event in named(events, name) if "ns_pid" in event}
    return {("fork", 1), ("exit", 1)} <= mine


def check(events: list[Event], stderr: str) -> None:
    """Nothing is lost, nobody else is shown, and each life has one name."""
    assert lost(events) == 0 and ", 0 lost" in stderr
    containers = [event["container"] for event in events if event["event"] not in ("gap", "repair")]
    assert {found["name"].startswith("job-") for found in containers} == {True}
    labels: dict[tuple[str, int], set[str]] = {}
    for event in events:
        if event.get("ns_pid") == 1 and event["event"] == "fork":
            labels.setdefault((event["container"]["id"], event["pid"]), set()).add(str(event["incarnation"]))
    assert all(len(numbers) == 1 for numbers in labels.values())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["restarted", "killed"])
def test_it_is_gone_for_a_while(number: signal.Signals, engine: OwnEngine, tmp_path: Path) -> None:
    engine.run("job-old", *TICKS)
    engine.run("other", *TICKS)
    with Following("job-*", stderr_to=tmp_path / "said") as follow:
        follow.ready()
        engine.signal(number)
        gone_ns = time.time_ns()
        wait_for(lambda: "does not answer" in follow.said())
        engine.start()
        for at in range(5):
            engine.run(f"job-{at}", "true", options=("--rm",))
            engine.run(f"no-{at}", "true", options=("--rm",))
        events = follow.until(lambda events: all(is_whole(events, f"job-{at}") for at in range(5)))
        wait_for(lambda: "answers again after" in follow.said() and "may be missing" in follow.said())
        events = follow.stop()
        check(events, follow.stderr)
    assert gone_ns < time.time_ns()
    assert {event["incarnation"] for event in named(events, "job-4")} == {1}


def test_it_comes_up_after_what_runs_there(engine: OwnEngine, tmp_path: Path) -> None:
    engine.run("job-old", *TICKS)
    engine.signal(signal.SIGKILL)  # which leaves its containers running
    with Following("all", stderr_to=tmp_path / "said") as follow:
        follow.ready()
        wait_for(lambda: "names of new containers are missing" in follow.said())
        time.sleep(7)  # longer than it used to be asked for a name
        assert named(follow.events(), "job-old") == []
        engine.start()
        if engine.keeps:
            follow.until(lambda events: len(named(events, "job-old")) > 5)
        engine.run("job-new", "true")
        events = follow.until(lambda events: is_whole(events, "job-new"))
        follow.stop()
    assert {event["incarnation"] for event in named(events, "job-old")} <= {1}


def test_it_is_stopped_and_goes_on(engine: OwnEngine, tmp_path: Path) -> None:
    engine.run("job-old", *TICKS)
    with Following("job-*", stderr_to=tmp_path / "said") as follow:
        follow.ready()
        before = len(follow.events())
        engine.signal(signal.SIGSTOP)
        follow.until(lambda events: len(events) > before + 20)
        engine.signal(signal.SIGCONT)
        for at in range(10):
            engine.run(f"job-{at}", "true", options=("--rm",))
        follow.until(lambda events: all(is_whole(events, f"job-{at}") for at in range(10)))
        events = follow.stop()
        check(events, follow.stderr)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=["hangs", "is down"])
def test_a_pattern_waits_for_one_that_is_silent(number: signal.Signals, engine: OwnEngine, tmp_path: Path) -> None:
    engine.run("job-old", *TICKS)
    engine.run("other", *TICKS)
    engine.signal(number)
    with Following("job-*", stderr_to=tmp_path / "said") as follow:
        wait_for(lambda: "what may match job-* is held back" in follow.said())
        wait_for(lambda: "events of unnamed containers are held back" in follow.said())  # it has begun
        if number == signal.SIGSTOP:
            engine.signal(signal.SIGCONT)
        else:
            engine.start()
        engine.run("job-new", "true")
        if engine.keeps or number == signal.SIGSTOP:
            follow.until(lambda events: len(named(events, "job-old")) > 5)
        follow.until(lambda events: is_whole(events, "job-new"))
        time.sleep(_DECIDED_S)
        events = follow.stop()
        check(events, follow.stderr)


def test_it_is_killed_amid_what_it_starts(engine: OwnEngine, tmp_path: Path) -> None:
    """--restart=always: they run on, or are started again by the engine that comes back, before it answers."""
    for at in range(3):
        engine.run(f"job-{at}", *TICKS, options=("-d", "--restart=always"))
    with Following("job-*", stderr_to=tmp_path / "said") as follow:
        for _ in range(3):
            count = len(follow.events())
            follow.until(lambda events, count=count: {"job-0", "job-1", "job-2"} <= names_since(events, count))  # type: ignore[misc]
            engine.signal(signal.SIGKILL)
            engine.start()
        count = len(follow.events())
        follow.until(lambda events: {"job-0", "job-1", "job-2"} <= names_since(events, count))
        events = follow.stop()
        check(events, follow.stderr)
    for at in range(3):
        lives = [event["incarnation"] for event in named(events, f"job-{at}") if is_first(event)]
        assert lives == ([] if engine.keeps else [2, 3, 4])


def names_since(events: list[Event], count: int) -> set[str]:
    return {event["container"]["name"] for event in events[count:] if event["container"]}


def is_first(event: Event) -> bool:
    return (event["event"], event["ns_pid"]) == ("fork", 1)
