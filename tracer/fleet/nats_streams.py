"""The streams of JetStream that hold what a fleet publishes: made once, by who may."""

from __future__ import annotations

import nats.js.errors
from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from tracer.fleet.names import ALIVE, EVENTS, STREAMS, subject
from tracer.fleet.nats_client import Connection
from tracer.text.counted import counted, size_text
from tracer.text.times import elapsed


async def make_streams(
    connection: Connection, replicas: int | None, keep_s: float | None, max_bytes: int | None
) -> list[str]:
    """Make the streams, or change them to be so. replicas: on how many servers; keep_s: how long a batch is kept at the
    most; max_bytes: of all batches; None: as the stream has it, a new one 1, 7 days, and no limit. Gives what was done,
    a line each. Raises Unavailable, Refused."""
    events = StreamConfig(
        name=STREAMS[EVENTS],
        description="Batches of events of all hosts",
        subjects=[subject("*", "*", EVENTS)],
        num_replicas=replicas,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=keep_s,
        max_bytes=max_bytes,
    )
    alive = StreamConfig(
        name=STREAMS[ALIVE],
        description="What each publisher says of itself: the latest",
        subjects=[subject("*", "*", ALIVE)],
        num_replicas=replicas,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_msgs_per_subject=1,
        max_age=0,
        max_bytes=-1,
    )
    return [await _make(connection, config) for config in (events, alive)]


async def _make(connection: Connection, config: StreamConfig) -> str:
    async with connection.jetstream(timeout_s=15) as stream:
        try:
            there = (await stream.stream_info(config.name or "")).config
        except nats.js.errors.NotFoundError:
            made = await stream.add_stream(_with(config, _NEW))
            return f"made the stream {config.name}: {_said(made.config)}"
        changed = await stream.update_stream(_with(config, there))
        return f"the stream {config.name} is as it should be: {_said(changed.config)}"


_NEW = StreamConfig(num_replicas=1, max_age=7 * 86400, max_bytes=-1)


def _with(config: StreamConfig, others: StreamConfig) -> StreamConfig:
    """The configuration, and what it leaves open as others have it."""
    names = ("num_replicas", "max_age", "max_bytes")
    return config.evolve(**{name: getattr(others, name) for name in names if getattr(config, name) is None})


def _said(config: StreamConfig) -> str:
    replicas = counted(config.num_replicas or 1, "replica")
    age = f"kept for {elapsed(config.max_age)}" if config.max_age else "kept for ever"
    limit = config.max_bytes or -1
    size = f", at most {size_text(limit)}" if limit > 0 else ""
    return f"{replicas}, {age}{size}"
