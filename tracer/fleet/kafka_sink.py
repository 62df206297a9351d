"""Kafka as a sink, by confluent-kafka: one topic, in which all messages of a host are in one partition, in order."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import confluent_kafka.admin  # noqa: F401 - list_topics needs it, when no file can be opened any more
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from tracer.fleet.names import EVENTS, subject
from tracer.fleet.sink import Message, Refused, Unavailable

TIMEOUT_S = 10.0
_LATEST = 256  # so many messages of the partition are looked through for this host's latest
_TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError._INVALID_ARG)
_NO_ENTRY = (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED)


class KafkaSink:
    """As `tracer.fleet.sink.Sink`, for the messages of one host. A message is stored when all replicas that are in sync
    have it; what is sent again within one connection is stored once (an idempotent producer). settings: as
    librdkafka names them. What a publisher says of itself is not stored: a topic keeps all."""

    def __init__(self, settings: Mapping[str, Any], topic: str, cluster: str, host: str) -> None:
        self._settings, self._topic, self._key = dict(settings), topic, subject(cluster, host).encode()
        self._producer: Producer | None = None
        self._partition = 0
        self.timeout_s = TIMEOUT_S

    async def open(self) -> int:
        """As `Sink.open`."""
        limit: int = await _in_thread(self._open)
        return limit

    def _open(self) -> int:
        producer = Producer(
            {
                **self._settings,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "none",  # batches are compressed
                "message.timeout.ms": int(TIMEOUT_S * 1000),
                "linger.ms": 0,
                "message.max.bytes": _MAX_BYTES,
                "log_level": 0,
            }
        )
        found = producer.list_topics(self._topic, timeout=self.timeout_s).topics[self._topic]
        if found.error is not None or not found.partitions:
            raise Unavailable(f"Kafka has no topic {self._topic}")
        self._partition = zlib.crc32(self._key) % len(found.partitions)
        self._producer = producer
        return _MAX_BYTES

    async def store(self, message: Message) -> None:
        """As `Sink.store`."""
        if message.what == EVENTS:
            await _in_thread(lambda: self._store(message))

    def _store(self, message: Message) -> None:
        if self._producer is None:
            self._open()
        assert self._producer is not None
        failed: list[KafkaError | None] = []
        headers: list[tuple[str, str | bytes | None]] = [
            (name, value.encode()) for name, value in {**message.headers, "Nats-Msg-Id": message.id}.items()
        ]
        self._producer.produce(
            self._topic, message.payload, self._key, self._partition,
            headers=headers, on_delivery=lambda error, _message: failed.append(error),
        )  # fmt: skip
        self._producer.flush(2 * TIMEOUT_S)
        if failed == [None]:
            return
        self._producer = None  # with what it still has to send: who asks `last` first sends nothing twice
        if failed:
            raise KafkaException(failed[0])
        raise Unavailable("Kafka does not answer")

    async def last(self) -> Mapping[str, str] | None:
        """As `Sink.last`; None also where so many messages of other hosts have come since that it was not found."""
        found: Mapping[str, str] | None = await _in_thread(self._last)
        return found

    def _last(self) -> dict[str, str] | None:
        if self._producer is None:
            self._open()
        consumer = Consumer({**self._settings, "group.id": "nstrace", "enable.auto.commit": False, "log_level": 0})
        try:
            where = TopicPartition(self._topic, self._partition)
            first, end = consumer.get_watermark_offsets(where, timeout=TIMEOUT_S)
            begin = max(first, end - _LATEST)
            if begin >= end:
                return None
            consumer.assign([TopicPartition(self._topic, self._partition, begin)])
            latest = None
            while True:
                message = consumer.poll(TIMEOUT_S)
                if message is None:
                    raise Unavailable("Kafka does not answer")
                if message.error() is not None:
                    raise KafkaException(message.error())
                if message.key() == self._key:
                    latest = _headers(message.headers())
                if (message.offset() or 0) >= end - 1:
                    return latest
        finally:
            consumer.close()

    async def close(self) -> None:
        """As `Sink.close`."""
        self._producer = None


_MAX_BYTES = 1_000_000  # what brokers take if nobody has set otherwise, and their overhead


def _headers(found: Any) -> dict[str, str]:
    """The headers of a message as text, those that are none left out."""
    return {name: value.decode("ascii", "replace") for name, value in found or () if isinstance(value, bytes)}


async def _in_thread(work: Callable[[], Any]) -> Any:
    """What the work returns. Raises Unavailable, Refused."""
    try:
        return await asyncio.to_thread(work)
    except KafkaException as exception:
        error = exception.args[0]
        if error.code() in _NO_ENTRY:
            raise Refused(f"Kafka does not let us in: {error.str()}") from exception
        if error.code() in _TOO_LARGE:
            raise Refused("it is larger than Kafka takes", _MAX_BYTES // 2) from exception
        raise Unavailable(f"Kafka: {error.str()}") from exception
