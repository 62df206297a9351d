"""All engines of the host as a stream asks them: in the background. Nobody waits for an answer.

What is known of a container is what the first engine says that knows it: root's engines go before those of users, which
are strangers. What they say is believed of that user's containers alone (`tracer.containers.cgroups.Cgroups`).
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from tracer.containers.answers import Answer, Silence
from tracer.containers.channel import Channel
from tracer.containers.engine_enquiry import EngineEnquiry
from tracer.containers.messages import FoundContainer, Happened, Heard, Missed
from tracer.containers.together import together
from tracer.stream.lru import Lru
from tracer.stream.metadata import EngineEvent, ExecFact

_MAX_EVENTS = 1 << 13
_MAX_PERIODS = 1 << 10
_MAX_EXECS = 1 << 12


class Period(NamedTuple):
    """When an engine was not heard, by the wall clock. engine: docker or podman."""

    engine: str
    since_ns: int
    until_ns: int


class Enquiry:
    """What engines report of containers, and what they say has happened. engines: the channel to each, in the order in
    which they are believed, and what it has just listed, by id; None: it has not answered."""

    def __init__(self, engines: Iterable[tuple[Channel, Mapping[str, FoundContainer] | None]]) -> None:
        self._engines = [EngineEnquiry(channel, listed) for channel, listed in engines]
        self._answered: set[str] = set()  # by some, while others may yet say more
        self._events: deque[EngineEvent] = deque()
        self._missed: deque[Period] = deque(maxlen=_MAX_PERIODS)
        self._execs: Lru[str, EngineEnquiry] = Lru(_MAX_EXECS)  # whose they are
        self._poll = _poll_of(self._engines)

    @property
    def is_up(self) -> bool:
        """Whether an engine of root's is heard and answers."""
        return any(engine.is_up for engine in self._engines)

    @property
    def has_died(self) -> bool:
        """Whether our process that asks an engine of root's has ended, so that its names are missing from now on."""
        return any(engine.has_died for engine in self._engines)

    def fileno(self) -> int:
        """A descriptor that is readable when an answer has arrived; -1: none will."""
        numbers = [number for engine in self._engines if (number := engine.fileno()) >= 0]
        return self._poll.fileno() if self._poll and numbers else max(numbers, default=-1)

    def describe(self, container_id: str) -> Answer:
        """What the engine reports of a container, of at most some seconds ago; else its last answer, and a newer one is
        on its way."""
        return together(engine.described(container_id) for engine in self._to_ask(container_id))

    def _to_ask(self, container_id: str) -> Iterator[EngineEnquiry]:
        """Those that may know a container, each when those before it do not: last those of which no answer is to be
        expected sooner."""
        for engine in self._of(container_id):
            if not (engine.is_last and any(one.is_trusted and one.may_answer(container_id) for one in self._engines)):
                yield engine

    def state(self, container_id: str) -> str | Silence | None:
        """The current state: running, paused, restarting, exited, created, ...; None: there is no such container."""
        return together(
            (engine.is_trusted or engine.knows(container_id), engine.state(container_id))
            for engine in self._of(container_id)
        )

    def expect(self, container_ids: Collection[str]) -> set[str]:
        """Ask about containers that may have begun. Returns those of which nothing is known yet, though an engine of
        root's may know them: nothing waits for a stranger."""
        missing = [(engine.is_trusted, engine.expect(self._mine(engine, container_ids))) for engine in self._engines]
        return {one for is_trusted, ids in missing if is_trusted for one in ids}

    def _mine(self, engine: EngineEnquiry, container_ids: Collection[str]) -> list[str]:
        return [] if engine.is_last else [one for one in container_ids if engine in self._of(one)]

    def _of(self, container_id: str) -> list[EngineEnquiry]:
        """The engine that knows a container; all where none does."""
        asked = [engine for engine in self._engines if engine.may_know(container_id)]
        return [engine for engine in asked if engine.knows(container_id)][:1] or asked

    def forget(self, keys: Collection[str]) -> None:
        """Containers are over, and pods: nothing more will be asked about them soon."""
        for engine in self._engines:
            engine.forget(keys)
        self._answered.difference_update(keys)

    def news(self) -> set[str]:
        """Receive what has arrived: the ids of all containers about which there was an answer since the last call."""
        for engine in self._engines:
            self._answered |= engine.news()
            for notice in engine.notices():
                if isinstance(notice, Happened):
                    self._note(engine, notice)
                elif isinstance(notice, Heard | Missed) and notice.since_ns < notice.until_ns:
                    self._missed.append(Period(notice.engine, notice.since_ns, notice.until_ns))
        news = {one for one in self._answered if self._is_settled(one)}
        self._answered -= news
        return news

    def _is_settled(self, container_id: str) -> bool:
        """Whether the engine that knows it has answered, or all of root's that answer at all."""
        return any(engine.knows(container_id) for engine in self._engines) or not any(
            engine.is_trusted and engine.may_answer(container_id) for engine in self._engines
        )

    def _note(self, engine: EngineEnquiry, said: Happened) -> None:
        if exec_id := said.attributes.get("execID"):
            self._execs.put(exec_id, engine)
        if len(self._events) == _MAX_EVENTS:
            oldest = self._events.popleft()
            self._missed.append(Period(oldest.engine, oldest.time_ns, oldest.time_ns + 1))
        facts = (said.id, said.action, said.time_ns, said.engine, said.name, said.image, said.attributes)
        self._events.append(EngineEvent(*facts, said.labels))

    def events(self) -> list[EngineEvent]:
        """What has happened to containers since the last call, as their engines say, in the order in which it came:
        late, and perhaps not all of it. `news` receives it. Never waits."""
        events, self._events = list(self._events), deque()
        return events

    def lines(self) -> list[str]:
        """What people should know of root's engines, since the last call: that one is away, or is back."""
        return [line for engine in self._engines for line in engine.lines()]

    def missed(self) -> list[Period]:
        """When engines were not heard, each period once, when it is over: what happened then may not be in `events`."""
        missed = list(self._missed)
        self._missed.clear()
        return missed

    def exec(self, exec_id: str) -> ExecFact | Silence | None:
        """What an engine reports of an exec that one of its events has named (execID), as it was when the answer came;
        asked again where it is asked for again. None: there is none with this id."""
        engine = self._execs.get(exec_id)
        return engine.exec(exec_id) if engine else None


def _poll_of(engines: list[EngineEnquiry]) -> select.epoll | None:
    """One descriptor for several; it is made while that is permitted. None: one engine needs none."""
    if len(engines) < 2:
        return None
    poll = select.epoll()
    for engine in engines:
        if engine.fileno() >= 0:
            poll.register(engine.fileno(), select.EPOLLIN)
    return poll
