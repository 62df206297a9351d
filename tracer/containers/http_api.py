"""The engine's HTTP interface, as far as names, images, labels and states need it: three GETs on a connected socket.

Without the docker SDK: a process that asks and ends takes 100 ms and 6 MiB more with it (218 ms against 118, medians;
docs/architecture.md), and a whole `nstrace translate` may take 60 ms beyond Python's start.
The limits on the time and size of an answer are here; what may become of one is in tracer.containers.messages.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

MAX_ANSWER_BYTES = 64 << 20
"""A list of 65 536 containers has 50 MB."""
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


class TooMuch(Exception):
    """The answer is larger than any that is read."""


Dial = Callable[[float], int]
"""Until when (CLOCK_MONOTONIC) -> the descriptor of a new connection to the engine. Raises OSError."""


class HttpApi:
    """Asks the engine; one connection for each question. All methods return JSON as it came: the caller decodes what it
    needs, and nothing else becomes an object. until_s: when the whole answer must be there, connecting included
    (CLOCK_MONOTONIC). They raise OSError (TimeoutError too), Refused, TooMuch, http.client.HTTPException or
    ValueError."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial

    def version(self, until_s: float) -> bytearray:
        """GET /version."""
        return self._get("/version", until_s)

    def containers(self, filters: dict[str, list[str]], until_s: float) -> bytearray:
        """GET /containers/json: stopped ones too."""
        query = {"all": "1"}
        if filters:
            query["filters"] = msgspec.json.encode(filters).decode()
        return self._get(f"/containers/json?{urlencode(query)}", until_s)

    def inspect_container(self, container_id: str, until_s: float) -> bytearray:
        """GET /containers/ID/json."""
        return self._get(f"/containers/{quote(container_id, safe='')}/json", until_s)

    def _get(self, target: str, until_s: float) -> bytearray:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = _Socket.connected(self._dial(until_s), until_s)
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            body = _read(answer)
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise Refused(answer.status, _explanation(body))
        return body


def _read(answer: http.client.HTTPResponse) -> bytearray:
    """The body. In pieces into one buffer: read() makes an object of every chunk, and reads without bound where the
    size of a chunk is -1."""
    body, piece = bytearray(), bytearray(_PIECE_BYTES)
    while count := answer.readinto(piece):
        body += memoryview(piece)[:count]
        if len(body) > MAX_ANSWER_BYTES:
            raise TooMuch(f"more than {MAX_ANSWER_BYTES >> 20} MiB")
    return body


class _Socket(socket.socket):
    """A socket whose time-out, for each system call, is what is left of the time for all of them, and that receives a
    limited number of bytes."""

    until_s = 0.0
    received_bytes = 0

    @classmethod
    def connected(cls, descriptor: int, until_s: float) -> _Socket:
        """The socket of a descriptor, until this moment."""
        made = cls(fileno=descriptor)
        made.until_s = until_s
        return made

    def keep_time(self) -> None:
        """Set the time-out of the next call. Raises TimeoutError where the time is over."""
        left_s = self.until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left_s)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        """Send."""
        self.keep_time()
        super().sendall(*args, **kwargs)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Receive; everything that is read passes through here (socket.SocketIO.readinto)."""
        self.keep_time()
        count = super().recv_into(*args, **kwargs)
        self.received_bytes += count
        if self.received_bytes > MAX_ANSWER_BYTES + _MAX_AROUND_BYTES:
            raise TooMuch(f"more than {MAX_ANSWER_BYTES >> 20} MiB")
        return count


def _explanation(body: bytearray) -> str:
    try:
        return msgspec.json.decode(body, type=_Message).message
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
