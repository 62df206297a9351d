"""nstrace follow while the engine hangs, talks rubbish, or is not there: nothing is missed in silence."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import ENGINE, wait_for
from following import Event, Following, lost
from oracle import SOCKET, WORKLOAD, Receiver
from proxy import Proxy, proxy_to_engine

from tracer.containers.address import Address
from tracer.containers.connector import dial, serve_connections
from tracer.containers.requests import Kind, Request

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
TROUBLE = [Proxy.hang, Proxy.talk_rubbish]
COUNT = 40


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
    return [event for event in events if "proc_id" in event and (event["container"] or {}).get("name") == name]


def pids(events: list[Event], kind: str) -> set[int]:
    return {event["pid"] for event in events if event["event"] == kind}


def is_whole(events: list[Event], name: str) -> bool:
    """Whether it is told from its first process to its last."""
    mine = of(events, name)
    return bool(mine) and {("fork", 1), ("exit", 1)} <= {(event["event"], event["ns_pid"]) for event in mine}


def replayed(arrows: Path, *args: str) -> bytes:
    argv = [sys.executable, "-m", "tracer", "replay", "--json", str(arrows), *args]
    return subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout


@pytest.mark.parametrize("target", ["{}-*", "label:nstrace-test={}"])
@pytest.mark.parametrize("trouble", TROUBLE, ids=["hangs", "rubbish"])
def test_a_container_that_starts_meanwhile_is_told_late_and_whole(
    trouble: Any, target: str, name: str, proxy: Proxy, start_container: Start, receiver: Receiver, tmp_path: Path
) -> None:
    labels, arrows = {"nstrace-test": name}, tmp_path / "run.arrows"
    start_container(name=f"{name}-before", labels=labels)
    with Following("-w", str(arrows), target.format(name), stderr_to=tmp_path / "stderr") as follow:
        follow.ready()
        trouble(proxy)
        late = start_container(
            [WORKLOAD, "pairs", SOCKET, str(COUNT), "seq"], receiver, name=f"{name}-late", labels=labels
        )
        start_container(["true"], name=f"other-{name}").wait()
        pairs = {pair.host_tgid: pair.ns_pid for pair in receiver.wait(COUNT)}
        late.wait()
        wait_for(lambda: "does not answer" in follow.said())
        assert of(follow.events(), late.name) == []
        proxy.pass_on()
        follow.until(lambda events: is_whole(events, late.name))
        events, live = follow.stop(), follow.output()
    mine = of(events, late.name)
    assert set(pairs) <= pids(mine, "fork") & pids(mine, "exit")
    assert {event["pid"]: event["ns_pid"] for event in mine if event["pid"] in pairs} == pairs
    assert [event["time"] for event in mine] == sorted(event["time"] for event in mine)
    assert of(events, f"other-{name}") == []
    assert f"{late.name}: {len(mine)} events are shown late" in follow.stderr
    assert "0 lost" in follow.stderr
    assert replayed(arrows) == live
    assert replayed(arrows, target.format(name)) == live


def test_what_was_recorded_before_it_was_named_is_replayed_by_that_name(
    name: str, proxy: Proxy, start_container: Start, tmp_path: Path
) -> None:
    arrows = tmp_path / "run.arrows"
    start_container()
    with Following("-w", str(arrows), "all") as follow:
        follow.ready()
        proxy.hang()
        late = start_container(["sh", "-c", "true; true"], name=name)
        late.wait()
        follow.until(lambda events: any((event["container"] or {}).get("id") == late.id for event in events))
        proxy.pass_on()
        late.start()
        late.wait()
        follow.until(lambda events: is_whole(events, name))
        events = follow.stop()
    lives = [event for event in events if (event["container"] or {}).get("id") == late.id]
    assert len(replayed(arrows, f"{name}*").splitlines()) == len(lives) > len(of(events, name))


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


def test_what_nobody_has_decided_in_the_end_is_said_and_counted(
    name: str, proxy: Proxy, start_container: Start
) -> None:
    start_container(name=f"{name}-before")
    with Following("--require-complete", f"{name}-*") as follow:
        follow.ready()
        proxy.hang()
        start_container(["true"], name=f"{name}-late").wait()
        follow.process.send_signal(2)
        stderr = follow.ended()
        events = follow.events()
    count = lost(events)
    assert count and f"{count} events are not shown" in stderr and f", {count} lost" in stderr
    assert follow.process.returncode == 5


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


def test_a_connection_is_for_one_answer_that_was_asked_for(start_container: Start) -> None:
    """Whoever takes over the process that asks cannot ask anything else: not on the same connection either."""
    container = start_container()
    mine, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    asking, asked = socket.socketpair()
    threading.Thread(target=serve_connections, args=[theirs, asked, Address(ENGINE)], daemon=True).start()
    with mine, theirs, asking, asked:
        number = dial(mine, Request(Kind.LIST, (container.id,)), time.monotonic() + 30)
        with socket.socket(fileno=number) as connected:
            connected.settimeout(30)
            with suppress(BrokenPipeError):
                connected.sendall(f"POST /containers/{container.id}/kill HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = b""
            with suppress(ConnectionResetError):
                while piece := connected.recv(65536):
                    answer += piece
    assert answer.count(b"HTTP/1.1 ") == 1 and container.id.encode() in answer
    container.reload()
    assert container.status == "running"
