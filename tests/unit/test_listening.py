"""An engine's events, from its socket to a stream: what it said while nobody heard it comes too, or is said to miss."""

from __future__ import annotations

import itertools
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from conftest import wait_for
from engine_processes import engine_process_of
from fake_engine import A, B, FakeEngine, container, event, serving

from tracer.containers.address import Address
from tracer.containers.answers import Description
from tracer.containers.channel import Channel
from tracer.containers.enquiry import Enquiry, Period
from tracer.stream.metadata import EngineEvent, ExecFact

EXEC = "e" * 64


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Channel]:
    """Opened before the engine, whose threads a fork must not meet."""
    with Channel.opened(Address(f"unix://{tmp_path}/sock")) as channel:
        yield channel


@pytest.fixture
def fake(channel: Channel, tmp_path: Path) -> Iterator[FakeEngine]:
    with serving(tmp_path / "sock") as engine:
        engine.containers = [container(A, "web"), container(B, "db", "exited")]
        yield engine


class Listener:
    """Collects what an enquiry hears."""

    def __init__(self, channel: Channel, is_there: bool = True) -> None:
        self.enquiry = Enquiry([(channel, {} if is_there else None)])
        self.events: list[EngineEvent] = []
        self.missed: list[Period] = []

    def has(self, count: int) -> bool:
        self.enquiry.news()
        self.events += self.enquiry.events()
        self.missed += self.enquiry.missed()
        return len(self.events) >= count

    def hears(self, count: int) -> list[EngineEvent]:
        wait_for(lambda: self.has(count))
        return self.events


def test_what_happens(fake: FakeEngine, channel: Channel) -> None:
    listener = Listener(channel)
    wait_for(lambda: fake.listeners == 1)
    now_ns = time.time_ns()
    fake.events += [event(A, "die", now_ns, exitCode="137"), event(B, "start", now_ns + 1, "db")]
    assert listener.hears(2) == [
        EngineEvent(A, "die", now_ns, "docker", "web", "nginx:1.27", {"exitCode": "137"}),
        EngineEvent(B, "start", now_ns + 1, "docker", "db", "nginx:1.27", {}, {"a.label": "x"}),
    ]
    assert listener.missed == []


def test_it_wakes_who_waits(fake: FakeEngine, channel: Channel) -> None:
    listener = Listener(channel)
    wait_for(lambda: fake.listeners == 1)
    wait_for(lambda: not listener.has(1) and channel.is_heard is True)
    fake.events.append(event(A, "die", time.time_ns()))
    assert select.select([listener.enquiry], [], [], 30)[0]
    assert listener.has(1)


def test_what_was_said_meanwhile_comes_and_the_time_is_told(fake: FakeEngine, channel: Channel) -> None:
    listener = Listener(channel)
    wait_for(lambda: not listener.has(1) and channel.is_heard is True)
    before_ns = time.time_ns()
    fake.events.append(event(A, "die", before_ns))
    listener.hears(1)
    fake.is_cut_off = True
    wait_for(lambda: fake.listeners == 0)
    fake.events.append(event(A, "start", time.time_ns()))
    wait_for(lambda: len(fake.since) >= 3)
    fake.is_cut_off = False
    assert [said.action for said in listener.hears(2)] == ["die", "start"]  # and none of them twice
    wait_for(lambda: listener.has(0) and len(listener.missed) >= 1)
    assert fake.since[1] == f"{before_ns // 10**9}.{before_ns % 10**9:09}"
    [*_, (engine, since_ns, until_ns)] = listener.missed
    assert engine == "docker" and before_ns < since_ns < until_ns < time.time_ns()


def test_one_that_comes_up_late(channel: Channel, tmp_path: Path) -> None:
    listener = Listener(channel, is_there=False)
    assert listener.enquiry.describe(A) is not None
    with serving(tmp_path / "sock") as late:
        late.containers = [container(A, "web")]
        wait_for(lambda: listener.has(0) and late.listeners == 1)
        late.events.append(event(A, "die", time.time_ns()))
        listener.hears(1)
        wait_for(lambda: listener.has(0) and listener.enquiry.describe(A) == Description("web", "nginx:1.27"))


def test_one_that_is_back_is_asked_for_everything_again(fake: FakeEngine, channel: Channel, tmp_path: Path) -> None:
    listener = Listener(channel)
    wait_for(lambda: fake.listeners == 1)
    fake.shutdown()
    fake.released.set()
    fake.server_close()
    (tmp_path / "sock").unlink()
    with serving(tmp_path / "sock") as again:
        again.containers = [container(A, "web")]
        wait_for(lambda: listener.has(0) and len(listener.missed) == 1)
        wait_for(lambda: "/containers/json" in again.asked)
        wait_for(lambda: listener.has(0) or listener.enquiry.describe(A) == Description("web", "nginx:1.27"))


