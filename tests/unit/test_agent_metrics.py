"""What the agent counts, and how it is served."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress

import pytest
from builders import SECOND_NS, batch, exits
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from recordings import facts, storm

from tracer.agent import exporter
from tracer.agent.config import Metrics
from tracer.agent.connections import Connections
from tracer.agent.counts import HOST, Counts, OfContainer
from tracer.agent.exporter import MAX_PACKET_BYTES, Seen
from tracer.agent.reporting import labelled
from tracer.errors import NstraceError
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.tally import Tallies


def counted(counts: Counts, *batches: Batch) -> Tallies:
    """Count batches, and have them tallied as nstrace summary does."""
    attribution, tallies = Attribution(), Tallies()
    for whole in batches:
        for part in attribution.split_and_learn(whole):
            counts.take(part, attribution)
            tallies.take(part, attribution)
    return tallies


def test_the_counts_are_those_of_the_summary() -> None:
    failed = [exits(3000 + nr, ts_ns=9 * SECOND_NS, start_ns=SECOND_NS, status=9 if nr else 77 << 8) for nr in range(3)]
    counts = Counts(most=10)
    tallies = counted(counts, facts(), storm(1, 50), batch(*failed))
    assert counts.kinds == {"fork": 50, "exec": 50, "exit": 53}
    assert set(counts.containers) == {"web", HOST}
    for name, of in counts.containers.items():
        told = tallies.of["" if name == HOST else name]
        assert (of.begun, of.failed) == (told.begun, told.failed + told.killed)
    assert counts.containers[HOST].failed == 3


def test_there_are_never_more_names_than_so_many() -> None:
    counts = Counts(most=2)
    before = OfContainer()
    for number in range(50):
        for _again in range(number % 7 + 1):
            counts._place(f"c{number}").begun += 1
        assert len(counts.containers) <= 2
        assert counts.rest.begun >= before.begun
        before = OfContainer(counts.rest.begun)
    everything = counts.rest.begun + sum(one.begun for one in counts.containers.values())
    assert everything == sum(number % 7 + 1 for number in range(50))


def test_a_busy_container_gets_the_place_of_a_quiet_one() -> None:
    counts = Counts(most=1)
    counts._place("quiet").begun += 1
    for _again in range(5):
        counts._place("busy").begun += 1
    assert set(counts.containers) == {"busy"}
    assert counts.rest.begun + counts.containers["busy"].begun == 6


def asked(request: bytes, seen: Seen, metrics: Callable[[], bytes] = lambda: b"m") -> bytes:
    """What the exporter answers."""
    connections = Connections(lambda path: exporter.response(path, seen, metrics, "text/plain"))
    ours, theirs = socket.socketpair()
    with closing(ours):
        ours.sendall(request)
        ours.shutdown(socket.SHUT_WR)
        connections.add(theirs)
        while connections:
            connections.serve([], 10)
        parts = []
        with suppress(ConnectionResetError):  # not all of it was read
            while part := ours.recv(65536):
                parts.append(part)
        return b"".join(parts)


def heard(**agent: int) -> Seen:
    seen = Seen()
    seen.hear(
        json.dumps({"from": "recorder", "lost": 3, "kinds": {"fork": 5}, "containers": {'w"\n': [1, 2, 3]}}).encode()
    )
    seen.hear(json.dumps({"from": "agent", "ready": 1, "files": 7, **agent}).encode())
    return seen


def test_pages() -> None:
    assert asked(b"GET /metrics?x HTTP/1.1\r\nHost: a\r\n\r\n", heard()).endswith(b"\r\n\r\nm")
    assert b" 200 OK" in asked(b"GET /healthz HTTP/1.0\n\n", heard())
    assert b" 503 " in asked(b"GET /healthz HTTP/1.0\n\n", Seen())
    assert b" 200 OK" in asked(b"GET /readyz HTTP/1.0\n\n", heard())
    assert b" 503 " in asked(b"GET /readyz HTTP/1.0\n\n", heard(ready=0))
    full = heard(paused=1)
    full._heard_s = float("-inf")  # the recorder has ended
    for seen in (full, heard(paused=1)):
        assert b" 200 OK" in asked(b"GET /healthz HTTP/1.0\n\n", seen)
        assert b" 503 " in asked(b"GET /readyz HTTP/1.0\n\n", seen)
    assert b" 404 " in asked(b"GET /../../etc/passwd HTTP/1.0\n\n", heard())


@pytest.mark.parametrize(
    "request_", [b"", b"\xff\xfe\r\n\r\n", b"GET /metrics", b"POST / HTTP/1.1\r\n\r\n", b"a" * 9000]
)
def test_what_is_no_request_is_not_answered(request_: bytes) -> None:
    assert asked(request_, heard()) == b""


def test_who_is_slow_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    connections = Connections(lambda path: path.encode())
    pairs = [socket.socketpair() for _ in range(70)]
    for nr, (ours, theirs) in enumerate(pairs):
        connections.add(theirs)
        ours.sendall(f"GET /{nr} HTTP/1.1\r\n".encode())
    assert len(connections) == 64
    last = pairs[-1][0]
    last.sendall(b"\r\n")
    while len(connections) == 64:  # time stands
        connections.serve([], 1)
    assert last.recv(100) == b"/69"
    with pytest.raises(ConnectionResetError):  # the oldest have made room
        pairs[0][0].recv(100)
    now_s = 3.0
    connections.serve([], 1)
    assert len(connections) == 0
    for ours, _theirs in pairs:
        ours.close()


def test_all_that_is_counted_is_in_a_packet() -> None:
    counts = Counts(most=3000)
    for number in range(1500):
        counts._place(f"\N{SNOWMAN}{number:0200}").begun += 1  # cut, they have one label
        counts._place(f"{number}\N{SNOWMAN}".ljust(100, "x")).begun += 1
    counts._place("rest").begun += 1  # a container's name
    said = labelled(counts)
    assert sum(one.begun for one in said.values()) == 3001
    assert said["rest"].begun > 1
    assert len(json.dumps({name: [one.begun, 1 << 60, 1 << 60] for name, one in said.items()})) < MAX_PACKET_BYTES


def test_metrics_are_valid_whatever_a_container_is_called() -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(heard())
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }
    assert found["nstrace_lost_events_total",] == 3
    assert found["nstrace_events_total", "fork"] == 5
    assert found["nstrace_kept_files",] == 7
    assert found["nstrace_processes_failed_total", 'w"\n'] == 2


def test_an_address_that_is_taken() -> None:
    with (
        closing(exporter.listening(Metrics(port=0))) as taken,
        pytest.raises(NstraceError, match="cannot be served at"),
    ):
        exporter.listening(Metrics(port=taken.getsockname()[1]))
