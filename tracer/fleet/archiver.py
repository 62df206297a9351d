"""Messages of JetStream -> an archive. Several archivers share the work: the server gives each message to one, and to
another one where it is not acknowledged in time."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import itertools
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.client import JetStreamContext

from tracer.errors import NstraceError
from tracer.fleet import names
from tracer.fleet.archive_names import BATCHES, EVENTS, PROCESSES, RUN, block_of, folder_of
from tracer.fleet.archive_store import Store
from tracer.fleet.channel import Gone
from tracer.fleet.compaction import compact
from tracer.fleet.decoder import Decoder, Delivery, Files, Made
from tracer.fleet.gathering import Gathering, Held, Label, parts
from tracer.fleet.nats_client import Connection
from tracer.fleet.running import in_thread
from tracer.fleet.sink import Refused, Unavailable

P = ParamSpec("P")
T = TypeVar("T")
_GROUP = "nstrace-archive"
_ACK_WAIT_S, _MAX_ACK_PENDING = 30, 20_000
_MOST_BYTES, _MOST_MESSAGES, _FETCH = 6_000_000, 512, 64  # that are decoded at once; of a request
_HELD_BYTES = 64_000_000
_SLICE_S = 1.0
_PATIENCE_S, _GIVE_BACK_S = 5.0, 2.0  # when it is stopped
_LEAST_WAIT_S, _MOST_WAIT_S = 0.2, 5.0
_DONE, _IN_PROGRESS, _NOT_DONE = b"+ACK", b"+WPI", b"-NAK"
_REJECTED = "rejected"
_NUMBER = re.compile(r"[1-9]\d{0,14}", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class _Stopped(Exception):
    """It was told to stop while it waited."""


class Archiver:
    """cluster: whose messages, "*": of all, which others share than those of one cluster. every_s: how long a message
    waits for others of its host, to share their files; compact_s: how often small files are made large ones, 0: never.
    say: writes a line for people. is_stuck: it was stopped, and something that it had begun does not end."""

    def __init__(
        self,
        connection: Connection,
        decoder: Decoder,
        store: Store,
        *,
        cluster: str,
        every_s: float,
        compact_s: float,
        target_bytes: int,
        say: Callable[[str], None],
    ) -> None:
        self._connection, self._decoder, self._store, self._say = connection, decoder, store, say
        self._cluster, self._group = cluster, _GROUP if cluster == "*" else f"{_GROUP}-{names.token(cluster)}"
        self._gathering: Gathering[Msg] = Gathering(every_s, _HELD_BYTES)
        self._parts: deque[list[Held[Msg]]] = deque()  # which wait no longer, and are not archived yet
        self._slice_s = min(_SLICE_S, every_s / 2)
        self._compact_s, self._target_bytes = compact_s, target_bytes
        self._client: Client | None = None  # which has subscribed
        self._subscription: Any = None
        self._compacted_at = time.monotonic()
        self._trouble, self._wait_s = "", _LEAST_WAIT_S
        self._stopped = asyncio.Event()
        self.messages, self.is_stuck = 0, False

    def stop(self) -> None:
        """Come to an end soon: what is begun is waited for, and given up if it takes long."""
        self._stopped.set()
        self._decoder.close()

    async def run(self, until_done: bool) -> bool:
        """Archive until `stop`, then leave to other archivers what is not archived yet. until_done: until every message
        is archived, whoever does it. Gives whether that is so. Raises NstraceError where the server does not let us in,
        or the process that decodes has ended."""
        work, stopped = asyncio.ensure_future(self._run(until_done)), asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not (await asyncio.wait([work], timeout=_PATIENCE_S))[0]:
                self.is_stuck = True
                work.cancel()
            return await work
        except (_Stopped, asyncio.CancelledError):
            return False
        finally:
            stopped.cancel()
            await self._give_back()

    async def _run(self, until_done: bool) -> bool:
        while self._goes_on():
            try:
                is_all = is_last = False
                if not await self._gather() and (until_done or self._gathering.bytes):
                    consumer = await self._consumer()
                    is_last = until_done and not consumer.num_pending
                    is_all = is_last or _gives_no_more(consumer)
                due = self._gathering.due(time.monotonic(), is_all)
                self._parts += parts(due, _MOST_MESSAGES, _MOST_BYTES)
                is_last = is_last and not self._parts
                while self._parts and self._goes_on():
                    await self._archive([held.message for held in self._parts[0]])
                    self._parts.popleft()
                    await self._keep()
                if is_last and not (await self._consumer()).num_ack_pending:
                    return True
                await self._compact()
            except Unavailable as error:
                await self._wait(str(error))
            except Refused as error:
                raise NstraceError(str(error), "check the credentials, and what they permit") from error
            except Gone as error:
                if not self._goes_on():
                    return False
                self._parts.popleft()  # what may have ended it is not handed on at once
                raise NstraceError("the process that decodes messages has ended", "please report it") from error
        return False

    # The server

    async def _gather(self) -> int:
        """Take the messages that come within a moment. Gives how many. Raises Unavailable, Refused."""
        count, until_s = 0, time.monotonic() + self._slice_s
        while self._goes_on() and not self._gathering.is_full and (left_s := until_s - time.monotonic()) > 0:
            found = await self._fetched(max(0.05, left_s))
            for message in found:
                place = message.metadata.sequence.stream
                self._gathering.add(_label(message), place, message, _size(message), time.monotonic())
            count += len(found)
        await self._keep()
        return count

    async def _keep(self) -> None:
        """Say of those that wait that they are worked on: else the server would give them to another archiver. Raises
        Unavailable, Refused."""
        now_s = time.monotonic()
        waiting = itertools.chain(self._gathering.held(), *self._parts)
        silent = [held for held in waiting if now_s - held.told_s >= _ACK_WAIT_S / 3]
        await self._answer([held.message for held in silent], _IN_PROGRESS)
        for held in silent:
            held.told_s = now_s

    async def _give_back(self) -> None:
        """Say of all that were not archived that another archiver may have them at once."""
        waiting = itertools.chain(self._gathering.held(), *self._parts)
        with contextlib.suppress(Unavailable, Refused, TimeoutError):
            messages = [held.message for held in waiting]
            await asyncio.wait_for(self._answer(messages, _NOT_DONE), _GIVE_BACK_S)

    async def _fetched(self, timeout_s: float) -> list[Msg]:
        async with self._connection.jetstream() as stream:
            client = await self._connection.client()
            if self._subscription is None or self._client is not client:
                self._subscription = await self._subscribed(stream)
                self._client = client
                self._well()
            try:
                found: list[Msg] = await self._subscription.fetch(_FETCH, timeout_s)
            except TimeoutError:  # of asyncio, and of nats, which is one of those
                return []
            except nats.js.errors.APIError:  # the consumer has no leader at the moment, or is gone
                self._subscription = None
                raise
            return found

    async def _subscribed(self, stream: JetStreamContext) -> Any:
        config = ConsumerConfig(
            durable_name=self._group,
            description="Archivers: one message to one of them",
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=_ACK_WAIT_S,
            max_ack_pending=_MAX_ACK_PENDING,
        )
        subject, name = names.subject(self._cluster, "*", names.EVENTS), names.STREAMS[names.EVENTS]
        return await stream.pull_subscribe(subject, self._group, name, config=config)

    async def _answer(self, messages: Sequence[Msg], word: bytes) -> None:
        """Say this of messages, which another connection than this one may have had. Raises Unavailable, Refused."""
        if messages:
            async with self._connection.jetstream():
                client = await self._connection.client()
                for message in messages:
                    await client.publish(message.reply, word)
                await client.flush()

    async def _consumer(self) -> ConsumerInfo:
        """How much waits for archivers, and how much they work on. Raises Unavailable, Refused."""
        async with self._connection.jetstream() as stream:
            found: ConsumerInfo = await stream.consumer_info(names.STREAMS[names.EVENTS], self._group)
        return found

    # The archive

    async def _done(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What this returns, which takes its time: other messages are kept meanwhile."""
        task = in_thread(functools.partial(work, *args, **kwargs))
        while not (await asyncio.wait([task], timeout=_ACK_WAIT_S / 6))[0]:
            with contextlib.suppress(Unavailable, Refused):  # which whoever asks the server next will see
                await self._keep()
        return task.result()

    async def _archive(self, messages: Sequence[Msg]) -> None:
        """Write the files of these messages, then acknowledge them. Raises Gone, Unavailable, Refused."""
        deliveries = [_delivery(message) for message in messages]
        files = await self._done(self._decoder.files_of, deliveries)
        await self._written(files, deliveries)
        await self._answer(messages, _DONE)
        self.messages += len(messages)

    async def _written(self, files: Files, deliveries: Sequence[Delivery]) -> None:
        """Write them, however long that takes. Raises Unavailable, Refused."""
        while True:
            try:
                await self._done(self._write, files, deliveries)
            except OSError as error:
                await self._wait(f"{self._store.name} cannot be written: {error.strerror or _line(error)}")
                await self._keep()
            else:
                self._well()
                return

    def _write(self, files: Files, deliveries: Sequence[Delivery]) -> None:
        for made in files.files:
            self._store.write(path_of(made), made.data)
        for bad in files.bad:
            payload = deliveries[bad.place].payload
            name = hashlib.sha256(payload).hexdigest()[:32]
            self._store.write(f"{_REJECTED}/{name}", payload)
            host = deliveries[bad.place].host
            self._say(f"a message of {host} cannot be archived: {bad.why}; it is kept as {_REJECTED}/{name}")

    async def _compact(self) -> None:
        if self._compact_s and time.monotonic() - self._compacted_at >= self._compact_s:
            self._compacted_at = time.monotonic()
            try:
                await self._done(compact, self._store, self._target_bytes, keep_going=self._goes_on)
            except OSError as error:
                self._say(f"small files stay small for now: {error.strerror or _line(error)}")

    async def _wait(self, why: str) -> None:
        if not self._goes_on():
            raise _Stopped
        if why != self._trouble:
            self._trouble = why
            self._say(f"waiting: {why}")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), self._wait_s)
            raise _Stopped
        self._wait_s = min(2 * self._wait_s, _MOST_WAIT_S)

    def _goes_on(self) -> bool:
        return not self._stopped.is_set()

    def _well(self) -> None:
        if self._trouble:
            self._say("going on")
        self._trouble, self._wait_s = "", _LEAST_WAIT_S


