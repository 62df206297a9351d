"""What an engine streams, as it arrives: in any pieces, and whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_engine import A, event

from tracer.containers import event_stream, messages
from tracer.containers.event_stream import StreamedLines, happened
from tracer.containers.http_api import Malformed, Refused, TooMuch
from tracer.containers.messages import NAMING, Happened

HEAD = b"HTTP/1.1 200 OK\r\nServer: Docker/20.10.24 (linux)\r\nTransfer-Encoding: chunked\r\n\r\n"
NOW_NS = 1_764_388_800_123_456_789


def chunk(text: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(text), text)


WHOLE = HEAD + chunk(b'{"a":1}\n') + chunk(b'{"b":2}\n{"c"') + chunk(b":3}\n\n")


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_lines_come_in_any_pieces(size: int) -> None:
    stream, lines = StreamedLines(), []
    for at in range(0, len(WHOLE), size):
        lines += stream.feed(WHOLE[at : at + size])
    assert lines == [b'{"a":1}', b'{"b":2}', b'{"c":3}']
    assert (stream.is_answered, stream.is_podman, stream.is_over) == (True, False, False)
    assert stream.feed(b"0\r\n\r\n") == [] and stream.is_over


def test_the_headers_alone_are_an_answer() -> None:
    stream = StreamedLines()
    assert stream.feed(HEAD.replace(b"Docker/20.10.24", b"Libpod/4.3.1")) == []
    assert (stream.is_answered, stream.is_podman) == (True, True)


def test_without_chunks() -> None:
    assert StreamedLines().feed(b'HTTP/1.1 200 OK\r\n\r\n{"a":1}\n{"b"') == [b'{"a":1}']


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Malformed),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", Refused),
        (HEAD + b"-5\r\nxxxxx\r\n", Malformed),
        (HEAD + b"x" * 10 + b"\n", Malformed),
        (HEAD + b"5\r\nxxxxxyy", Malformed),
        (HEAD + b"fffffff\r\n", TooMuch),
        (HEAD + b"x" * (1 << 21), TooMuch),
        (b"x" * (1 << 21), TooMuch),
        (HEAD + chunk(b"x" * (1 << 19)) * 3, TooMuch),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (1 << 21), TooMuch),
    ],
)
def test_what_is_no_stream(sent: bytes, why: type[Exception]) -> None:
    with pytest.raises(why):
        StreamedLines().feed(sent)


def said(action: str, **attributes: str) -> Happened | None:
    return happened(json.dumps(event(A, action, NOW_NS, **attributes)).encode(), "docker")


@pytest.mark.parametrize(
    ("action", "word", "attributes", "kept"),
    [
        ("start", "start", {}, {}),
        ("die", "die", {"exitCode": "137"}, {"exitCode": "137"}),
        ("died", "die", {"containerExitCode": "137"}, {"exitCode": "137"}),
        ("remove", "destroy", {}, {}),
        ("start", "start", {"containerExitCode": "0"}, {}),
        ("kill", "kill", {"signal": "9"}, {"signal": "9"}),
        ("rename", "rename", {"oldName": "/web"}, {"oldName": "/web"}),
        ("health_status: healthy", "health_status", {}, {"health_status": "healthy"}),
        ("exec_create: sh -c ls", "exec_create", {"execID": A}, {"execID": A, "command": "sh -c ls"}),
        ("exec_died", "exec_die", {"execID": A}, {"execID": A}),
    ],
)
def test_words_are_dockers(action: str, word: str, attributes: dict[str, str], kept: dict[str, str]) -> None:
    labels = {"a.label": "x"} if word in NAMING else {}
    assert said(action, **attributes) == Happened(0, A, word, NOW_NS, "docker", "web", "nginx:1.27", kept, labels)


@pytest.mark.parametrize("action", ["attach", "top", "resize", "", "exec_detach", "x" * 10_000])
def test_what_is_not_passed_on(action: str) -> None:
    assert said(action) is None


@pytest.mark.parametrize("change", [{"Type": "network"}, {"Actor": {"ID": "sha256:x"}}, {"Actor": {}}])
def test_what_is_no_containers(change: dict[str, Any]) -> None:
    assert happened(json.dumps(event(A, "start", NOW_NS) | change).encode(), "docker") is None


@pytest.mark.parametrize(
    "line",
    [
        b"x",
        b"[]",
        b"[" * 10_000,
        b'{"Action":5}',
        json.dumps(event(A, "start", -1)).encode(),
        json.dumps(event(A, "start", 0)).encode(),
        json.dumps(event(A, "start", 1 << 64)).encode(),
        json.dumps(event(A, "start", NOW_NS) | {"Actor": {"ID": A, "Attributes": {"name": 5}}}).encode(),
    ],
)
def test_nonsense(line: bytes) -> None:
    with pytest.raises(Malformed):
        happened(line, "docker")


def test_a_time_in_seconds_is_better_than_none() -> None:
    line = json.dumps(event(A, "start", NOW_NS) | {"timeNano": 0}).encode()
    assert (found := happened(line, "podman")) and found.time_ns == NOW_NS // 10**9 * 10**9


def test_the_longest_one_is_a_message() -> None:
    long = "x" * event_stream.MAX_HELD_BYTES
    attributes = dict.fromkeys(("exitCode", "signal", "execID", "oldName", "other"), long)
    found = said(f"exec_create: {long}", **attributes, image=long)
    assert found
    packet = messages.encode(found)
    assert len(packet) < messages.MAX_PACKET_BYTES and messages.decode_answer(packet) == found
