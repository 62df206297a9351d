"""The engine's HTTP interface, as far as names, images, labels and states need it: three GETs on a local socket.

Without the docker SDK: a process that asks and ends takes 100 ms and 6 MiB more with it (218 ms against 118, medians;
docs/architecture.md), and a whole `nstrace translate` may take 60 ms beyond Python's start.
All limits on what an engine may do to this process are here.
"""

from __future__ import annotations

import http.client
import socket
import time
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

TIMEOUT_S = 2.0
"""The time limit of a whole answer where the caller sets none."""
MAX_ANSWER_BYTES = 64 << 20
"""A list of 50 000 containers has 40 MB."""
_MAX_AROUND_BYTES = 1 << 20  # headers, and the sizes of chunks
_PIECE_BYTES = 1 << 16


class Refused(Exception):
    """The engine's answer was an error. explanation: its own message."""

    def __init__(self, status: int, explanation: str) -> None:
        super().__init__(f"{status}: {explanation}")
        self.status = status
        self.explanation = explanation


class _Message(msgspec.Struct):
    message: str = ""


class HttpApi:
    """Asks the engine on a local socket; one connection for each question. All methods return JSON as it came: the
    caller decodes what it needs, and nothing else becomes an object. They raise OSError (TimeoutError too),
    Refused, http.client.HTTPException or ValueError."""

    def __init__(self, path: str) -> None:
        """path: of the engine's socket."""
        self._path = path

    def version(self, timeout_s: float = TIMEOUT_S) -> bytes:
        """GET /version."""
        return self._get("/version", timeout_s)

    def containers(self, filters: dict[str, list[str]], timeout_s: float = TIMEOUT_S) -> bytes:
        """GET /containers/json: stopped ones too."""
        query = {"all": "1"}
        if filters:
            query["filters"] = msgspec.json.encode(filters).decode()
        return self._get(f"/containers/json?{urlencode(query)}", timeout_s)

    def inspect_container(self, container_id: str, timeout_s: float = TIMEOUT_S) -> bytes:
        """GET /containers/ID/json."""
        return self._get(f"/containers/{quote(container_id, safe='')}/json", timeout_s)

    def _get(self, target: str, timeout_s: float) -> bytes:
        connection = _UnixConnection(self._path, time.monotonic() + timeout_s)
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            body = _read(answer)
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise Refused(answer.status, _explanation(body))
        return body


def _read(answer: http.client.HTTPResponse) -> bytes:
    """The body. In pieces into one buffer: read() makes an object of every chunk, and reads without bound where the
    size of a chunk is -1."""
    body, piece = bytearray(), bytearray(_PIECE_BYTES)
    while count := answer.readinto(piece):
        body += memoryview(piece)[:count]
        if len(body) > MAX_ANSWER_BYTES:
            raise http.client.HTTPException(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


class _UnixConnection(http.client.HTTPConnection):
    """A connection to a socket's path, until a moment (CLOCK_MONOTONIC): bounds an engine that answers byte by byte."""

    def __init__(self, path: str, until_s: float) -> None:
        super().__init__("localhost")
        self._path, self._until_s = path, until_s

    def connect(self) -> None:
        """Connect; http.client calls this before it sends."""
        self.sock = _Socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.until_s = self._until_s
        self.sock.keep_time()
        self.sock.connect(self._path)


class _Socket(socket.socket):
    """A socket whose time-out, for each system call, is what is left of the time for all of them, and that receives a
    limited number of bytes."""

    until_s = 0.0
    received_bytes = 0

    def keep_time(self) -> None:
        left_s = self.until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left_s)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Receive; everything that is read passes through here (socket.SocketIO.readinto)."""
        self.keep_time()
        count = super().recv_into(*args, **kwargs)
        self.received_bytes += count
        if self.received_bytes > MAX_ANSWER_BYTES + _MAX_AROUND_BYTES:
            raise http.client.HTTPException(f"more than {MAX_ANSWER_BYTES} bytes")
        return count


def _explanation(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Message).message
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