def test_the_process_that_asks_may_die(fake: FakeEngine, channel: Channel) -> None:
    listener = Listener(channel)
    wait_for(lambda: fake.listeners == 1)
    fake.events.append(event(A, "die", time.time_ns()))
    listener.hears(1)
    os.kill(engine_process_of(os.getpid()), signal.SIGKILL)
    wait_for(lambda: listener.has(1) and len(fake.since) == 2)
    fake.events.append(event(A, "start", time.time_ns()))
    assert [said.action for said in listener.hears(2)] == ["die", "start"]


def test_it_hears_while_an_answer_is_awaited(fake: FakeEngine, channel: Channel) -> None:
    listener = Listener(channel)
    wait_for(lambda: fake.listeners == 1)
    fake.pause_s = 3.0
    began = time.monotonic()
    listener.enquiry.describe("c" * 64)
    fake.events.append(event(A, "die", time.time_ns()))
    listener.hears(1)
    assert time.monotonic() - began < 3.0


def slowly(raw: bytes) -> Iterator[bytes]:
    for byte in raw:
        yield bytes([byte])
        time.sleep(0.1)


HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
HOSTILE: dict[str, list[bytes]] = {
    "rubbish": [b"\x00\xff" * 1000],
    "an error": [b"HTTP/1.1 500 Oops\r\n\r\n"],
    "nonsense": [HEAD, b'{"Action":5}\n'],
    "a line without end": [HEAD, *[b"x" * 65536] * 100],
    "its end": [HEAD],
    "nothing": [],
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_the_names_come_whatever_it_streams(raw: list[bytes], fake: FakeEngine, channel: Channel) -> None:
    fake.raw_events = raw
    listener = Listener(channel)
    wait_for(lambda: len(fake.since) >= 3)
    assert not listener.has(1)
    wait_for(lambda: listener.has(0) and listener.enquiry.describe(A) == Description("web", "nginx:1.27"))
    fake.raw_events = None
    wait_for(lambda: fake.listeners == 1)
    fake.events.append(event(A, "die", time.time_ns()))
    listener.hears(1)


@pytest.mark.parametrize("raw", [itertools.repeat(b"x" * 65536), slowly(HEAD * 100)], ids=["a gigabyte", "slow bytes"])
def test_neither_length_nor_slowness_harms(raw: Iterable[bytes], fake: FakeEngine, channel: Channel) -> None:
    fake.raw_events = raw
    listener = Listener(channel)
    wait_for(lambda: listener.has(0) and listener.enquiry.describe(A) == Description("web", "nginx:1.27"))
    wait_for(lambda: len(fake.since) >= 2)


def test_a_flood_is_cut_and_that_is_told(fake: FakeEngine, channel: Channel) -> None:
    listener = Listener(channel)
    wait_for(lambda: fake.listeners == 1)
    now_ns = time.time_ns()
    fake.events += [event(A, "kill", now_ns + number) for number in range(20_000)]
    listener.hears(5000)
    fake.events.append(event(A, "die", now_ns + 20_000))

    def is_told() -> bool:
        fake.events.append(event(A, "die", time.time_ns()))
        return listener.has(0) and len(listener.missed) > 0

    wait_for(is_told)
    assert len(listener.events) < 20_000
    assert all(period.until_ns > period.since_ns for period in listener.missed)


def test_an_exec_that_it_has_named(fake: FakeEngine, channel: Channel) -> None:
    process = {"entrypoint": "sh", "arguments": ["-c", "ls"], "user": "nobody"}
    fake.execs[EXEC] = {"ID": EXEC, "ContainerID": A, "Pid": 4711, "Running": True, "ProcessConfig": process}
    listener = Listener(channel)
    assert listener.enquiry.exec(EXEC) is None  # nobody has named it
    wait_for(lambda: fake.listeners == 1)
    fake.events += [event(A, "exec_create: sh", time.time_ns() + at, execID=one) for at, one in enumerate((EXEC, B))]
    listener.hears(2)
    expected = ExecFact(EXEC, A, 4711, "nobody", ["sh", "-c", "ls"])
    wait_for(lambda: listener.has(0) and listener.enquiry.exec(EXEC) == expected)
    wait_for(lambda: listener.has(0) and listener.enquiry.exec(B) is None)
