"""Runs what waits for a server once, for commands that ask and end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from tracer.errors import NstraceError
from tracer.fleet.nats_client import Connection
from tracer.fleet.server_process import LATE_IMPORTS
from tracer.fleet.sink import Refused, Unavailable
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
