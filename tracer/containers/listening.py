"""An engine's events as the process that asks receives them: beside its answers, on a connection of its own.

A connection that ends is made again, after longer and longer pauses, and what the engine still remembers of the time
between is asked for. Nothing here waits.
"""

from __future__ import annotations

import math
import socket
import time
from collections import deque
from collections.abc import Callable

from tracer.containers.event_stream import StreamedLines, happened
from tracer.containers.http_api import Dial, Malformed, Refused, TooMuch
from tracer.containers.messages import Deaf, Happened, Heard, Missed
from tracer.containers.requests import Kind, Request

_PIECE_BYTES = 1 << 16
_SOONEST_S, _LATEST_S = 0.1, 2.0
"""How long after a failure the engine is called again, at first and at most."""
_DIAL_S = 0.5
"""How long it may have no room for a connection."""
_SILENT_S = 2.0
"""How long it may take to answer at all."""
_MOST_A_SECOND, _MOST_AT_ONCE = 1000, 5000
_REMEMBERED = 512  # twice what docker sends again

Send = Callable[[Happened | Heard | Deaf | Missed], object]


class Listening:
    """fileno: of the connection, -1 where there is none. send: what is passed on, bounded in number a second."""

    def __init__(self, dial: Dial, send: Send) -> None:
        self._dial, self._send = dial, send
        self._socket: socket.socket | None = None
        self._due_s = math.inf
        self._pause_s = _SOONEST_S
        self._deaf_since_ns = self._last_ns = 0
        self._is_said = False
        self._seen: deque[tuple[str, str, int]] = deque(maxlen=_REMEMBERED)
        self._rate = _Rate()

    def begin(self, since_ns: int) -> None:
        """Listen from now on. since_ns: up to when a listener before has heard everything, by the wall clock; 0: there
        was none."""
        self._last_ns = since_ns
        self._deaf_since_ns = since_ns or time.time_ns()
        self._is_said = bool(since_ns)
        self._due_s = 0.0

    @property
    def _engine(self) -> str:
        return "podman" if self._lines.is_podman else "docker"

    def fileno(self) -> int:
        """The connection's descriptor; -1: there is none."""
        return self._socket.fileno() if self._socket else -1

    def due_in(self) -> float:
        """In how many seconds `turn` has something to do, whatever arrives; infinite: it has nothing."""
        return max(0.0, self._due_s - time.monotonic())

    def turn(self) -> None:
        """Call the engine where that is due, and pass on what has come from it."""
        try:
            if self._socket is None:
                if self.due_in() == 0:
                    self._call()
                return
            if self.due_in() == 0 and not self._lines.is_answered:
                raise TimeoutError("timed out")
            self._receive(self._socket)
        except (OSError, Refused, Malformed, TooMuch, MemoryError):
            self._hang_up()

    def _call(self) -> None:
        number = self._dial(Request(Kind.EVENTS, since_ns=self._last_ns), time.monotonic() + _DIAL_S)
        self._socket = socket.socket(fileno=number)
        self._socket.setblocking(False)
        self._lines = StreamedLines()
        self._due_s = time.monotonic() + _SILENT_S

    def _receive(self, connected: socket.socket) -> None:
        try:
            piece = connected.recv(_PIECE_BYTES)
        except BlockingIOError:
            return
        if not piece:
            raise ConnectionResetError("it has ended")
        lines = self._lines.feed(piece)
        if self._lines.is_answered and self._deaf_since_ns:
            self._is_heard()
        for line in lines:
            self._pass_on(line)
        if self._lines.is_over:
            raise ConnectionResetError("it has ended")

    def _is_heard(self) -> None:
        """The engine has answered."""
        now_ns = time.time_ns()
        self._send(Heard(0, self._engine, self._deaf_since_ns if self._is_said else now_ns, now_ns))
        self._last_ns = self._last_ns or now_ns
        self._deaf_since_ns, self._is_said = 0, False
        self._pause_s, self._due_s = _SOONEST_S, math.inf

    def _hang_up(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None
        self._deaf_since_ns = self._deaf_since_ns or time.time_ns()
        if not self._is_said:
            self._send(Deaf(0, self._deaf_since_ns))
            self._is_said = True
        self._due_s = time.monotonic() + self._pause_s
        self._pause_s = min(_LATEST_S, 1.5 * self._pause_s)

    def _pass_on(self, line: bytes) -> None:
        said = happened(line, self._engine)
        if said is None or (key := (said.id, said.action, said.time_ns)) in self._seen:
            return
        self._seen.append(key)
        self._last_ns = max(self._last_ns, min(said.time_ns, time.time_ns()))
        dropped = self._rate.dropped_before()
        if dropped is None:
            return
        if dropped:
            self._send(Missed(0, self._engine, dropped, time.time_ns()))
        self._send(said)


class _Rate:
    """So many a second are passed on."""

    def __init__(self) -> None:
        self._left = float(_MOST_AT_ONCE)
        self._at_s = time.monotonic()
        self._dropped_ns = 0

    def dropped_before(self) -> int | None:
        """Since when others were dropped ahead of this one, by the wall clock, 0: none was; None: this one is."""
        now_s = time.monotonic()
        self._left = min(_MOST_AT_ONCE, self._left + (now_s - self._at_s) * _MOST_A_SECOND)
        self._at_s = now_s
        if self._left < 1:
            self._dropped_ns = self._dropped_ns or time.time_ns()
            return None
        self._left -= 1
        dropped_ns, self._dropped_ns = self._dropped_ns, 0
        return dropped_ns
