"""The engine as a stream asks it: in a thread, so that an engine that is slow or hangs does not block the stream."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tracer.containers.cgroups import Answer, Silence
from tracer.containers.engine import Engine, FoundContainer
from tracer.errors import NstraceError
from tracer.stream.lru import Lru

_HASTE_S = 0.5  # how long the stream waits for an answer
_PATIENCE_S = 30.0  # how long the thread waits
_AGAIN_S = 5.0  # until an engine that was never there is looked for again
_FRESH_S = 2.0  # how old an answer may be
_END_S = 1.0  # how long the end of a trace waits for a question that is on its way
_MAX_ANSWERS = 65536


class _Known(NamedTuple):
    """found: None: the engine has no such container. asked_s: when it was asked."""

    found: FoundContainer | None
    asked_s: float


class EngineThread:
    """Asks one question at a time; an answer that comes too late is used when the same is asked again. After a late
    answer no call waits, until one is in time. listed: what an engine has just listed, by id; None: there is none.
    connect: as `Engine.connect`."""

    def __init__(
        self, listed: Mapping[str, FoundContainer] | None, connect: Callable[[], Engine] | None = None
    ) -> None:
        self._connect = connect or Engine.connect
        self._engine: Engine | None = None
        self._silence = Silence.NO_ENGINE if listed is None else Silence.NO_ANSWER
        self._question: _Question | None = None
        self._wanted: set[str] = set()
        self._known: Lru[str, _Known] = Lru(_MAX_ANSWERS)
        self._wait_s, self._not_before_s = _HASTE_S, 0.0
        for container_id, found in (listed or {}).items():
            self._known.put(container_id, _Known(found, time.monotonic()))

    def close(self) -> None:
        """Ask nothing more. Waits a moment for a question that is on its way: it ends by itself."""
        self._not_before_s = math.inf
        if self._question is not None:
            self._question.join(_END_S)

    def describe(self, container_id: str) -> Answer:
        """What the engine reports of a container. Where it does not answer: its last answer."""
        known = self._ask(container_id, _FRESH_S) or self._known.get(container_id)
        if known is None:
            return self._silence
        return known.found.description if known.found else None

    def state(self, container_id: str) -> str | Silence | None:
        """The current state: running, paused, restarting, exited, created, ...; None: there is no such container."""
        known = self._ask(container_id, 0.0)
        if known is None:
            return self._silence
        return known.found.state if known.found else None

    def _ask(self, container_id: str, fresh_s: float) -> _Known | None:
        """The answer to a question of this moment, or of at most fresh_s seconds ago; None: there is none yet."""
        since_s = time.monotonic() - fresh_s
        self._collect(0.0)
        for _question in ("one that is on its way", "ours"):
            known = self._known.get(container_id)
            if known and known.asked_s >= since_s:
                return known
            self._wanted.add(container_id)
            self._begin()
            if not self._collect(self._wait_s):
                break
        known = self._known.get(container_id)
        return known if known and known.asked_s >= since_s else None

    def _connected(self) -> Engine:
        """The engine, connected at the first call. Runs in the thread of a question."""
        if self._engine is None:
            self._engine = self._connect()
        return self._engine

    def _begin(self) -> None:
        """Ask about the containers that are wanted, unless a question is on its way."""
        if self._question is None and time.monotonic() >= self._not_before_s:
            self._question = _Question(self._connected, frozenset(self._wanted))
            self._question.start()

    def _collect(self, wait_s: float) -> bool:
        """Receive the answer; False: there is none, or none that can be read."""
        question = self._question
        if question is None:
            return False
        question.join(wait_s)
        if question.is_alive():
            self._wait_s = 0.0 if wait_s else self._wait_s
            return False
        self._question = None
        if question.answer is None:
            self._not_before_s = time.monotonic() + (_AGAIN_S if self._silence is Silence.NO_ENGINE else 0.0)
            return False
        self._wait_s, self._silence = _HASTE_S, Silence.NO_ANSWER
        for container_id in question.ids:
            self._known.put(container_id, _Known(question.answer.get(container_id), question.asked_s))
        self._wanted -= question.ids
        return True


class _Question(threading.Thread):
    """One question: which of these containers exist, and what are they? answer: None: it failed."""

    def __init__(self, engine: Callable[[], Engine], ids: frozenset[str]) -> None:
        super().__init__(name="engine", daemon=True)
        self.ids, self.asked_s = ids, time.monotonic()
        self.answer: dict[str, FoundContainer] | None = None
        self._engine = engine

    def run(self) -> None:
        """Ask, in the thread."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # the main thread handles them
        try:
            self.answer = self._engine().listed(self.ids, _PATIENCE_S)
        except NstraceError:
            self.answer = None
