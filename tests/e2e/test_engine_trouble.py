"""nstrace follow while the engine hangs, talks rubbish, or is not there: nothing is missed in silence."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_for
from following import Event, Following
from proxy import Proxy, proxy_to_engine

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
TROUBLE = [Proxy.hang, Proxy.talk_rubbish]


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What nstrace takes for the engine."""
    with proxy_to_engine(tmp_path / "sock") as proxy:
        monkeypatch.setenv("DOCKER_HOST", proxy.address)
        yield proxy


@pytest.fixture
def name() -> str:
    return f"nstrace-{uuid.uuid4().hex[:8]}"


def of(events: list[Event], name: str) -> list[Event]:
    return [event for event in events if (event["container"] or {}).get("name") == name]


def pids(events: list[Event], kind: str) -> set[int]:
    return {event["pid"] for event in events if event["event"] == kind}


def is_whole(events: list[Event], name: str) -> bool:
    """Whether it is told from its first process to its last."""
    mine = of(events, name)
    return bool(mine) and {("fork", 1), ("exit", 1)} <= {(event["event"], event["ns_pid"]) for event in mine}


@pytest.mark.parametrize("trouble", TROUBLE, ids=["hangs", "rubbish"])
def test_the_next_life_of_a_known_container_is_told_at_once(
    trouble: Any, name: str, proxy: Proxy, start_container: Start
) -> None:
    start_container()
    known = start_container(["true"], name=name)
    known.wait()
    with Following(f"{name}*", "nstrace-*") as follow:
        follow.ready()
        trouble(proxy)
        known.start()
        events = follow.until(lambda events: is_whole(events, name))
        follow.stop()
    assert {event["incarnation"] for event in of(events, name)} == {1}


def test_it_goes_on_while_the_engine_does_not_say_that_a_container_has_ended(
    name: str, proxy: Proxy, start_container: Start, tmp_path: Path
) -> None:
    container = start_container(name=name)
    with Following(name, stderr_to=tmp_path / "said") as follow:
        follow.ready()
        proxy.hang()
        container.kill()
        container.wait()
        follow.until(lambda events: bool(pids(events, "exit")))
        wait_for(lambda: "waiting for it" in follow.said())
        container.start()  # as an engine does that comes back to --restart=always
        proxy.pass_on()
        follow.until(lambda events: {event["incarnation"] for event in events} == {1, 2})
        container.kill()
        stderr = follow.ended()
    assert follow.process.returncode == 0, stderr
    assert "does not answer" in stderr


@pytest.mark.parametrize("lie", [b"-1", b'"1"', b"1.5"])
def test_a_first_process_that_is_none_does_not_hide_a_container(
    lie: bytes, name: str, proxy: Proxy, start_container: Start
) -> None:
    container = start_container(name=name)
    container.reload()
    init = container.attrs["State"]["Pid"]
    proxy.lie(rb'(?<="Pid":)\d+', lie)
    argv = [sys.executable, "-m", "tracer", "translate", "-q", f"{name}/1"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == (f"{init}\n", 0), done.stderr
