"""The second sink, against the mock cluster that is in librdkafka: brokers that really speak the protocol."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from conftest import wait_for
from publishing import Recorder
from recordings import facts, storm
from servers import Process
from test_publisher import rows_of

from tracer.fleet.envelope import opened
from tracer.fleet.kafka_sink import KafkaSink
from tracer.fleet.names import EVENTS
from tracer.fleet.sink import Message, Refused, Unavailable


@pytest.fixture
def brokers() -> Iterator[str]:
    """The addresses of three brokers, which live as long as this producer."""
    cluster = Producer({"bootstrap.servers": "x", "test.mock.num.brokers": 3, "log_level": 0})
    found = cluster.list_topics("nstrace", timeout=10).brokers.values()
    assert all(broker.host == "127.0.0.1" for broker in found)
    yield ",".join(f"{broker.host}:{broker.port}" for broker in found)
    cluster.flush(1)


@pytest.fixture
def publish(tmp_path: Path, brokers: str) -> Iterator[Callable[[], Process]]:
    started: list[Process] = []
    (tmp_path / "spool").mkdir()

    def make() -> Process:
        line = ("fleet", "publish", "--kafka", brokers, "--from", str(tmp_path / "spool"), "--host", "web1")
        started.append(Process(tmp_path / "publish.log", *line))
        started[-1].start()
        return started[-1]

    yield make
    for process in started:
        process.close()


def messages(brokers: str) -> list[Any]:
    """All messages of the topic, those of a partition in order."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": f"tests-{os.getpid()}", "log_level": 0})
    try:
        found = []
        for partition in consumer.list_topics("nstrace", timeout=10).topics["nstrace"].partitions:
            _first, end = consumer.get_watermark_offsets(TopicPartition("nstrace", partition), timeout=10)
            if end > 0:
                consumer.assign([TopicPartition("nstrace", partition, 0)])
                for _number in range(end):
                    message = consumer.poll(10)
                    assert message is not None and message.error() is None
                    found.append(message)
        return found
    finally:
        consumer.close()


def test_a_spool_and_a_kill(tmp_path: Path, brokers: str, publish: Callable[[], Process]) -> None:
    recorder = Recorder(tmp_path / "spool", max_bytes=60_000)
    recorder.take(facts())
    process = publish()
    for first in range(1, 100, 10):
        recorder.take(storm(first, 10))
        if first == 31:
            wait_for(lambda: len(messages(brokers)) > 0)
            process.end(signal.SIGKILL)
            process.start()
    recorder.close()

    def rows() -> list[tuple[int, int]]:
        origins = [opened(message.value(), "message").origin for message in messages(brokers)]
        return [(one.part, row) for one in origins for row in range(one.first_row, one.end_row)]

    wait_for(lambda: rows() == rows_of(tmp_path / "spool"), 60)
    assert {message.partition() for message in messages(brokers)} == {messages(brokers)[0].partition()}
    assert process.end() == 0, process.said()
    assert "Traceback" not in process.said()


def test_the_latest_message(brokers: str) -> None:
    """Also among those of other hosts."""

    async def work() -> None:
        sinks = [KafkaSink({"bootstrap.servers": brokers}, "nstrace", "test", f"web{number}") for number in range(9)]
        assert await sinks[0].last() is None
        for number in range(3):
            for at, sink in enumerate(sinks):
                await sink.store(Message(EVENTS, f"{at}.{number}", {"Nstrace-Run": "a"}, b"x" * 1000))
        for at, sink in enumerate(sinks):
            assert await sink.last() == {"Nstrace-Run": "a", "Nats-Msg-Id": f"{at}.2"}
        with pytest.raises(Refused, match="larger"):
            await sinks[0].store(Message(EVENTS, "0.4", {}, bytes(2_000_000)))
        for sink in sinks:
            await sink.close()

    asyncio.run(work())


def test_no_broker_answers() -> None:
    sink = KafkaSink({"bootstrap.servers": "127.0.0.1:1", "socket.timeout.ms": 1000}, "nstrace", "test", "web1")
    sink.timeout_s = 1.0
    with pytest.raises(Unavailable):
        asyncio.run(sink.open())
