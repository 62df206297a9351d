"""What the process that reads recordings and the one that speaks to the server say to each other: packets of
MessagePack, each behind its length."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Any

import msgspec

from tracer.fleet.sink import Message

_LENGTH = struct.Struct("=I")
_MAX_BYTES = 1 << 30


class Store(msgspec.Struct, frozen=True, tag=True):
    """Store a message. is_again: it may have been stored before, which is asked first."""

    message: Message
    is_again: bool = False


class AskLast(msgspec.Struct, frozen=True, tag=True):
    """Say which batch is the latest that is stored."""


Order = Store | AskLast


class Done(msgspec.Struct, frozen=True, tag=True):
    """It is done. headers: of the latest batch; None: there is none, or it was not asked."""

    headers: dict[str, str] | None = None


class Trouble(msgspec.Struct, frozen=True, tag=True):
    """It is not done yet: why. Another answer follows. "": it goes on now."""

    why: str


class No(msgspec.Struct, frozen=True, tag=True):
    """It cannot be done. limit: how many bytes the payload of a message may have; 0: that is not the reason."""

    why: str
    limit: int = 0


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Said once: the server is there. limit: how many bytes the payload of a message may have."""

    limit: int


Answer = Done | Trouble | No | Ready


class Gone(Exception):
    """The other process has ended."""


class Packets:
    """Packets over a socket, each behind its length; whoever sends one waits until it is taken."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def send(self, packet: object) -> None:
        """Send what MessagePack can hold. Raises Gone."""
        data = msgspec.msgpack.encode(packet)
        try:
            self._socket.sendall(_LENGTH.pack(len(data)))
            self._socket.sendall(data)
        except OSError as error:
            raise Gone from error

    def close(self) -> None:
        """Nothing is sent or received any more, by whoever waits for that either."""
        with contextlib.suppress(OSError):  # the other process has ended
            self._socket.shutdown(socket.SHUT_RDWR)

    def check(self) -> None:
        """Raises Gone where the other process has ended, which nobody would see who has nothing to send."""
        try:
            if not self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                raise Gone
        except BlockingIOError:
            return
        except OSError as error:
            raise Gone from error

    def receive(self, type_: Any) -> Any:
        """The next packet, of this type. Raises Gone where there is none, or it is of another type."""
        try:
            (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
            if length > _MAX_BYTES:
                raise Gone
            return msgspec.msgpack.decode(self._exactly(length), type=type_)
        except (OSError, msgspec.MsgspecError) as error:
            raise Gone from error

    def _exactly(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            part = self._socket.recv(length - len(data))
            if not part:
                raise Gone
            data += part
        return bytes(data)


class Channel:
    """The side of the process that reads recordings: asks, and waits."""

    def __init__(self, connected: socket.socket) -> None:
        self._packets = Packets(connected)

    def say(self, order: Order) -> None:
        """Send an order. Raises Gone."""
        self._packets.send(order)

    def hear(self) -> Answer:
        """The next answer. Raises Gone."""
        answer: Answer = self._packets.receive(Answer)
        return answer


class AsyncChannel:
    """The side of the process that speaks to the server: receives orders, and answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def check(self) -> None:
        """As `Packets.check`."""
        if self._reader.at_eof():
            raise Gone

    async def order(self) -> Order | None:
        """The next order; None: there will be none. Raises Gone."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            if length > _MAX_BYTES:
                raise Gone
            order: Order = msgspec.msgpack.decode(await self._reader.readexactly(length), type=Order)
            return order
        except (asyncio.IncompleteReadError, OSError):
            return None
        except msgspec.MsgspecError as error:
            raise Gone from error

    async def say(self, answer: Answer) -> None:
        """Send an answer. Raises Gone."""
        data = msgspec.msgpack.encode(answer)
        try:
            self._writer.write(_LENGTH.pack(len(data)) + data)
            await self._writer.drain()
        except OSError as error:
            raise Gone from error
