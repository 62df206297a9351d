"""What may be asked of an engine: three GETs, each a packet of one size from the process that asks, of which the
connector makes the request. Pure."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

MAX_IDS = 256
_ID_BYTES = 32
_PACKET = struct.Struct(f"<BBH{MAX_IDS * _ID_BYTES}s")  # address, kind, how many ids, the ids
PACKET_BYTES = _PACKET.size
# A connection is for one answer: behind "close" an engine reads no further request (RFC 9112, 9.6).
_HEADERS = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Kind(IntEnum):
    """VERSION: GET /version. LIST: GET /containers/json, stopped ones too, all or those with the ids. INSPECT: GET
    /containers/ID/json."""

    VERSION = 0
    LIST = 1
    INSPECT = 2


class Request(NamedTuple):
    """ids: of 64 hexadecimal digits, at most MAX_IDS; one to INSPECT."""

    kind: Kind
    ids: tuple[str, ...] = ()


def packed(address: int, request: Request) -> bytes:
    """The packet. address: its number."""
    return _PACKET.pack(address, request.kind, len(request.ids), bytes.fromhex("".join(request.ids)))


def address_of(packet: bytes) -> int:
    """The number of the address in a packet."""
    return packet[0]


def http_of(packet: bytes) -> bytes:
    """The request of a packet. Raises ValueError where it is none."""
    if len(packet) != _PACKET.size:
        raise ValueError("a packet of another size")
    _address, kind, count, raw = _PACKET.unpack(packet)
    ids = [raw[at : at + _ID_BYTES].hex() for at in range(0, min(count, MAX_IDS) * _ID_BYTES, _ID_BYTES)]
    return f"GET {_target(Kind(kind), ids)} {_HEADERS}".encode()


def _target(kind: Kind, ids: list[str]) -> str:
    if kind is Kind.VERSION:
        return "/version"
    if kind is Kind.INSPECT:
        return f"/containers/{ids[0] if ids else ''}/json"
    listed = "%22%2C%22".join(ids)  # {"id":["...","..."]}
    return "/containers/json?all=1" + (f"&filters=%7B%22id%22%3A%5B%22{listed}%22%5D%7D" if ids else "")
