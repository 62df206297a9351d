"""Serves the metrics to Prometheus, and says whether the agent is alive and ready: a process without privileges, which
reads what strangers send, and has no descriptor but its socket and the packets of numbers that the others send it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tracer.agent.config import Metrics
from tracer.agent.connections import Connections
from tracer.errors import NstraceError

MAX_PACKET_BYTES = 1 << 17
_FRESH_S = 30.0  # who has said nothing for longer does not live
_LIBRARY = "prometheus_client"


def address_of(metrics: Metrics | None) -> tuple[str, int] | None:
    """Where they are served; None: nowhere."""
    return (metrics.address, metrics.port) if metrics else None


def listening(metrics: Metrics) -> socket.socket:
    """The socket, which listens. Raises NstraceError."""
    from importlib.util import find_spec

    if not find_spec(_LIBRARY):
        raise NstraceError("[metrics] needs the library prometheus-client", "pip install 'nstrace[metrics]'")
    family = socket.AF_INET6 if ":" in metrics.address else socket.AF_INET
    try:
        server = socket.create_server((metrics.address, metrics.port), family=family, backlog=64)
    except OSError as error:
        where = f"{metrics.address}:{metrics.port}"
        message = f"metrics cannot be served at {where}: {error.strerror}"
        raise NstraceError(message, "name another address in [metrics] listen") from error
    server.setblocking(False)
    return server


def serve(server: socket.socket, packets: socket.socket, parent: int) -> int:
    """Answer until the agent has ended. packets: what the others say: JSON, a part of the metrics each. Privileges are
    given up."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

    from tracer.system.privileges import drop_but_serve

    seen = Seen()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(seen)
    generate_latest(registry)  # imports all that it needs
    drop_but_serve()
    connections = Connections(lambda path: response(path, seen, lambda: generate_latest(registry), CONTENT_TYPE_LATEST))
    while os.getppid() == parent:
        ready = connections.serve([server, packets], 1.0)
        if packets in ready:
            if not (packet := packets.recv(MAX_PACKET_BYTES)):
                break  # all who say something have ended
            seen.hear(packet)
        if server in ready:
            with contextlib.suppress(BlockingIOError, ConnectionError):  # who asked has gone
                connections.add(server.accept()[0])
    return 0


def response(path: str, seen: Seen, metrics: Callable[[], bytes], content_type: str) -> bytes:
    """The answer to a request for a path."""
    if path == "/metrics":
        status, kind, body = "200 OK", content_type, metrics()
    elif path in ("/healthz", "/readyz"):
        is_well = seen.is_alive if path == "/healthz" else seen.is_ready
        status, kind = ("200 OK" if is_well else "503 Service Unavailable"), "text/plain"
        body = b"ok\n" if is_well else b"not now\n"
    else:
        status, kind, body = "404 Not Found", "text/plain", b"/metrics /healthz /readyz\n"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


class Seen:
    """What was said last: `prometheus_client` collects it."""

    def __init__(self) -> None:
        self._recorder: dict[str, Any] = {}
        self._agent: dict[str, Any] = {}
        self._publisher: dict[str, Any] = {}
        self._heard_s = self._agent_s = float("-inf")

    def hear(self, packet: bytes) -> None:
        """A packet: of the recorder, the publisher, or the agent's own process."""
        said = json.loads(packet)
        whose = said.pop("from")
        if whose == "agent":
            self._agent, self._agent_s = said, time.monotonic()
        elif whose == "publisher":
            self._publisher = said
        else:
            self._recorder, self._heard_s = said, time.monotonic()

    @property
    def is_alive(self) -> bool:
        """Whether the recorder's loop has said something lately, or pauses until there is room on the disk."""
        is_paused = self._agent.get("paused") and time.monotonic() - self._agent_s < _FRESH_S
        return self._records or bool(is_paused)

    @property
    def is_ready(self) -> bool:
        """Whether what happens is on the disk."""
        return self._records and bool(self._agent.get("ready")) and not self._agent.get("paused")

    @property
    def _records(self) -> bool:
        return time.monotonic() - self._heard_s < _FRESH_S

    def collect(self) -> Iterator[Any]:
        """The metrics."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        from tracer.version import VERSION

        build = GaugeMetricFamily("nstrace_build_info", "The version that runs.", labels=["version"])
        build.add_metric([VERSION], 1)
        yield build
        sayers = {"": self._recorder, "a": self._agent, "p": self._publisher}
        for name, text, said, kind in _METRICS:
            if (value := sayers[kind[1:]].get(said)) is not None:
                family = CounterMetricFamily if kind[0] == "c" else GaugeMetricFamily
                yield family(f"nstrace_{name}", text, value=value)
        events = CounterMetricFamily("nstrace_events", "Events that were recorded, by kind.", labels=["kind"])
        for kind, count in self._recorder.get("kinds", {}).items():
            events.add_metric([kind], count)
        yield events
        yield from self._of_containers(CounterMetricFamily)

    def _of_containers(self, family: Any) -> Iterable[Any]:
        found: dict[str, list[int]] = self._recorder.get("containers", {})
        for at, (name, text) in enumerate(_OF_CONTAINERS):
            metric = family(f"nstrace_{name}", text, labels=["container"])
            for container, counts in found.items():
                metric.add_metric([container], counts[at])
            yield metric


_METRICS = (
    ("lost_events", "Events that were lost.", "lost", "c"),
    ("throttled_events", "Of the lost ones, those kept out for the sake of others.", "throttled", "c"),
    ("delivered_events", "Events that the kernel's programs delivered.", "delivered", "c"),
    ("filtered_events", "Events that nobody had asked for.", "filtered", "c"),
    ("table_processes", "Processes in the table, ended ones among them.", "table", "g"),
    ("table_evicted_living", "Living processes for which the table had no room.", "evicted", "c"),
    ("ring_fill_ratio", "How full the ring is.", "ring", "g"),
    ("lag_seconds", "Between an event and its being on the disk, of the last write.", "lag", "g"),
    ("written_bytes", "Bytes that the recorder has written.", "bytes", "c"),
    ("containers_known", "Containers that have a count of their own.", "named", "g"),
    ("engine_up", "Whether a container engine answers.", "engine", "g"),
    ("kept_bytes", "Bytes of recordings that are kept.", "bytes", "ga"),
    ("kept_files", "Recordings that are kept.", "files", "ga"),
    ("oldest_kept_timestamp_seconds", "When the oldest of them was last written to.", "oldest", "ga"),
    ("free_bytes", "Bytes that are free on the disk.", "free", "ga"),
    ("paused", "Whether recording pauses: the disk is full.", "paused", "ga"),
    ("recorder_starts", "How often the recorder was started.", "starts", "ca"),
    ("incidents", "Events that met a trigger's condition, and were kept.", "incidents", "ca"),
    ("published_messages", "Messages that the publisher has sent, and the server has.", "messages", "cp"),
    ("published_events", "Events in them.", "rows", "cp"),
    ("publish_losses", "Times that recordings had gone before they were published.", "losses", "cp"),
    ("publish_files_behind", "Finished recordings that are not published yet.", "behind", "gp"),
    ("published_timestamp_seconds", "The time of the latest event that the server has.", "until", "gp"),
)
_OF_CONTAINERS = (
    ("processes_begun", "Processes that have begun."),
    ("processes_failed", "Processes that have ended by a signal or with a code other than 0."),
    ("processes_out_of_memory", "Processes that were killed for lack of memory."),
)
