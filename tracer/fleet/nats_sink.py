"""NATS JetStream as a sink: a message is stored when most servers of its stream have it."""

from __future__ import annotations

from collections.abc import Mapping

import nats.js.errors

from tracer.fleet.access import Access
from tracer.fleet.names import ALIVE, EVENTS, STREAMS, subject
from tracer.fleet.nats_client import Connection
from tracer.fleet.sink import Message


class NatsSink:
    """As `tracer.fleet.sink.Sink`, for the messages of one host."""

    def __init__(self, access: Access, cluster: str, host: str) -> None:
        self._connection = Connection(access, f"nstrace publish {host}")
        self._subjects = {what: subject(cluster, host, what) for what in (EVENTS, ALIVE)}

    async def open(self) -> int:
        """As `Sink.open`."""
        client = await self._connection.client()
        return int(client.max_payload)

    async def store(self, message: Message) -> None:
        """As `Sink.store`."""
        headers = {**message.headers, "Nats-Msg-Id": message.id}
        async with self._connection.jetstream() as stream:
            await stream.publish(self._subjects[message.what], message.payload, headers=headers)

    async def last(self) -> Mapping[str, str] | None:
        """As `Sink.last`."""
        async with self._connection.jetstream() as stream:
            try:
                found = await stream.get_last_msg(STREAMS[EVENTS], self._subjects[EVENTS])
            except nats.js.errors.NotFoundError as error:
                if error.err_code != _NO_MESSAGE:
                    raise
                return None
            return found.headers or {}

    async def close(self) -> None:
        """As `Sink.close`."""
        await self._connection.drop()


_NO_MESSAGE = 10037  # JetStream's API: no message found
