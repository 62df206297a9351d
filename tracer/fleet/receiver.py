"""The process that receives what hosts publish: it has the network, and looks into no payload."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, DeliverPolicy

from tracer.fleet.access import Access
from tracer.fleet.channel import Packets
from tracer.fleet.hosts import Heard, heard_hosts
from tracer.fleet.names import EVENTS, STREAMS, name_in, subject
from tracer.fleet.nats_client import Connection
from tracer.fleet.server_process import fork
from tracer.fleet.sink import Refused, Unavailable

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

    async def receive(connected: socket.socket) -> None:
        await _Receiver(access, cluster, Packets(connected)).run()

    _child, ours = fork("nstrace-receive", receive, lambda why: Trouble(why, is_final=True))
    return ours


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
                self._packets.check()
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
