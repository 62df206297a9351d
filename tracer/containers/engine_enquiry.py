"""One engine as a stream asks it: in the background, many containers at once. Nobody waits for an answer.

What is not known yet is silence; when the answer is there, `news` says whose, and the stream asks again. An engine that
is slow or hangs delays names, and nothing else. After it was away it is asked for everything again.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Collection, Mapping
from typing import NamedTuple

from tracer.containers.address import LOGS, TOOLS
from tracer.containers.answers import Answer, Description, Silence
from tracer.containers.channel import Asked, Channel, Notice
from tracer.containers.engine_troubles import Troubles
from tracer.containers.messages import NAMING, Exec, FoundContainer, Happened, Heard
from tracer.containers.requests import MAX_IDS
from tracer.stream.lru import Lru
from tracer.stream.metadata import ExecFact

PATIENCE_S = 30.0
"""The time limit of one answer: that of an engine on a host that is very busy is still of use."""
_AGAIN_S = 5.0  # until an engine that was never there is looked for again
_FAILED_S, _MAX_FAILED_S = 0.5, 5.0  # until one that has failed is asked again, at first and at most
_FRESH_S = 2.0  # how old an answer may be
_STATE_FRESH_S = 0.5
_PAUSE_S = 2.0  # after which a call for a state has nothing to do with the calls before
_SILENT_S = 2.0  # an engine that takes longer to report a state does not answer
_TOOLS_S = 2.5  # tools have 2 s (tracer.containers.node_connector)
_MAX_ANSWERS, _MAX_ABSENT = 65536, 4096
_KEEP_REMOVED = 1024  # containers
_MAX_STATES = 1024  # that are called for, before it is looked which are not any more
_MAX_EXECS, _MAX_EXECS_ASKED = 4096, 16
_RETOLD_S = 1.0  # until an engine that is heard again has told its events of the time when it was not
_CALLED_S = 3.0  # until one that answers again is heard again


class _Known(NamedTuple):
    """found: None: the engine has no such container. asked_s, answered_s: when it was asked, and has answered."""

    found: FoundContainer | None
    asked_s: float
    answered_s: float


class EngineEnquiry:
    """Asks one question at a time, about all that are wanted by then. channel: to the process that asks; it is listened
    to. listed: what the engine has just listed, by id; None: it has not answered.

    is_trusted: whether it is no user's, whose word counts for that user's containers alone, nor a node's tools, which
    may be slow: its answer is worth waiting for. is_last: it is asked where none of those answers.
    """

    def __init__(self, channel: Channel, listed: Mapping[str, FoundContainer] | None) -> None:
        address = channel.address
        self.is_trusted, self.may_know = address.is_relied_on, address.may_know
        self._is_engine, self._is_partial = address.is_engine, address.url == LOGS
        self.is_last = address.url == TOOLS  # it costs more than all others
        self._channel = channel
        is_there = listed is not None or address.exists
        self._silence = Silence.NO_ANSWER if is_there else Silence.NO_ENGINE
        self._asked: Asked | None = None
        self._wanted: dict[str, float] = {}  # since when
        self._known: Lru[str, _Known] = Lru(_MAX_ANSWERS)  # containers that there are
        self._absent: Lru[str, _Known] = Lru(_MAX_ABSENT)  # and those that there are not
        self._told: Lru[str, Description] = Lru(_MAX_ANSWERS)  # by events, of what may be gone when a list is asked for
        self._removed: deque[str] = deque()
        self._retold_s = 0.0
        self._state_asked: dict[str, tuple[float, float]] = {}  # since when it is called for, and the last time
        self._execs: Lru[str, ExecFact | None] = Lru(_MAX_EXECS)
        self._execs_asked: dict[str, Asked] = {}
        self._news: set[str] = set()
        self._troubles = Troubles(address, is_there)
        self._not_before_s = 0.0
        self._pause_s = _FAILED_S
        self._lists_all, self._is_silent = False, listed is None and is_there
        for container_id, found in (listed or {}).items():
            self._known.put(container_id, _Known(found, time.monotonic(), time.monotonic()))
        if self.is_trusted and self._is_engine:  # what happens to its containers is no stranger's to say
            channel.listen()

    def fileno(self) -> int:
        """A descriptor that is readable when an answer has arrived; -1: none will."""
        return self._channel.fileno()

    def knows(self, container_id: str) -> bool:
        """Whether it has ever said that this is one of its containers: a node's folders may say less than others."""
        return container_id in self._known and not self._is_partial

    def describe(self, container_id: str) -> Answer:
        """What the engine reports of a container, of at most some seconds ago; else its last answer, and a newer one is
        on its way. Of one that is gone again, what its events have told."""
        known = self._fresh(container_id) or self._answer(container_id)
        if known is None:
            return self._silence
        if found := known.found.description if known.found else self._told.get(container_id):
            return found
        if self._is_silent:  # it may be there by now: an answer will tell, and nothing waits
            return Silence.NO_ENGINE
        return Silence.NO_ANSWER if self._may_tell() else None

    def _may_tell(self) -> bool:
        """Whether events of a time when the engine was not heard are on their way."""
        return self._channel.is_heard is False or time.monotonic() < self._retold_s

    def described(self, container_id: str) -> tuple[bool, Answer]:
        """As `describe`, and whether that counts where it is silence: of a node's tools only until their first answer
        about a container, which takes them some seconds at most."""
        answer = self.describe(container_id)
        since_s = time.monotonic() - self._wanted.get(container_id, -math.inf)
        is_first = self.is_last and self._answer(container_id) is None and since_s < _TOOLS_S
        return self.is_trusted or is_first, answer

    def state(self, container_id: str) -> str | Silence | None:
        """The current state: running, paused, restarting, exited, created, ...; None: there is no such container, or
        no state of it is known."""
        if not self._is_engine:
            return None
        now_s = time.monotonic()
        since_s, last_s = self._state_asked.get(container_id, (now_s, now_s))
        if now_s - last_s > _PAUSE_S:
            since_s = now_s
        if len(self._state_asked) >= _MAX_STATES:
            recent = {one: times for one, times in self._state_asked.items() if now_s - times[1] <= _PAUSE_S}
            self._state_asked = recent
        self._state_asked[container_id] = (since_s, now_s)
        known = self._answer(container_id)
        if known and known.asked_s >= since_s and now_s - known.answered_s < _STATE_FRESH_S:
            return known.found.state if known.found else None
        self._want(container_id)
        is_new = now_s - self._wanted.get(container_id, now_s) < _SILENT_S
        return Silence.NOT_YET if is_new and self._silence is Silence.NO_ANSWER else self._silence

    def forget(self, keys: Collection[str]) -> None:
        """Forget what it has said of these: it is asked again where that is wanted again."""
        for key in keys:
            for table in (self._known, self._absent, self._told):
                table.pop(key)

    def expect(self, container_ids: Collection[str]) -> set[str]:
        """Ask about containers that may have begun. Returns those of which nothing is known yet, though the engine may
        know them."""
        asked = {container_id for container_id in container_ids if self._fresh(container_id) is None}
        if self._silence is Silence.NO_ENGINE:
            return set()
        return {one for one in asked if one not in self._known}

    def exec(self, exec_id: str) -> ExecFact | Silence | None:
        """What it reports of an exec, as it was when the answer came, once; None: it knows none with this id."""
        if exec_id in self._execs:
            found = self._execs.get(exec_id)
            self._execs.pop(exec_id)
            return found
        if exec_id not in self._execs_asked and len(self._execs_asked) < _MAX_EXECS_ASKED:
            self._execs_asked[exec_id] = self._channel.ask_exec(exec_id, _SILENT_S)
        return self._silence

    def may_answer(self, container_id: str) -> bool:
        """Whether it was asked about a container, and its answer is still to be expected: none is of an engine that is
        only looked for."""
        return self._silence is not Silence.NO_ENGINE and container_id in self._wanted and self._answers()

    def _answers(self) -> bool:
        is_slow = self._asked is not None and time.monotonic() - self._asked.asked_s > _SILENT_S
        return not (self._is_silent or is_slow)

    @property
    def is_up(self) -> bool:
        """Whether it is an engine of root's that is heard and answers."""
        return self.is_trusted and self._is_engine and self._channel.is_heard is True and self._answers()

    @property
    def has_died(self) -> bool:
        """Whether it is an engine of root's, and our process that asks it has ended."""
        return self.is_trusted and self._is_engine and self._channel.has_died

    def lines(self) -> list[str]:
        """What people should know of it, since the last call; of a stranger nothing but that it is asked no more."""
        if self._channel.is_over:
            return self._troubles.over()
        if not (self.is_trusted and self._is_engine):
            return []
        return self._troubles.lines(self._channel.is_heard, self._answers(), time.monotonic())

    def notices(self) -> list[Notice]:
        """What has happened since the last call, by its own account. Call it after `news`."""
        notices = self._channel.notices()
        for notice in notices:
            if isinstance(notice, Happened):
                self._heed(notice)
            elif isinstance(notice, Heard):
                self._is_back(notice)
        return notices

    def _heed(self, happened: Happened) -> None:
        """Remember what a container is called, and ask about it, before anything of it is seen."""
        if happened.action == "destroy":
            self._removed.append(happened.id)
            while len(self._removed) > _KEEP_REMOVED:
                self.forget([self._removed.popleft()])
        if happened.action not in NAMING or (happened.action != "rename" and happened.id in self._known):
            return
        self._want(happened.id)
        if happened.name:
            labels, runtime = dict(happened.labels), happened.engine
            self._told.put(happened.id, Description(happened.name, happened.image, labels, runtime))

    def _is_back(self, heard: Heard) -> None:
        if heard.since_ns == heard.until_ns and self._silence is not Silence.NO_ENGINE:
            return
        self._troubles.was_deaf((heard.until_ns - heard.since_ns) / 1e9, time.monotonic())
        self._silence, self._retold_s = Silence.NO_ANSWER, time.monotonic() + _RETOLD_S
        self._lists_all, self._not_before_s, self._pause_s = True, 0.0, _FAILED_S
        self._ask()

    def news(self) -> set[str]:
        """Receive what has arrived: the ids of all containers about which there was an answer since the last call."""
        self._collect()
        news, self._news = self._news, set()
        return news

    def _answer(self, container_id: str) -> _Known | None:
        """The last answer about a container; None: there was none."""
        return self._known.get(container_id) or self._absent.get(container_id)

    def _note(self, container_id: str, answer: _Known) -> None:
        table, other = (self._known, self._absent) if answer.found else (self._absent, self._known)
        other.pop(container_id)
        table.put(container_id, answer)

    def _fresh(self, container_id: str) -> _Known | None:
        """The answer to a question of a moment ago; None: there is none yet, and it is asked."""
        known = self._answer(container_id)
        if known and known.asked_s >= time.monotonic() - _FRESH_S:
            return known
        self._want(container_id)
        return None

    def _want(self, container_id: str) -> None:
        if len(self._wanted) < _MAX_ANSWERS:
            self._wanted.setdefault(container_id, time.monotonic())
        self._ask()

    def _ask(self) -> None:
        """Ask about the containers that are wanted, or all, unless a question is on its way."""
        if self._asked or not (self._wanted or self._lists_all) or time.monotonic() < self._not_before_s:
            return
        wanted = None if self._lists_all or self._is_partial else frozenset(list(self._wanted)[:MAX_IDS])
        self._asked = self._channel.ask_list(wanted, PATIENCE_S)

    def _collect(self) -> None:
        self._channel.receive()
        asked = self._asked
        if asked and (asked.is_done or asked.is_overdue):
            self._asked = None
            self._take(asked)
        for exec_id, asked in list(self._execs_asked.items()):
            if asked.is_done or asked.is_overdue:
                del self._execs_asked[exec_id]
                if asked.exec:
                    self._execs.put(exec_id, _exec_fact(exec_id, asked.exec))
        self._ask()

    def _take(self, asked: Asked) -> None:
        was_silent, self._is_silent = self._is_silent, asked.failure is not None or not asked.is_done
        if self._is_silent:
            self._not_before_s = time.monotonic() + (_AGAIN_S if self._silence is Silence.NO_ENGINE else self._pause_s)
            self._pause_s = min(_MAX_FAILED_S, 2 * self._pause_s)
            return
        self._silence, self._pause_s = Silence.NO_ANSWER, _FAILED_S
        if was_silent:
            self._retold_s = time.monotonic() + _CALLED_S
        ids = asked.ids
        if ids is None:  # of what is wanted since then it says nothing: that may have begun behind the answer
            wanted = {container_id for container_id, since_s in self._wanted.items() if since_s <= asked.asked_s}
            ids, self._lists_all = {*asked.found, *self._known, *self._absent, *wanted}, False
        for container_id in ids:
            self._note(container_id, _Known(asked.found.get(container_id), asked.asked_s, time.monotonic()))
            self._wanted.pop(container_id, None)
            self._news.add(container_id)


def _exec_fact(exec_id: str, said: Exec) -> ExecFact | None:
    if said.container_id is None:
        return None
    return ExecFact(exec_id, said.container_id, said.tgid, said.user, said.command, said.exit_code, said.probes)
