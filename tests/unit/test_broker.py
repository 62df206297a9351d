"""The process that keeps privileges: it performs what was agreed on, in the sizes that were agreed on."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import ROOT

from tracer.errors import NstraceError
from tracer.system.broker import Answer, Broker, Local, Operation, Operations

LARGE = bytes(range(256)) * 20_000


def refuse(_request: bytes) -> Answer:
    raise PermissionError(errno.EACCES, "whatever")


def opened(request: bytes) -> Answer:
    return Answer(b"here", (os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC),))


OPERATIONS: Operations = {
    "reverse": Operation(4, lambda request: Answer(request[::-1])),
    "nothing": Operation(0, lambda _request: Answer()),
    "large": Operation(0, lambda _request: Answer(LARGE)),
    "refuse": Operation(0, refuse),
    "open": Operation(0, opened),
    "wait": Operation(0, lambda _request: Answer(str(signal.sigtimedwait([], 0.05)).encode())),
    "who": Operation(0, lambda _request: Answer(os.getpid().to_bytes(4, "little"))),
    "descriptors": Operation(0, lambda _request: Answer(" ".join(os.listdir("/proc/self/fd")).encode())),  # noqa: PTH208
}


@pytest.fixture(params=["broker", "local"])
def privileged(request: pytest.FixtureRequest) -> Iterator[Broker | Local]:
    made = Broker(OPERATIONS) if request.param == "broker" else Local(OPERATIONS)
    with closing(made):
        yield made


@pytest.fixture
def broker() -> Iterator[Broker]:
    with closing(Broker(OPERATIONS)) as made:
        yield made


def pid_of(broker: Broker) -> int:
    return int.from_bytes(broker.ask("who").data, "little")


def test_answers_are_whole_and_in_order(privileged: Broker | Local) -> None:
    for word in (b"abcd", b"efgh"):
        assert privileged.ask("reverse", word).data == word[::-1]
        assert privileged.ask("large").data == LARGE
        assert privileged.ask("nothing") == Answer(b"", ())


def test_an_error_is_the_same_error(privileged: Broker | Local) -> None:
    with pytest.raises(PermissionError) as failure:
        privileged.ask("refuse")
    assert failure.value.errno == errno.EACCES
    assert privileged.ask("reverse", b"1234").data == b"4321"


def test_a_descriptor_is_handed_over_and_inherited_by_nobody(broker: Broker) -> None:
    answer = broker.ask("open")
    (fd,) = answer.fds
    assert not os.get_inheritable(fd)
    assert os.read(fd, 5) == b"Name:"
    os.close(fd)
    before = broker.ask("descriptors").data.split()
    os.close(broker.ask("open").fds[0])
    assert broker.ask("descriptors").data.split() == before  # it has closed its own


def test_something_else_can_be_done_meanwhile(broker: Broker) -> None:
    calls: list[int] = []
    broker.ask("wait", meanwhile=lambda: calls.append(1))
    assert calls


def test_meanwhile_something_else_can_be_asked(broker: Broker) -> None:
    answers: list[bytes] = []
    waited = broker.ask("wait", meanwhile=lambda: answers.append(broker.ask("reverse", b"1234").data))
    assert waited.data == b"None"
    assert set(answers) == {b"4321"}
    assert broker.ask("reverse", b"abcd").data == b"dcba"


def test_it_holds_nothing_else_of_ours() -> None:
    reading, writing = os.pipe()
    kept = os.open("/dev/null", os.O_RDONLY)
    with closing(Broker(OPERATIONS, keep=[kept])) as broker:
        held = set(map(int, broker.ask("descriptors").data.split()))
        os.close(writing)
        assert os.read(reading, 1) == b""  # it has not kept the other end
    assert {0, 1, 2, kept} <= held
    assert len(held) <= 6  # with its channel, and the one that lists them
    os.close(reading)
    os.close(kept)


def test_it_gains_nothing_by_an_exec_and_ignores_signals(broker: Broker) -> None:
    pid = pid_of(broker)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        os.kill(pid, number)
    assert "\nNoNewPrivs:\t1\n" in Path(f"/proc/{pid}/status").read_text()
    assert broker.ask("reverse", b"1234").data == b"4321"


@pytest.mark.parametrize("request_", [b"\xff\xff", b"\x00\x00ab"])
def test_whoever_sends_what_was_not_agreed_on_gets_no_answer(request_: bytes) -> None:
    broker = Broker(OPERATIONS)
    pid = pid_of(broker)
    broker._ours.sendall(request_)
    broker.close()
    assert not Path(f"/proc/{pid}").exists()


def test_it_ends_with_the_one_who_asks() -> None:
    reading, writing = os.pipe()
    asker = os.fork()
    if asker == 0:
        os.write(writing, pid_of(Broker(OPERATIONS)).to_bytes(4, "little"))
        signal.pause()
    pidfd = os.pidfd_open(int.from_bytes(os.read(reading, 4), "little"))
    os.kill(asker, signal.SIGKILL)
    os.waitpid(asker, 0)
    assert select.select([pidfd], [], [], 20)[0]
    for fd in (pidfd, reading, writing):
        os.close(fd)


@pytest.mark.parametrize(("limit", "said"), [(60, "reversed"), (5, "cannot be started: Too many open files")])
def test_descriptors_and_their_limit(limit: int, said: str) -> None:
    """One whose number is above the limit is closed; where there is no room for ours, that is the reason."""
    code = f"""
import os, resource
from tracer.errors import NstraceError
from tracer.system.broker import Answer, Broker, Operation
os.dup2(0, 100)
broker_of = lambda: Broker({{"x": Operation(0, lambda _request: Answer(b"reversed"))}})
ours = [os.dup(0) for _ in range(20)]
before = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
fork = os.fork
def forked():
    child = fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, before))
    return child
os.fork = forked
try:
    print(broker_of().ask("x").data.decode())
except NstraceError as error:
    print(error.message)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert said in done.stdout, done.stderr


def test_where_it_was_killed_that_is_said(broker: Broker) -> None:
    os.kill(pid_of(broker), signal.SIGKILL)
    with pytest.raises(NstraceError, match="keeps nstrace's privileges has ended"):
        while True:
            broker.ask("reverse", b"1234")


def test_an_inlet_needs_no_answer() -> None:
    reading, writing = os.pipe()
    back_reading, back_writing = os.pipe()

    def pass_on() -> None:
        os.write(back_writing, os.read(reading, 1).upper())

    with closing(Broker(OPERATIONS, keep=[back_writing], inlets={reading: pass_on})) as broker:
        os.write(writing, b"a")
        assert os.read(back_reading, 1) == b"A"
        assert broker.ask("reverse", b"1234").data == b"4321"
    for fd in (reading, writing, back_reading, back_writing):
        os.close(fd)
