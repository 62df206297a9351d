"""The process that publishes what the agent records, as nstrace fleet publish does."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.agent.config import Publish

if TYPE_CHECKING:
    from tracer.fleet.publisher import Alive
    from tracer.fleet.sink import Sink


def publish(config: Publish, folder: Path, packets: socket.socket, say: Callable[[str], None]) -> int:
    """Publish the recordings in a folder until a signal ends it, or the agent has ended. packets: where to say what
    metrics count. Gives the exit code. Raises NstraceError."""
    from tracer.fleet.publisher import Whose
    from tracer.fleet.publishing import Publishing
    from tracer.fleet.publishing import publish as publish_folder
    from tracer.wiring.signals import until_interrupted

    whose, agent = (config.cluster, config.host or os.uname().nodename), os.getppid()
    sink = _sink(config, whose)
    publishing = Publishing(folder, folder / "publisher.state", Whose(*whose), config.rate_bytes_s)
    with until_interrupted():
        publish_folder(publishing, sink, say, lambda: os.getppid() == agent, lambda alive: _report(packets, alive))
    return 0


def _report(packets: socket.socket, alive: Alive) -> None:
    said = {"from": "publisher", "messages": alive.messages, "rows": alive.rows, "losses": alive.losses}
    said |= {"behind": alive.files_behind}
    if alive.until_ns:
        said["until"] = alive.until_ns / 1e9
    with contextlib.suppress(BlockingIOError, ConnectionError):
        packets.send(json.dumps(said).encode())


def _sink(config: Publish, whose: tuple[str, str]) -> Sink:
    from tracer.commands.fleet import check_library

    if config.sink == "kafka":
        check_library("confluent_kafka", "kafka")
        from tracer.fleet.kafka_access import settings_of
        from tracer.fleet.kafka_sink import KafkaSink

        return KafkaSink(settings_of(",".join(config.urls), config.settings_file), config.topic, *whose)
    check_library("nats", "fleet")
    from tracer.fleet.access import Files, access_of
    from tracer.fleet.nats_sink import NatsSink

    files = Files(config.ca_file, config.certificate_file, config.key_file, config.credentials_file, config.token_file)
    return NatsSink(access_of(",".join(config.urls), files), *whose)
