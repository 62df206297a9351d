"""The streams of JetStream that hold what a fleet publishes: made once, by who may."""

from __future__ import annotations

import nats.js.errors
from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from tracer.fleet.names import ALIVE, EVENTS, STREAMS, subject
from tracer.fleet.nats_client import Connection


async def make_streams(connection: Connection, replicas: int, keep_s: float, max_bytes: int | None) -> list[str]:
    """Make the streams, or change them to be so. replicas: on how many servers; keep_s: how long a batch is kept at the
    most; max_bytes: of all batches. Gives what was done, a line each. Raises Unavailable, Refused."""
    events = StreamConfig(
        name=STREAMS[EVENTS],
        description="Batches of events of all hosts",
        subjects=[subject("*", "*", EVENTS)],
        num_replicas=replicas,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=keep_s,
        max_bytes=max_bytes if max_bytes is not None else -1,
    )
    alive = StreamConfig(
        name=STREAMS[ALIVE],
        description="What each publisher says of itself: the latest",
        subjects=[subject("*", "*", ALIVE)],
        num_replicas=replicas,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_msgs_per_subject=1,
    )
    return [await _make(connection, config) for config in (events, alive)]


async def _make(connection: Connection, config: StreamConfig) -> str:
    async with connection.jetstream(timeout_s=15) as stream:
        try:
            await stream.stream_info(config.name or "")
        except nats.js.errors.NotFoundError:
            await stream.add_stream(config)
            return f"made the stream {config.name}"
        await stream.update_stream(config)
        return f"the stream {config.name} is as it should be"
