"""Runs what waits for a server: once, for commands that ask and end; for one that goes on, what it does in threads, and
what a signal does to it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
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
_TOGETHER_S = 0.5


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


def in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """What it returns or raises, in the end; whoever waits no longer need not wait for its thread: the process ends
    without it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(settled: Callable[[Any], None], value: object) -> None:
        if not future.done():
            settled(value)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], object] = future.set_result, work()
        except BaseException as error:
            outcome = future.set_exception, error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, daemon=True).start()
    return future


@contextlib.contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """In a coroutine: the first signal that ends commands calls stop, as asyncio calls what it is told to: nothing is
    interrupted in its middle. The second ends the process; one that comes with the first does not, as at the end of a
    terminal. What is ignored stays so."""
    loop, came_s = asyncio.get_running_loop(), list[float]()

    def handle(number: int, frame: FrameType | None) -> None:
        came_s.append(time.monotonic())
        if len(came_s) == 1:
            loop.call_soon_threadsafe(stop)
        elif came_s[-1] - came_s[0] > _TOGETHER_S:
            leave(number, frame)

    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {one: handler for one in ending if (handler := signal.getsignal(one)) != signal.SIG_IGN}
    try:
        for one in before:
            signal.signal(one, handle)
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
