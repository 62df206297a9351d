"""The engine as a stream asks it: in the background, many containers at once. Nobody waits for an answer.

What is not known yet is silence; when the answer is there, `news` says whose, and the stream asks again. An engine that
is slow or hangs delays names, and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import NamedTuple

from tracer.containers.cgroups import Answer, Silence
from tracer.containers.channel import Asked, Channel
from tracer.containers.messages import FoundContainer
from tracer.containers.requests import MAX_IDS
from tracer.stream.lru import Lru

PATIENCE_S = 30.0
"""The time limit of one answer: that of an engine on a host that is very busy is still of use."""
_AGAIN_S = 5.0  # until an engine that was never there is looked for again
_FAILED_S = 0.5  # until one that has failed is asked again
_FRESH_S = 2.0  # how old an answer may be
_STATE_FRESH_S = 0.5
_PAUSE_S = 2.0  # after which a call for a state has nothing to do with the calls before
_SILENT_S = 2.0  # an engine that takes longer to report a state does not answer
_MAX_ANSWERS = 65536


class _Known(NamedTuple):
    """found: None: the engine has no such container. asked_s, answered_s: when it was asked, and has answered."""

    found: FoundContainer | None
    asked_s: float
    answered_s: float


class Enquiry:
    """Asks one question at a time, about all that are wanted by then. channel: to the process that asks; None: there is
    no engine. listed: what an engine has just listed, by id; None: none has answered."""

    def __init__(self, channel: Channel | None, listed: Mapping[str, FoundContainer] | None) -> None:
        self._channel = channel
        self._silence = Silence.NO_ENGINE if listed is None else Silence.NO_ANSWER
        self._asked: Asked | None = None
        self._wanted: dict[str, float] = {}  # since when
        self._known: Lru[str, _Known] = Lru(_MAX_ANSWERS)
        self._state_asked: dict[str, tuple[float, float]] = {}  # since when it is called for, and the last time
        self._news: set[str] = set()
        self._not_before_s = 0.0
        for container_id, found in (listed or {}).items():
            self._known.put(container_id, _Known(found, time.monotonic(), time.monotonic()))

    def fileno(self) -> int:
        """A descriptor that is readable when an answer has arrived; -1: none will."""
        return self._channel.fileno() if self._channel else -1

    def describe(self, container_id: str) -> Answer:
        """What the engine reports of a container, of at most some seconds ago; else its last answer, and a newer one is
        on its way."""
        known = self._fresh(container_id) or self._known.get(container_id)
        if known is None:
            return self._silence
        return known.found.description if known.found else None

    def state(self, container_id: str) -> str | Silence | None:
        """The current state: running, paused, restarting, exited, created, ...; None: there is no such container."""
        now_s = time.monotonic()
        since_s, last_s = self._state_asked.get(container_id, (now_s, now_s))
        if now_s - last_s > _PAUSE_S:
            since_s = now_s
        self._state_asked[container_id] = (since_s, now_s)
        known = self._known.get(container_id)
        if known and known.asked_s >= since_s and now_s - known.answered_s < _STATE_FRESH_S:
            return known.found.state if known.found else None
        self._want(container_id)
        is_new = now_s - self._wanted.get(container_id, now_s) < _SILENT_S
        return Silence.NOT_YET if is_new and self._silence is Silence.NO_ANSWER else self._silence

    def expect(self, container_ids: Collection[str]) -> set[str]:
        """Ask about containers that may have begun. Returns those of which nothing is known yet, though the engine may
        know them."""
        asked = {container_id for container_id in container_ids if self._fresh(container_id) is None}
        if self._silence is Silence.NO_ENGINE:
            return set()
        return {one for one in asked if (known := self._known.get(one)) is None or known.found is None}

    def news(self) -> set[str]:
        """Receive what has arrived: the ids of all containers about which there was an answer since the last call."""
        self._collect()
        news, self._news = self._news, set()
        return news

    def _fresh(self, container_id: str) -> _Known | None:
        """The answer to a question of a moment ago; None: there is none yet, and it is asked."""
        known = self._known.get(container_id)
        if known and known.asked_s >= time.monotonic() - _FRESH_S:
            return known
        self._want(container_id)
        return None

    def _want(self, container_id: str) -> None:
        if len(self._wanted) < _MAX_ANSWERS:
            self._wanted.setdefault(container_id, time.monotonic())
        self._ask()

    def _ask(self) -> None:
        """Ask about the containers that are wanted, unless a question is on its way."""
        if self._channel and self._wanted and self._asked is None and time.monotonic() >= self._not_before_s:
            wanted = list(self._wanted)[:MAX_IDS]
            self._asked = self._channel.ask_list(frozenset(wanted), PATIENCE_S)

    def _collect(self) -> None:
        if self._channel is None:
            return
        self._channel.receive()
        asked = self._asked
        if asked and (asked.is_done or asked.is_overdue):
            self._asked = None
            self._take(asked)
        self._ask()

    def _take(self, asked: Asked) -> None:
        if asked.failure or not asked.is_done:
            again_s = _AGAIN_S if self._silence is Silence.NO_ENGINE else _FAILED_S
            self._not_before_s = time.monotonic() + again_s
            return
        self._silence = Silence.NO_ANSWER
        for container_id in asked.ids or ():
            known = _Known(asked.found.get(container_id), asked.asked_s, time.monotonic())
            self._known.put(container_id, known)
            self._wanted.pop(container_id, None)
            self._news.add(container_id)
