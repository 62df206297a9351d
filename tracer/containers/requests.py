"""What may be asked of an engine: five GETs, each a packet of one size from the process that asks, of which the
connector makes the request. Pure."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

MAX_IDS = 256
_ID_BYTES = 32
_S_NS = 1_000_000_000
_PACKET = struct.Struct(f"<BBHxxxxQ{MAX_IDS * _ID_BYTES}s")  # kind, tag, how many ids, since when, the ids
PACKET_BYTES = _PACKET.size
# A connection is for one answer: behind "close" an engine reads no further request (RFC 9112, 9.6).
_HEADERS = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Kind(IntEnum):
    """VERSION: GET /version. LIST: GET /containers/json, stopped ones too, all or those with the ids. INSPECT: GET
    /containers/ID/json. EVENTS: GET /events of containers, which has no end. EXEC: GET /exec/ID/json."""

    VERSION = 0
    LIST = 1
    INSPECT = 2
    EVENTS = 3
    EXEC = 4


class Request(NamedTuple):
    """ids: of 64 hexadecimal digits, at most MAX_IDS; one to INSPECT, and one of an exec to EXEC. since_ns: from when
    on to report EVENTS, by the wall clock; 0: those to come."""

    kind: Kind
    ids: tuple[str, ...] = ()
    since_ns: int = 0


def packed(request: Request, tag: int = 0) -> bytes:
    """The packet. tag: a byte that its answer repeats."""
    ids = bytes.fromhex("".join(request.ids))
    return _PACKET.pack(request.kind, tag, len(request.ids), request.since_ns, ids)


def tag_of(packet: bytes) -> int:
    """The tag of a packet."""
    return packet[1]


def http_of(packet: bytes) -> bytes:
    """The request of a packet. Raises ValueError where it is none."""
    if len(packet) != _PACKET.size:
        raise ValueError("a packet of another size")
    kind, _tag, count, since_ns, raw = _PACKET.unpack(packet)
    ids = [raw[at : at + _ID_BYTES].hex() for at in range(0, min(count, MAX_IDS) * _ID_BYTES, _ID_BYTES)]
    return f"GET {_target(Kind(kind), ids, since_ns)} {_HEADERS}".encode()


def _target(kind: Kind, ids: list[str], since_ns: int) -> str:
    if kind is Kind.VERSION:
        return "/version"
    if kind in (Kind.INSPECT, Kind.EXEC):
        return f"/{'exec' if kind is Kind.EXEC else 'containers'}/{ids[0] if ids else ''}/json"
    if kind is Kind.EVENTS:
        since = f"&since={since_ns // _S_NS}.{since_ns % _S_NS:09}" if since_ns else ""
        return f"/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D{since}"  # {"type":["container"]}
    listed = "%22%2C%22".join(ids)  # {"id":["...","..."]}
    return "/containers/json?all=1" + (f"&filters=%7B%22id%22%3A%5B%22{listed}%22%5D%7D" if ids else "")
