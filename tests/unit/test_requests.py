"""What the connector makes of a packet: one of three GETs, whatever is in it."""

from __future__ import annotations

import itertools
import os
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from fake_engine import A, B

from tracer.containers.requests import MAX_IDS, PACKET_BYTES, Kind, Request, address_of, http_of, packed

GET = re.compile(
    rb"GET (/version|/containers/json\?all=1(&filters=[0-9A-Za-z%]+)?|/containers/[0-9a-f]*/json) HTTP/1.1\r\n"
    rb"Host: localhost\r\nConnection: close\r\n\r\n"
)


@pytest.mark.parametrize(
    ("request_", "target"),
    [
        (Request(Kind.VERSION), "/version"),
        (Request(Kind.LIST), "/containers/json?all=1"),
        (Request(Kind.INSPECT, (A,)), f"/containers/{A}/json"),
    ],
)
def test_the_three(request_: Request, target: str) -> None:
    packet = packed(1, request_)
    assert (len(packet), address_of(packet)) == (PACKET_BYTES, 1)
    assert http_of(packet).split(b" ")[1].decode() == target


@pytest.mark.parametrize("ids", [(A,), (A, B), tuple(f"{number:064x}" for number in range(MAX_IDS))])
def test_some_containers(ids: tuple[str, ...]) -> None:
    url = urlsplit(http_of(packed(0, Request(Kind.LIST, ids))).split(b" ")[1].decode())
    assert parse_qs(url.query) == {"all": ["1"], "filters": ['{"id":["' + '","'.join(ids) + '"]}']}


def test_whatever_is_in_it() -> None:
    for kind, count in itertools.product(range(4), (0, 1, 255, 256, 257, 65535)):
        packet = bytes([0, kind]) + count.to_bytes(2, "little") + os.urandom(PACKET_BYTES - 4)
        if kind in list(Kind):
            assert GET.fullmatch(http_of(packet))
        else:
            with pytest.raises(ValueError):
                http_of(packet)


@pytest.mark.parametrize("packet", [b"", b"\0", bytes(PACKET_BYTES - 1), bytes(PACKET_BYTES + 1)])
def test_another_size_is_none(packet: bytes) -> None:
    with pytest.raises(ValueError):
        http_of(packet)
