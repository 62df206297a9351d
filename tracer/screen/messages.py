"""What the process that reads events and the one that draws say to each other: length, then MessagePack.

Neither trusts the other: what is read has these types, or is an error. Text is made safe for a terminal again where it
is drawn.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec.msgpack

from tracer.stream.samples import ProcKey, Sample

T = TypeVar("T")
_LENGTH = struct.Struct("<I")
_MAX_BYTES = 1 << 28
_CHUNK_BYTES = 1 << 18


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The first message. wall_offset_ns: wall clock minus boottime. begin_ns, end_ns: of a recording (boottime); 0: of
    what happens now."""

    title: str
    wall_offset_ns: int
    begin_ns: int = 0
    end_ns: int = 0

    @property
    def is_live(self) -> bool:
        """Whether it is of what happens now."""
        return self.end_ns == 0


class Lines(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Events of the process that is asked about, as nstrace follow writes them."""

    lines: list[str]


class Said(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A line for people."""

    line: str


class Played(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Where the replay of a recording is (boottime), and whether it stands still."""

    now_ns: int
    is_paused: bool
    speed: float


class Request(msgspec.Struct, frozen=True, array_like=True):
    """What the screen wants: more (it is ready for a sample), events (of a process; None: of none), pause, step, speed,
    seek (number: how far from the beginning, in ns), failure (go on to the next one), gap, gap before (go to the next
    place where events were lost, or to the one before)."""

    what: str
    number: float = 0.0
    key: ProcKey | None = None


Message = Hello | Sample | Lines | Said | Played


class Channel(Generic[T]):
    """One end of a stream socket, non-blocking for what is read. kind: of what is read."""

    def __init__(self, end: socket.socket, kind: type[T] | object) -> None:
        self._socket = end
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._buffer = bytearray()
        self.is_open = True

    def fileno(self) -> int:
        """The descriptor, to wait for."""
        return self._socket.fileno()

    def send(self, message: object) -> None:
        """Send it. Where the other end has gone, is_open becomes false."""
        data = msgspec.msgpack.encode(message)
        try:
            self._socket.sendall(_LENGTH.pack(len(data)) + data)
        except OSError:
            self.is_open = False

    def receive(self) -> Iterator[T]:
        """What has come; it never waits. Raises ValueError where that is no message."""
        self._read()
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > _MAX_BYTES:
                raise ValueError(f"a message of {length} bytes")
            if len(self._buffer) < _LENGTH.size + length:
                return
            data = bytes(self._buffer[_LENGTH.size : _LENGTH.size + length])
            del self._buffer[: _LENGTH.size + length]
            yield self._decoded(data)

    def _decoded(self, data: bytes) -> T:
        try:
            message: T = self._decoder.decode(data)
            return message
        except msgspec.MsgspecError as error:
            raise ValueError(f"no message: {error}") from error

    def _read(self) -> None:
        while self.is_open:
            try:
                data = self._socket.recv(_CHUNK_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self._buffer += data
            self.is_open = bool(data)

    def close(self) -> None:
        """Close this end."""
        self.is_open = False
        self._socket.close()
