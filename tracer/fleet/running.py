"""Runs what waits for a server: once, for commands that ask and end; and what a signal does to one that goes on."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any, TypeVar

from tracer.errors import NstraceError
from tracer.fleet.nats_client import Connection
from tracer.fleet.server_process import LATE_IMPORTS
from tracer.fleet.sink import Refused, Unavailable
from tracer.interrupt import leave
from tracer.system import imports
from tracer.system.privileges import drop_but_connect

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T], connection: Connection) -> T:
    """What the work returns; then the connection is closed. Privileges are given up: what the server has may be
    anybody's. Raises NstraceError where the server does not do it."""

    imports.load(*LATE_IMPORTS)
    loop = asyncio.new_event_loop()
    drop_but_connect()

    async def whole() -> T:
        try:
            return await work
        finally:
            await connection.drop()

    try:
        return loop.run_until_complete(whole())
    except Refused as error:
        raise NstraceError(str(error), "check the address, the credentials and the certificates") from error
    except Unavailable as error:
        raise NstraceError(str(error), "is the server running, and with JetStream (-js)?") from error


@contextlib.contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """In a coroutine: the first signal that ends commands calls stop, as asyncio calls what it is told to: nothing is
    interrupted in its middle. The second ends the process. What is ignored stays so."""
    loop = asyncio.get_running_loop()

    def handle(_number: int, _frame: FrameType | None) -> None:
        for one in before:
            signal.signal(one, leave)
        loop.call_soon_threadsafe(stop)

    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {one: handler for one in ending if (handler := signal.getsignal(one)) != signal.SIG_IGN}
    try:
        for one in before:
            signal.signal(one, handle)
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
