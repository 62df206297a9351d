"""What is followed, and until when: names, lives, patterns, labels by hand, on real containers."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_for
from docker.errors import APIError
from following import DEADLINE_S, Event, Following, lost
from lives import Stream, lives_under_one_name, missing_of, wrong_about
from oracle import SOCKET, Ledger, Receiver
from stack import Space, size

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
Run = Callable[..., Ledger]
STOPPABLE = ("sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done")


@pytest.fixture
def name() -> str:
    return f"nstrace-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def said(tmp_path: Path) -> Path:
    return tmp_path / "said"


@pytest.fixture
def remove(engine: Any) -> Iterator[list[str]]:
    """Names of containers to be removed in the end."""
    names: list[str] = []
    yield names
    for container in engine.containers.list(all=True):
        if container.name in names:
            container.remove(force=True)


def names_in(events: list[Event]) -> set[str | None]:
    return {event["container"]["name"] for event in events if event.get("container")}


def lines(follow: Following) -> list[str]:
    """What was said of containers."""
    mine = [line.removeprefix("nstrace: ") for line in follow.said().splitlines()]
    return [line for line in mine if "events" not in line]


def test_a_name_through_removal_and_new_containers_beside_a_storm(
    engine: Any, image: str, workload: Path, name: str, said: Path
) -> None:
    with Following("-F", name, stderr_to=said) as follow:
        wait_for(lambda: "waiting for one" in follow.said())
        storm = Space(workload, "storm", 10_000_000, os.cpu_count() or 1)
        wait_for(lambda: follow.process.poll() is None and traces(follow))
        lives = lives_under_one_name(engine, image, workload, name, size(10, 100))
        storm.kill()
        follow.until(lambda events: not missing_of(lives[-1], Stream(events)))
        events = follow.stop()
    stream = Stream(events)
    assert [line for life in lives for line in wrong_about(life, stream)] == []
    assert sum(missing_of(life, stream) for life in lives) == 0
    assert lost(events) == 0
    assert names_in(events) == {name}
    labels = [name, *(f"{name}#{number}" for number in range(2, len(lives) + 1))]
    starts = [line for line in lines(follow) if line.endswith("has started")]
    assert starts == [f"{label} has started" for label in labels]
    ends = [line for line in lines(follow) if "has stopped" in line]
    assert len(ends) == len(lives)
    assert all("SIGKILL" in line and line.endswith("waiting for its next start") for line in ends)
    assert sum("was removed; waiting for a new container of this name" in line for line in lines(follow)) == len(lives)


def traces(follow: Following) -> bool:
    """Whether its programs are attached: the reader has given its privileges up by then."""
    status = Path(f"/proc/{follow.process.pid}/status").read_text()
    return any(line.startswith("Uid:") and line.split()[1] != "0" for line in status.splitlines())


@pytest.mark.parametrize(
    ("end", "code"), [(lambda container: container.stop(), 3), (lambda container: container.kill(), 137)]
)
def test_the_exit_code_is_the_containers(
    end: Callable[[Any], None], code: int, start_container: Start, said: Path
) -> None:
    container = start_container(STOPPABLE)
    with Following("--exit-code", container.name, stderr_to=said) as follow:
        follow.ready()
        end(container)
        follow.ended()
    assert follow.process.returncode == code
    assert container.wait()["StatusCode"] == code
    assert f"nothing is left to follow: {container.name} has ended" in follow.said()


def test_the_exit_code_of_a_container_that_shares_the_hosts_pids(start_container: Start, said: Path) -> None:
    container = start_container(STOPPABLE, pid_mode="host")
    with Following("--exit-code", container.name, stderr_to=said) as follow:
        follow.ready()
        container.stop()
        follow.ended()
    assert follow.process.returncode == container.wait()["StatusCode"] == 3


def test_without_an_end_there_is_no_exit_code(start_container: Start, said: Path) -> None:
    container = start_container()
    with Following("--exit-code", "--duration", "0.5", container.name, stderr_to=said) as follow:
        follow.ended()
    assert follow.process.returncode == 1
    assert f"no end of {container.name} was seen: its exit code is not known" in follow.said()


def test_the_exit_code_of_a_container_that_gets_the_name_when_it_has_ended(
    name: str, start_container: Start, said: Path
) -> None:
    with Following("-F", "--exit-code", f"{name}-new", stderr_to=said) as follow:
        wait_for(lambda: "waiting for one" in follow.said())
        container = start_container(["sh", "-c", "exit 7"], name=name)
        container.wait()
        wait_for(lambda: traces(follow))
        container.rename(f"{name}-new")
        follow.ended()
    assert follow.process.returncode == 7
    assert "it had ended before: exit 7, as its engine reports it" in follow.said()


@pytest.mark.parametrize("options", [(), ("--where", "event = 'exec'"), ("--comm", "nobody")])
def test_the_exit_code_of_a_container_that_is_not_there_yet(
    options: tuple[str, ...], name: str, start_container: Start, said: Path
) -> None:
    with Following("-F", "--exit-code", *options, name, stderr_to=said) as follow:
        wait_for(lambda: "waiting for one" in follow.said() and traces(follow))
        start_container(("sh", "-c", "sleep 0.5; exit 5"), name=name)
        follow.ended()
    assert follow.process.returncode == 5
    assert lines(follow)[1:] == [
        f"{name} has started",
        next(line for line in lines(follow) if line.startswith(f"{name} has stopped: exit 5 after")),
        f"nothing is left to follow: {name} has ended",
    ]


def test_the_exit_code_of_a_command_that_is_not_there_is_the_engines(
    engine: Any, image: str, name: str, said: Path, remove: list[str]
) -> None:
    """The kernel shows how its runtime ended; what Docker says is 127, as a shell does."""
    remove.append(name)
    with Following("-F", "--exit-code", name, stderr_to=said) as follow:
        wait_for(lambda: "waiting for one" in follow.said() and traces(follow))
        container = engine.containers.create(image, ["/none"], name=name, network_mode="none")
        with pytest.raises(APIError, match="/none"):
            container.start()
        follow.ended()
    container.reload()
    assert (follow.process.returncode, container.attrs["State"]["ExitCode"]) == (127, 127)


def test_one_that_is_made_anew_has_a_number_of_its_own_from_its_creation_on(
    engine: Any, image: str, name: str, said: Path, remove: list[str]
) -> None:
    remove.append(name)
    first = engine.containers.run(image, ["sleep", "600"], name=name, network_mode="none", detach=True)
    with Following("-F", name, stderr_to=said) as follow:
        wait_for(lambda: traces(follow))
        first.remove(force=True)
        wait_for(lambda: "waiting for a new container" in follow.said())
        engine.containers.run(image, ["true"], name=name, network_mode="none")
        wait_for(lambda: f"{name}#2 has stopped" in follow.said())
        events = follow.stop()
    told = [(event["action"], event["container"]["id"] == first.id, event["incarnation"])
            for event in events if event["event"] == "container"]  # fmt: skip
    assert ("removed", True, 1) in told
    assert [(is_first, number) for action, is_first, number in told if action in ("created", "started")] == [
        (False, 2), (False, 2)
    ]  # fmt: skip


def test_out_of_memory_is_said(start_container: Start, said: Path) -> None:
    fills = "x=x; while :; do x=$x$x; done"
    container = start_container(
        ("sh", "-c", f"while ! [ -e /tmp/go ]; do sleep 0.05; done; {fills}"), mem_limit="16m", tmpfs={"/tmp": ""}
    )
    with Following("--exit-code", container.name, stderr_to=said) as follow:
        follow.ready()
        container.exec_run(["touch", "/tmp/go"])
        follow.ended()
    assert follow.process.returncode == 137
    container.reload()
    assert container.attrs["State"]["OOMKilled"]
    assert any("SIGKILL" in line for line in lines(follow))


def test_a_container_that_stops_is_followed_by_its_name_to_its_next_start(start_container: Start, said: Path) -> None:
    container = start_container(STOPPABLE)
    with Following("-F", container.name, stderr_to=said) as follow:
        follow.ready()
        container.stop()
        wait_for(lambda: "waiting for its next start" in follow.said())
        container.start()
        follow.until(lambda events: any(event.get("incarnation") == 2 for event in events))
        follow.stop()
    assert [line.split(" after ")[0] for line in lines(follow)] == [
        f"{container.name} has stopped: exit 3",
        f"{container.name}#2 has started",
    ]


def test_a_container_that_stops_ends_the_following_of_it_alone(start_container: Start, said: Path) -> None:
    one, other = start_container(STOPPABLE), start_container(STOPPABLE)
    with Following(one.name, other.name, stderr_to=said) as follow:
        follow.until(lambda events: names_in(events) == {one.name, other.name})
        one.stop()
        wait_for(lambda: f"{one.name} has stopped" in follow.said())
        other.stop()
        follow.ended()
    assert follow.process.returncode == 0
    assert lines(follow)[-1].startswith(f"nothing is left to follow: {one.name}, {other.name} have ended")


def test_a_container_that_is_removed_before_it_started_ends_it(engine: Any, image: str, name: str, said: Path) -> None:
    container = engine.containers.create(image, ["sleep", "600"], name=name)
    try:
        with Following(name, stderr_to=said) as follow:
            wait_for(lambda: "waiting for it to start" in follow.said() and traces(follow))
            container.remove()
            follow.ended()
    finally:
        for left in engine.containers.list(all=True, filters={"name": name}):
            left.remove(force=True)
    assert follow.process.returncode == 0
    assert lines(follow)[-2:] == [
        f"{name} was removed",
        f"nothing is left to follow: {name} has ended (-F waits for the next start)",
    ]


def test_a_life_is_a_target_live_and_recorded(start_container: Start, said: Path, tmp_path: Path) -> None:
    container, file = start_container(STOPPABLE), tmp_path / "x.arrows"
    with Following("-w", str(file), "--duration", "60", container.name) as all_lives:
        all_lives.ready()
        with Following(f"{container.name}#2", stderr_to=said) as follow:
            wait_for(lambda: traces(follow))
            container.restart()
            second = follow.until(lambda events: any(event["event"] == "exec" for event in events))
            container.restart()
            follow.ended()
            second = follow.events()
        all_lives.until(lambda events: any(event.get("incarnation") == 3 for event in events))
        all_lives.stop()
    assert follow.process.returncode == 0
    assert {event["incarnation"] for event in second if event["event"] != "gap"} == {2}
    replayed = json_of("replay", str(file), f"{container.name}#2")
    assert {event["incarnation"] for event in replayed} == {2}
    assert [event["pid"] for event in replayed if event["event"] == "exit"] == [
        event["pid"] for event in second if event["event"] == "exit"
    ]


def json_of(verb: str, *args: str) -> list[Event]:
    import json

    argv = [sys.executable, "-m", "tracer", verb, "--json", *args]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=DEADLINE_S)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_renamed_container_is_followed_by_its_id(
    name: str, start_container: Start, run_ledger: Run, receiver: Receiver, said: Path
) -> None:
    container = start_container(receiver=receiver)
    with Following(container.name, stderr_to=said) as follow:
        follow.ready()
        container.rename(name)
        wait_for(lambda: "was renamed" in follow.said())
        run_ledger(container, "pairs", SOCKET, 20, "seq", 0)
        pairs = receiver.wait(20)
        events = follow.stop()
    forks = {event["pid"]: event for event in events if event["event"] == "fork"}
    assert {forks[pair.host_tgid]["container"]["name"] for pair in pairs} == {name}
    assert lines(follow) == [f"{container.name} was renamed to {name}: it is followed"]


def test_a_pattern_picks_up_a_container_that_is_renamed_into_it(
    name: str, start_container: Start, run_ledger: Run, holding_receiver: Receiver, said: Path, tmp_path: Path
) -> None:
    receiver, file = holding_receiver, tmp_path / "x.arrows"
    container = start_container(receiver=receiver)
    with Following(f"{name}*", "-w", str(file), stderr_to=said) as follow:
        wait_for(lambda: "waiting for one to start" in follow.said() and traces(follow))
        before = subprocess.Popen(["docker", "exec", container.name, "/workload", "pairs", SOCKET, "20", "burst", "0"])
        there = {pair.host_tgid for pair in receiver.wait(20)}
        container.rename(name)
        follow.until(lambda events: there <= {event.get("pid") for event in events})
        receiver.release()
        assert before.wait(timeout=DEADLINE_S) == 0
        run_ledger(container, "pairs", SOCKET, 20, "seq", 0)
        later = {pair.host_tgid for pair in receiver.wait(40)} - there
        events, output = follow.stop(), follow.output()
    first = {event["pid"]: event["event"] for event in reversed(events) if "pid" in event}
    assert {first[tgid] for tgid in there} == {"snapshot"}
    assert {first[tgid] for tgid in later} == {"fork"}
    exits = [event["pid"] for event in events if event["event"] == "exit"]
    assert there | later <= set(exits)
    assert len(exits) == len(set(exits))
    assert names_in(events) == {name}
    assert output == replayed(file)
    assert output == replayed(file, f"{name}*")


def replayed(file: Path, *targets: str) -> bytes:
    argv = [sys.executable, "-m", "tracer", "replay", "--json", str(file), *targets]
    environment = {**os.environ, "DOCKER_HOST": "unix:///nowhere"}
    return subprocess.run(argv, capture_output=True, check=True, timeout=DEADLINE_S, env=environment).stdout


def test_a_container_that_takes_the_name_of_another_at_once(
    engine: Any, image: str, name: str, remove: list[str], said: Path
) -> None:
    remove += [name, f"{name}-old", f"{name}-new"]
    old = engine.containers.run(image, ["sleep", "600"], name=name, detach=True, network_mode="none")
    with Following("-F", name, stderr_to=said) as follow:
        follow.ready()
        new = engine.containers.create(image, ["sleep", "601"], name=f"{name}-new", network_mode="none")
        old.kill()
        old.rename(f"{name}-old")
        new.rename(name)
        new.start()
        seen = follow.until(lambda events: any(event.get("args") == ["sleep", "601"] for event in events))
        follow.stop()
    (started,) = [event for event in seen if event.get("args") == ["sleep", "601"] and event["event"] == "exec"]
    assert started["container"] == {**started["container"], "id": new.id, "name": name}


@pytest.mark.parametrize("vendor", ["com.docker", "io.podman"])
def test_compose_by_labels(vendor: str, name: str, start_container: Start) -> None:
    def part(project: str, service: str) -> Any:
        labels = {f"{vendor}.compose.project": f"{name}{project}", f"{vendor}.compose.service": f"{name}{service}"}
        return start_container(labels=labels)

    api, db, other = part("shop", "api"), part("shop", "db"), part("bar", "api")
    wanted = {
        f"compose:{name}shop": {api, db},
        f"compose:{name}api": {api, other},
        f"compose:{name}shop/{name}api": {api},
        f"compose:{name}*/{name}db": {db},
        f"label:{vendor}.compose.project={name}*": {api, db, other},
    }
    for target, containers in wanted.items():
        names = {container.name for container in containers}
        shown = json_of("ps", target)
        assert names_in(shown) == names, target
    with Following(f"compose:{name}shop/{name}api") as follow:
        events = follow.ready().stop()
    assert names_in(events) == {api.name}


def test_an_image_by_its_id_and_by_a_full_reference(image: str, engine: Any, start_container: Start) -> None:
    container = start_container()
    image_id = engine.images.get(image).id
    targets = [image_id, image_id[:19], image_id.removeprefix("sha256:")[:12]]
    for target in (*targets, f"docker.io/library/{image}", f"{image[:-1]}*"):
        assert container.name in names_in(json_of("ps", f"image:{target}")), target


def test_without_any_engine_an_id_is_followed_to_its_end(
    start_container: Start, said: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = start_container(STOPPABLE)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/sock")
    with Following("--exit-code", container.id[:10], stderr_to=said) as follow:
        events = follow.ready().events()
        container.stop()
        follow.ended()
    assert follow.process.returncode == 3
    assert {event["container"]["id"] for event in events} == {container.id}
    short = container.id[:12]
    assert [line.split(" after ")[0] for line in lines(follow)] == [
        f"{short} has stopped: exit 3",
        f"nothing is left to follow: {container.id[:10]} has ended (-F waits for the next start)",
    ]


def test_without_any_engine_an_id_that_is_not_there_yet_is_waited_for_with_f(
    engine: Any, image: str, name: str, remove: list[str], said: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove += [name]
    container = engine.containers.create(image, ["sleep", "600"], name=name, network_mode="none")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/sock")
    with Following("-F", container.id[:20], stderr_to=said) as follow:
        wait_for(lambda: "waiting for one" in follow.said() and traces(follow))
        container.start()
        events = follow.until(lambda seen: any(event.get("args") == ["sleep", "600"] for event in seen))
        follow.stop()
    assert {event["container"]["id"] for event in events if event.get("container")} == {container.id}


def test_an_inner_container_is_a_target_everywhere(inner_engine: Any, receiver: Receiver, tmp_path: Path) -> None:
    inner = inner_engine.containers.run(inner_engine.image, ["sleep", "600"], network_mode="none", detach=True)
    short, file = inner.id[:12], tmp_path / "x.arrows"
    with Following("-w", str(file), short) as follow:
        events = follow.ready().stop()
    assert {event["container"]["id"] for event in events} == {inner.id}
    assert names_in(json_of("ps", short)) == {None}
    assert [event["pid"] for event in json_of("replay", str(file), short)] == [event["pid"] for event in events]
    (answer,) = json_of("translate", f"{short}/1")
    assert answer["pid"] == events[0]["pid"]
