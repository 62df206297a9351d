"""A connection to a server that answers what nobody waits for any more. The server is made up: it knows two words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from nats.aio.client import Client

from tracer.fleet.access import Files, access_of
from tracer.fleet.nats_client import Connection

INFO = b'INFO {"server_id":"made-up","version":"2.10.0","headers":true,"max_payload":1048576}\r\n'


class Slow:
    """A server that answers the first PING of a connection, and later ones when it is told to."""

    def __init__(self) -> None:
        self.connections = 0
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(INFO)
        pings = 0
        while line := await reader.readline():
            if line.strip() == b"PING":
                pings += 1
                if pings > 1:
                    self.asked.set()
                    await self.may_answer.wait()
                writer.write(b"PONG\r\n")
        writer.close()


@asynccontextmanager
async def connection_to(slow: Slow) -> AsyncIterator[Connection]:
    async with await asyncio.start_server(slow.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connection = Connection(access_of(f"nats://127.0.0.1:{port}", Files()), "tests")
        yield connection
        await connection.drop()


async def given_up(server: Slow, connection: Connection) -> Client:
    """A client that is answered after whoever asked has gone."""
    client = await connection.client()
    asking = asyncio.ensure_future(client.flush())
    await server.asked.wait()
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    server.may_answer.set()
    return client


def test_an_answer_too_late_ends_the_connection(capfd: pytest.CaptureFixture[str]) -> None:
    """Silence would follow, which is not to be told from peace; and a log of the library's has a traceback."""

    async def whole() -> int:
        slow = Slow()
        async with connection_to(slow) as connection:
            client = await given_up(slow, connection)
            while client.is_connected:
                await asyncio.sleep(0.01)
            assert await connection.client() is not client
        return slow.connections

    assert asyncio.run(asyncio.wait_for(whole(), 20)) == 2
    assert capfd.readouterr() == ("", "")


def test_a_connection_that_is_dropped_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    async def whole() -> None:
        slow = Slow()
        async with connection_to(slow) as connection:
            await given_up(slow, connection)

    asyncio.run(asyncio.wait_for(whole(), 20))
    assert capfd.readouterr() == ("", "")
