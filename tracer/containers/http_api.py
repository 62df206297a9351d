"""The engine's HTTP interface, as far as names, images, labels and states need it: GETs on a connected socket.

Without http.client, whose import takes 25 ms (it parses headers as mails, and knows TLS), and without the docker SDK,
whose import takes 100 ms more: a whole `nstrace translate` may take 60 ms beyond Python's start (docs/architecture.md).
The limits on the time and size of an answer are here; what may become of one is in tracer.containers.messages.
"""

from __future__ import annotations

import contextlib
import math
import re
import select
import socket
import time
from collections.abc import Callable, Collection

import msgspec

from tracer.containers.requests import Kind, Request

MAX_ANSWER_BYTES = 64 << 20
"""A list of 65 536 containers has 50 MB."""
_MAX_AROUND_BYTES = 1 << 20  # headers, and the sizes of chunks, in an answer of that length
_MAX_LINE_BYTES = 1 << 16
_PIECE_BYTES = 1 << 16
_MAX_HEADERS = 200
_OK = 200
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: .*)?")


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


class Malformed(Exception):
    """The answer is no HTTP."""


Dial = Callable[[Request, float], int]
"""What to ask, and until when (CLOCK_MONOTONIC) -> the descriptor of a connection on which that was asked. Raises
OSError."""


Wait = Callable[[socket.socket, float], None]
"""Returns when something can be read from a socket, or then (CLOCK_MONOTONIC)."""


def only_wait(connected: socket.socket, until_s: float) -> None:
    """A `Wait` that does nothing else."""
    poll = select.poll()
    poll.register(connected, select.POLLIN)
    poll.poll(max(0, math.ceil((until_s - time.monotonic()) * 1000)))


class HttpApi:
    """Reads an engine's answers; one connection for each question. All methods return JSON as it came: the caller
    decodes what it needs, and nothing else becomes an object. until_s: when the whole answer must be there, connecting
    included (CLOCK_MONOTONIC). They raise OSError (TimeoutError too), Refused, TooMuch or Malformed. wait: how it
    waits for them. server: what has given the last answer, by its own account: Docker/20.10, Libpod/4.3; b"": it does
    not say."""

    def __init__(self, dial: Dial, wait: Wait = only_wait) -> None:
        self._dial, self._wait = dial, wait
        self.server = b""

    def version(self, until_s: float) -> bytearray:
        """GET /version."""
        return self._get(Request(Kind.VERSION), until_s)

    def containers(self, ids: Collection[str], until_s: float) -> bytearray:
        """GET /containers/json: stopped ones too. ids: which; empty: all."""
        return self._get(Request(Kind.LIST, tuple(sorted(ids))), until_s)

    def inspect_container(self, container_id: str, until_s: float) -> bytearray:
        """GET /containers/ID/json."""
        return self._get(Request(Kind.INSPECT, (container_id,)), until_s)

    def inspect_exec(self, exec_id: str, until_s: float) -> bytearray:
        """GET /exec/ID/json."""
        return self._get(Request(Kind.EXEC, (exec_id,)), until_s)

    def _get(self, request: Request, until_s: float) -> bytearray:
        with socket.socket(fileno=self._dial(request, until_s)) as connected:
            answer = _Answer(connected, until_s, self._wait)
            status = answer.status()
            self.server = answer.header(b"server")
            body = answer.body()
        if status != _OK:
            raise Refused(status, _explanation(body))
        return body


class _Answer:
    """An answer as it arrives, in the time for all of it: RFC 9112. All methods raise OSError, TooMuch or Malformed."""

    def __init__(self, connected: socket.socket, until_s: float, wait: Wait) -> None:
        self._socket, self._until_s, self._wait = connected, until_s, wait
        connected.setblocking(False)
        self._piece = bytearray(_PIECE_BYTES)
        self._waiting = bytearray()  # received, and not read yet
        self._received_bytes = 0

    def status(self) -> int:
        """The status line's number; that of the last, where the engine says before that it goes on."""
        while True:
            found = _STATUS.fullmatch(self._line())
            if not found:
                raise Malformed("no status")
            self._headers: dict[bytes, bytes] = {}
            while line := self._line():
                name, colon, value = line.partition(b":")
                if not colon or len(self._headers) > _MAX_HEADERS:
                    raise Malformed("no header, or too many")
                self._headers[name.lower()] = value.strip(b" \t")
            if found[1][:1] != b"1":
                return int(found[1])

    def header(self, name: bytes) -> bytes:
        """The value of a header, by its name in lower case; b"": there is none."""
        return self._headers.get(name, b"")

    def body(self) -> bytearray:
        """What follows the headers."""
        body = bytearray()
        if self._headers.get(b"transfer-encoding", b"").lower().endswith(b"chunked"):
            while size := self._number(self._line().partition(b";")[0].strip(), 16):
                self._read(size, body)
                if self._line():
                    raise Malformed("no end of a chunk")
        elif b"content-length" in self._headers:
            self._read(self._number(self._headers[b"content-length"], 10), body)
        else:
            self._take(len(self._waiting), body)
            while self._receive():
                self._take(len(self._waiting), body)
        return body

    @staticmethod
    def _number(digits: bytes, base: int) -> int:
        if not re.fullmatch(rb"[0-9a-fA-F]{1,32}" if base == 16 else rb"[0-9]{1,32}", digits):
            raise Malformed("no number")
        return int(digits, base)

    def _line(self) -> bytes:
        """The next line, without its end."""
        looked = 0
        while (end := self._waiting.find(b"\n", looked)) < 0:
            looked = len(self._waiting)
            if looked > _MAX_LINE_BYTES:
                raise Malformed("a line without an end")
            self._require()
        line = bytes(self._waiting[:end])
        del self._waiting[: end + 1]
        return line.removesuffix(b"\r")

    def _read(self, count: int, body: bytearray) -> None:
        """Append so many bytes."""
        while count:
            if not self._waiting:
                self._require()
            taken = min(count, len(self._waiting))
            self._take(taken, body)
            count -= taken

    def _take(self, count: int, body: bytearray) -> None:
        body += memoryview(self._waiting)[:count]
        del self._waiting[:count]
        if len(body) > MAX_ANSWER_BYTES:
            raise TooMuch(f"more than {MAX_ANSWER_BYTES >> 20} MiB")

    def _require(self) -> None:
        if not self._receive():
            raise Malformed("it ends too early")

    def _receive(self) -> bool:
        """Receive some more; False: that was all."""
        count = self._received()
        self._waiting += memoryview(self._piece)[:count]
        self._received_bytes += count
        if self._received_bytes > MAX_ANSWER_BYTES + _MAX_AROUND_BYTES:
            raise TooMuch(f"more than {MAX_ANSWER_BYTES >> 20} MiB")
        return count > 0

    def _received(self) -> int:
        """How many bytes have come into the piece. Raises TimeoutError where the time is over."""
        while time.monotonic() < self._until_s:
            self._wait(self._socket, self._until_s)
            with contextlib.suppress(BlockingIOError):
                return self._socket.recv_into(self._piece)
        raise TimeoutError("timed out")


def _explanation(body: bytearray) -> str:
    try:
        return msgspec.json.decode(body, type=_Message).message
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
