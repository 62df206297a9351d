"""What the connector makes of a packet: one of five GETs, whatever is in it."""

from __future__ import annotations

import itertools
import os
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from fake_engine import A, B

from tracer.containers.requests import MAX_IDS, PACKET_BYTES, Kind, Request, http_of, packed, tag_of

GET = re.compile(
    rb"GET (/version|/containers/json\?all=1(&filters=[0-9A-Za-z%]+)?|/(containers|exec)/[0-9a-f]*/json|"
    rb"/events\?filters=[0-9A-Za-z%]+(&since=[0-9]+\.[0-9]{9})?) HTTP/1.1\r\n"
    rb"Host: localhost\r\nConnection: close\r\n\r\n"
)


@pytest.mark.parametrize(
    ("request_", "target"),
    [
        (Request(Kind.VERSION), "/version"),
        (Request(Kind.LIST), "/containers/json?all=1"),
        (Request(Kind.INSPECT, (A,)), f"/containers/{A}/json"),
        (Request(Kind.EXEC, (A,)), f"/exec/{A}/json"),
        (Request(Kind.EVENTS), "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D"),
        (
            Request(Kind.EVENTS, since_ns=1_700_000_000_000_000_012),
            "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D&since=1700000000.000000012",
        ),
    ],
)
def test_the_five(request_: Request, target: str) -> None:
    packet = packed(request_, 7)
    assert (len(packet), tag_of(packet)) == (PACKET_BYTES, 7)
    assert http_of(packet).split(b" ")[1].decode() == target


@pytest.mark.parametrize("ids", [(A,), (A, B), tuple(f"{number:064x}" for number in range(MAX_IDS))])
def test_some_containers(ids: tuple[str, ...]) -> None:
    url = urlsplit(http_of(packed(Request(Kind.LIST, ids))).split(b" ")[1].decode())
    assert parse_qs(url.query) == {"all": ["1"], "filters": ['{"id":["' + '","'.join(ids) + '"]}']}


def test_whatever_is_in_it() -> None:
    for kind, count in itertools.product(range(6), (0, 1, 255, 256, 257, 65535)):
        packet = bytes([kind, 0]) + count.to_bytes(2, "little") + os.urandom(PACKET_BYTES - 4)
        if kind in list(Kind):
            assert GET.fullmatch(http_of(packet))
        else:
            with pytest.raises(ValueError):
                http_of(packet)


@pytest.mark.parametrize("packet", [b"", b"\0", bytes(PACKET_BYTES - 1), bytes(PACKET_BYTES + 1)])
def test_another_size_is_none(packet: bytes) -> None:
    with pytest.raises(ValueError):
        http_of(packet)
