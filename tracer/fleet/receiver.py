"""The process that receives what hosts publish: it has the network, and looks into no payload."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import Any, NoReturn

import msgspec
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, DeliverPolicy

from tracer.fleet.access import Access
from tracer.fleet.channel import Gone, Packets
from tracer.fleet.hosts import Heard, heard_hosts
from tracer.fleet.names import EVENTS, STREAMS, name_in, subject
from tracer.fleet.nats_client import Connection
from tracer.fleet.sender import LATE_IMPORTS
from tracer.fleet.sink import Refused, Unavailable
from tracer.system import imports
from tracer.system.descriptors import keep_only
from tracer.system.libc import name_process
from tracer.system.privileges import drop_but_connect

_HOSTS_S, _RETRY_S = 15.0, 1.0


class Received(msgspec.Struct, frozen=True, tag=True):
    """A message, with the host that its subject names."""

    cluster: str
    host: str
    payload: bytes


class Known(msgspec.Struct, frozen=True, tag=True):
    """All hosts that the server knows."""

    hosts: list[Heard]


class Trouble(msgspec.Struct, frozen=True, tag=True):
    """The server is away, why; "": it is there again. is_final: it does not let us in."""

    why: str
    is_final: bool = False


Packet = Received | Known | Trouble


def start(access: Access, cluster: str) -> socket.socket:
    """Fork a process that receives what hosts of a cluster publish from now on, "*": of all. No thread may run. Returns
    a socket of `Packets`; it ends when that is closed."""
    imports.load(*LATE_IMPORTS)
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        _serve(access, cluster, theirs)
    theirs.close()
    return ours


def _serve(access: Access, cluster: str, connected: socket.socket) -> NoReturn:
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it ends with the one that began it
            signal.signal(number, signal.SIG_IGN)
        keep_only(connected.fileno())
        name_process("nstrace-receive")
        loop = asyncio.new_event_loop()
        drop_but_connect()
        loop.run_until_complete(_Receiver(access, cluster, Packets(connected)).run())
        code = 0
    except Gone:
        code = 0
    except BaseException as error:
        with contextlib.suppress(Gone):  # a fault of ours: it is said where it can be seen
            Packets(connected).send(Trouble(f"unexpected {type(error).__name__}: {error}", is_final=True))
    os._exit(code)


class _Receiver:
    def __init__(self, access: Access, cluster: str, packets: Packets) -> None:
        self._connection, self._packets = Connection(access, "nstrace follow"), packets
        self._events = subject(cluster, "*", EVENTS)
        self._next = 0  # the number in the stream of the next message; 0: not known yet
        self._trouble = ""

    async def run(self) -> None:
        """Receive for ever. Raises Gone."""
        while True:
            try:
                await self._receive()
            except Unavailable as error:
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    self._packets.send(Trouble(self._trouble))
                await asyncio.sleep(_RETRY_S)
            except Refused as error:
                self._packets.send(Trouble(str(error), is_final=True))
                return

    async def _receive(self) -> None:
        async with self._connection.jetstream() as stream:
            self._next = self._next or (await stream.stream_info(STREAMS[EVENTS])).state.last_seq + 1
            config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=self._next)
            messages = await stream.subscribe(self._events, ordered_consumer=True, config=config)
            client = await self._connection.client()
            while True:
                self._packets.send(Known(await heard_hosts(self._connection)))
                if self._trouble:
                    self._trouble = ""
                    self._packets.send(Trouble(""))
                until = asyncio.get_running_loop().time() + _HOSTS_S
                while (left := until - asyncio.get_running_loop().time()) > 0:
                    if not client.is_connected:
                        raise ConnectionResetError
                    await self._next_of(messages, min(left, 1.0))

    async def _next_of(self, messages: Any, timeout_s: float) -> None:
        try:
            message: Msg = await messages.next_msg(timeout_s)
        except TimeoutError:
            return
        *_prefix, cluster, host, _what = message.subject.split(".")
        self._next = message.metadata.sequence.stream + 1
        self._packets.send(Received(name_in(cluster), name_in(host), message.data))
