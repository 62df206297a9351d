"""The process that speaks to the server: it has the network and the credentials, and looks into no payload."""

from __future__ import annotations

import asyncio
import socket

from tracer.fleet.channel import AskLast, AsyncChannel, Done, No, Order, Ready, Store, Trouble
from tracer.fleet.names import ALIVE, EVENTS
from tracer.fleet.server_process import fork
from tracer.fleet.sink import Message, Refused, Sink, Unavailable

_LEAST_WAIT_S, _MOST_WAIT_S = 0.1, 5.0


def start(sink: Sink, held: int | None = None) -> tuple[int, socket.socket]:
    """Fork a process that performs orders with this sink, without privileges. No thread may run. held: as for
    `tracer.fleet.server_process.fork`. Returns its PID and the socket of a `tracer.fleet.channel.Channel`; it ends when
    that is closed."""
    return fork("nstrace-sender", lambda connected: _work(sink, connected), No, held)


async def _work(sink: Sink, connected: socket.socket) -> None:
    channel = AsyncChannel(*await asyncio.open_connection(sock=connected))
    sender = _Sender(sink, channel)
    try:
        if not await sender.begin():
            return
        while (order := await channel.order()) is not None:
            await sender.perform(order)
    finally:
        await sink.close()


class _Sender:
    """Performs orders, each until it is done: it waits for a server that is away."""

    def __init__(self, sink: Sink, channel: AsyncChannel) -> None:
        self._sink, self._channel = sink, channel
        self._trouble, self._wait_s = "", _LEAST_WAIT_S

    async def begin(self) -> bool:
        """Connect, and say so. False: the server does not let us in, which was said."""
        while True:
            try:
                limit = await self._sink.open()
            except Unavailable as error:
                await self._wait(error)
            except Refused as error:
                await self._channel.say(No(str(error)))
                return False
            else:
                await self._is_well()
                await self._channel.say(Ready(limit))
                return True

    async def perform(self, order: Order) -> None:
        """Do what an order says, and answer it. Raises Gone."""
        is_again = isinstance(order, Store) and order.is_again
        while True:
            try:
                answer = await self._answer(order, is_again)
            except Unavailable as error:
                if isinstance(order, Store) and order.message.what == ALIVE:  # the next one comes soon
                    await self._channel.say(Done())
                    return
                await self._wait(error)
                is_again = True
            except Refused as error:
                await self._is_well()
                await self._channel.say(No(str(error), error.limit))
                return
            else:
                await self._is_well()
                await self._channel.say(answer)
                return

    async def _answer(self, order: Order, is_again: bool) -> Done:
        if isinstance(order, AskLast):
            last = await self._sink.last()
            return Done(None if last is None else dict(last))
        message = order.message
        if not (is_again and message.what == EVENTS and await self._is_stored(message)):
            await self._sink.store(message)
        return Done()

    async def _is_stored(self, message: Message) -> bool:
        """Whether it is the latest that the server has: it forgets ids after a while."""
        last = await self._sink.last()
        return last is not None and last.get("Nats-Msg-Id") == message.id

    async def _wait(self, error: Unavailable) -> None:
        """Until the next try. Raises Gone."""
        if str(error) != self._trouble:
            self._trouble = str(error)
            await self._channel.say(Trouble(self._trouble))
        await asyncio.sleep(self._wait_s)
        self._channel.check()
        self._wait_s = min(2 * self._wait_s, _MOST_WAIT_S)

    async def _is_well(self) -> None:
        self._wait_s = _LEAST_WAIT_S
        if self._trouble:
            self._trouble = ""
            await self._channel.say(Trouble(""))
