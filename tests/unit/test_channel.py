"""What the process that asks can make of ours where an engine has taken it over: nothing, whatever it sends."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import msgspec
import pytest
from fake_engine import A, B

from tracer.containers import messages
from tracer.containers.channel import Channel
from tracer.containers.connector import Running
from tracer.containers.messages import MAX_LABELS, AskFirst, AskList, Done, Failed, First, Found, Ready
from tracer.errors import ExitCode, NstraceError


@pytest.fixture
def pair() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with theirs, Channel(Running(ours, 0)) as channel, ours:
        yield channel, theirs


def found(number: int, container_id: str = A, labels: dict[str, str] | None = None) -> Found:
    return Found(number, container_id, "web", "nginx", "running", "docker", labels or {})


def test_questions_and_answers(pair: tuple[Channel, socket.socket]) -> None:
    channel, theirs = pair
    listed, first = channel.ask_list([A, B], 1.0), channel.ask_first(A, 1.0)
    questions = [messages.decode_question(theirs.recv(1 << 16)) for _ in range(2)]
    assert questions == [AskList(1, sorted([A, B]), 1.0), AskFirst(2, A, 1.0)]
    for answer in (Ready(0), First(2, 4711), found(1), Done(1)):
        theirs.send(messages.encode(answer))
    channel.wait(listed)
    assert (first.tgid, list(listed.found), listed.found[A].name) == (4711, [A], "web")


def too_long() -> bytes:
    return msgspec.msgpack.encode([4, 1, A, "x" * 5000, None, "", "", {}])


NONSENSE = [
    b"\x00",
    b"\xdd\xff\xff\xff\xff",  # a list of 2^32 - 1
    b"\x91" * 1000,
    msgspec.msgpack.encode([99, 1]),
    msgspec.msgpack.encode([6, 1, -1]),
    msgspec.msgpack.encode([6, 1, True]),
    msgspec.msgpack.encode([6, 1, 1 << 40]),
    msgspec.msgpack.encode([6, 1, "1"]),
    msgspec.msgpack.encode([7, 1, "x", "", 99, "", False]),
    msgspec.msgpack.encode([4, 1, "../x", None, None, "", "", {}]),
    too_long(),
    messages.encode(found(1, B)),  # nobody has asked about it
    messages.encode(found(1, labels={str(number): "" for number in range(2000)})),
]


@pytest.mark.parametrize("packet", NONSENSE, ids=range(len(NONSENSE)))
def test_what_nobody_has_asked_ends_it(packet: bytes, pair: tuple[Channel, socket.socket]) -> None:
    channel, theirs = pair
    asked = channel.ask_list([A], 60.0)
    theirs.send(packet)
    with pytest.raises(NstraceError, match="it says what nobody has asked"):
        channel.wait(asked)
    assert channel.fileno() == -1
    with pytest.raises(NstraceError, match="it says what nobody has asked"):
        channel.wait(channel.ask_first(A, 60.0))


def test_labels_without_end(pair: tuple[Channel, socket.socket]) -> None:
    channel, theirs = pair
    asked = channel.ask_list([A], 60.0)
    some = messages.encode(found(1, labels={str(number): "" for number in range(1000)}))
    for _ in range(MAX_LABELS // 1000 + 1):
        theirs.send(some)
        channel.receive()
    with pytest.raises(NstraceError, match="it says what nobody has asked"):
        channel.wait(asked)


def test_what_answers_no_question_of_now_is_nothing(pair: tuple[Channel, socket.socket]) -> None:
    channel, theirs = pair
    for answer in (Ready(0), found(7), Done(7), First(9, 1)):
        theirs.send(messages.encode(answer))
    asked = channel.ask_first(A, 1.0)
    theirs.send(messages.encode(First(1, None)))
    channel.wait(asked)
    assert asked.tgid is None


def test_one_that_cannot_begin_says_why(pair: tuple[Channel, socket.socket]) -> None:
    channel, theirs = pair
    theirs.send(messages.encode(Failed(0, "root's privileges cannot be given up", "be another", 4, "")))
    for _ in range(2):
        with pytest.raises(NstraceError, match="cannot be given up") as caught:
            channel.wait(channel.ask_list(None, 60.0))
        assert caught.value.exit_code == ExitCode.NOT_PERMITTED


def test_one_that_does_not_read_does_not_hold_us_up(pair: tuple[Channel, socket.socket]) -> None:
    channel, _theirs = pair
    asked = [channel.ask_list([f"{number:064x}" for number in range(256)], 60.0) for _ in range(1000)]
    assert asked[-1].failure and not asked[0].failure


def test_one_that_has_gone(pair: tuple[Channel, socket.socket]) -> None:
    channel, theirs = pair
    asked = channel.ask_list(None, 60.0)
    theirs.close()
    with pytest.raises(NstraceError, match="it has ended"):
        channel.wait(asked)
