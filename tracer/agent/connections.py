"""Connections over which HTTP asks, served all at once: whoever is slow keeps nobody waiting, and has a deadline. There
are never more than so many: the oldest makes room."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Sequence

_DEADLINE_S, _MAX_REQUEST_BYTES, _MOST = 2.0, 8192, 64


class Connections:
    """answer: a path -> the whole response."""

    def __init__(self, answer: Callable[[str], bytes]) -> None:
        self._answer = answer
        self._open: list[_Connection] = []

    def add(self, connected: socket.socket) -> None:
        """One that was accepted."""
        connected.setblocking(False)
        if len(self._open) >= _MOST:
            self._close(self._open[0])
        self._open.append(_Connection(connected))

    def __len__(self) -> int:
        return len(self._open)

    def serve(self, others: Sequence[socket.socket], within_s: float) -> list[socket.socket]:
        """Wait, serve who is ready, and give which of the others can be read from."""
        to_read = [one for one in self._open if not one.left]
        to_write = [one for one in self._open if one.left]
        left_s = min((one.until_s for one in self._open), default=float("inf")) - time.monotonic()
        watched: list[socket.socket | _Connection] = [*others, *to_read]
        readable, writable, _ = select.select(watched, to_write, [], max(0.0, min(within_s, left_s)))
        for one in (*to_read, *to_write):
            if one in readable or one in writable:
                self._go_on(one)
        for late in [one for one in self._open if one.until_s <= time.monotonic()]:
            self._close(late)
        return [other for other in others if other in readable]

    def _go_on(self, one: _Connection) -> None:
        try:
            if one.go_on(self._answer):
                return
            one.socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            pass  # who asked has gone, or speaks something else
        self._close(one)

    def _close(self, one: _Connection) -> None:
        self._open.remove(one)
        one.socket.close()


class _Connection:
    """left: what is still to be sent; empty: the request has not come yet."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket, self.until_s = connected, time.monotonic() + _DEADLINE_S
        self.left = memoryview(b"")
        self._received = b""

    def fileno(self) -> int:
        """For select(2)."""
        return self.socket.fileno()

    def go_on(self, answer: Callable[[str], bytes]) -> bool:
        """Receive or send what is possible. Whether it goes on. Raises OSError, ValueError where it cannot."""
        if self.left:
            self.left = self.left[self.socket.send(self.left) :]
            return bool(self.left)
        part = self.socket.recv(_MAX_REQUEST_BYTES - len(self._received))
        self._received += part
        if b"\r\n\r\n" in self._received or b"\n\n" in self._received:
            self.left = memoryview(answer(_path(self._received)))
        elif not part or len(self._received) >= _MAX_REQUEST_BYTES:
            raise ValueError("no request")
        return True


def _path(request: bytes) -> str:
    """The path of a GET request. Raises ValueError."""
    method, path, _version = request.split(b"\n", 1)[0].decode("ascii").split()
    if method != "GET":
        raise ValueError(method)
    return path.partition("?")[0]