def _line(error: OSError) -> str:
    return str(error).partition("\n")[0]


def _label(message: Msg) -> Label | None:
    """What its headers say of it; None: nothing that a block can be made of."""
    said = message.headers or {}
    run, number = said.get("Nstrace-Run", ""), said.get("Nstrace-Sequence", "")
    if not RUN.fullmatch(run) or not _NUMBER.fullmatch(number):
        return None
    return Label(message.subject, run, int(number))


def _size(message: Msg) -> int:
    return len(message.data) + sum(len(name) + len(value) for name, value in (message.headers or {}).items())


def _gives_no_more(consumer: ConsumerInfo) -> bool:
    """Whether the server has as many without an answer as it may have: it waits for us, as we wait for it."""
    most = consumer.config.max_ack_pending
    return bool(most and most > 0 and (consumer.num_ack_pending or 0) >= most)


def _delivery(message: Msg) -> Delivery:
    *_prefix, cluster, host, _what = message.subject.split(".")
    return Delivery(names.name_in(cluster), names.name_in(host), message.data)


def path_of(made: Made) -> str:
    """Where a file belongs in an archive. Raises ValueError for what is no file of an archive: what the process that
    decodes says is as little to be trusted as what it has read."""
    is_dated = made.table in (EVENTS, PROCESSES) and _DATE.fullmatch(made.date)
    if not (is_dated or (made.table == BATCHES and not made.date)):
        raise ValueError(f"{made.table} {made.date}")
    if not 0 < len(made.host) <= names.MAX_NAME_BYTES or made.host in (".", "..") or block_of(made.block.file) is None:
        raise ValueError(f"{made.host} {made.block}")
    return f"{folder_of(made.table, made.host, made.date)}/{made.block.file}"
