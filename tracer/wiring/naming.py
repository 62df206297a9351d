"""The moment in which a new container gets its name: what was read is held back while the engine is asked."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Collection
from typing import Protocol

from tracer.containers.answers import Silence, ids_in
from tracer.stream.decoding import Decoded
from tracer.stream.metadata import EngineEvent, ExecFact

GRACE_S = 0.1
_MAX_ROWS = 1 << 16
_MAX_ASKED = 1 << 12


class Background(Protocol):
    """As `tracer.containers.enquiry.Enquiry`: asks the engine, and never waits."""

    def expect(self, container_ids: Collection[str]) -> set[str]:
        """Ask about containers. Returns those of which nothing is known yet, though an engine may know them."""

    def news(self) -> set[str]:
        """The ids about which there was an answer since the last call."""

    def events(self) -> list[EngineEvent]:
        """What engines have said of containers since the last call."""

    def lines(self) -> list[str]:
        """What people should know of engines, since the last call."""

    def state(self, container_id: str) -> str | Silence | None:
        """The current state of a container; None: there is none with this id."""

    def exec(self, exec_id: str) -> ExecFact | Silence | None:
        """What an engine reports of an exec; None: there is none with this id."""

    def forget(self, keys: Collection[str]) -> None:
        """Containers are over, and pods: by what they were asked for."""

    def fileno(self) -> int:
        """A descriptor that is readable when an answer has arrived; -1: none will."""


class Naming:
    """Holds back what was read, for GRACE_S at most, until the engine has named the containers that begin in it; the
    ring is read on meanwhile. An engine that takes longer names its containers late, and nothing is held back for it
    until an answer has come in time."""

    def __init__(self, background: Background | None) -> None:
        """background: None: nobody is asked."""
        self._background = background
        self._held: list[Decoded] = []
        self._missing: set[str] = set()
        self._until_s = math.inf
        self._asked_s: dict[str, float] = {}
        self._is_late = False

    def news(self) -> set[str]:
        """The ids about which there was an answer since the last call. Call it before `take`."""
        news = self._background.news() if self._background else set()
        for container_id in news:
            if asked_s := self._asked_s.pop(container_id, 0.0):
                self._is_late = time.monotonic() - asked_s > GRACE_S
        self._missing -= news
        return news

    def events(self) -> list[EngineEvent]:
        """What engines have said of containers since the last call: `news` receives it."""
        return self._background.events() if self._background else []

    def exec(self, exec_id: str) -> ExecFact | Silence | None:
        """What an engine reports of an exec; None: there is none with this id."""
        return self._background.exec(exec_id) if self._background else None

    def state(self, container_id: str) -> str | Silence | None:
        """The current state of a container; None: there is none with this id."""
        return self._background.state(container_id) if self._background else None

    def forget(self, keys: Collection[str]) -> None:
        """Containers are over, and pods: by what they were asked for."""
        if self._background:
            self._background.forget(keys)

    @property
    def holds(self) -> bool:
        """Whether anything is held back."""
        return bool(self._held)

    def lines(self) -> list[str]:
        """What people should know of engines, since the last call."""
        return self._background.lines() if self._background else []

    def wait(self, seconds: float) -> set[str] | None:
        """As `news`, after waiting for an answer: at the end, when nothing is read any more. None: none will come."""
        number = self._background.fileno() if self._background else -1
        if number < 0:
            return None
        poll = select.poll()
        poll.register(number, select.POLLIN)
        poll.poll(max(0, int(seconds * 1000)))
        return self.news()

    def take(self, decoded: Decoded) -> list[Decoded]:
        """What may go on now, in its order."""
        self._held.append(decoded)
        if self._background and (ids := {found for name in decoded.cgroups for found in ids_in(name.name)}):
            self._expect(self._background.expect(ids))
        is_full = self._missing and sum(len(held.batch) for held in self._held) > _MAX_ROWS
        return [] if self.due_in() and self._missing and not is_full else self.release()

    def _expect(self, missing: set[str]) -> None:
        now_s = time.monotonic()
        if len(self._asked_s) < _MAX_ASKED:
            self._asked_s |= dict.fromkeys(missing - set(self._asked_s), now_s)
        if missing and not self._is_late:
            self._until_s = self._until_s if self._missing else now_s + GRACE_S
            self._missing |= missing

    def due_in(self) -> float:
        """In how many seconds what is held goes on whatever is known; infinite where nothing is held."""
        return max(0.0, self._until_s - time.monotonic()) if self._missing else math.inf

    def release(self) -> list[Decoded]:
        """What is held, in its order."""
        self._is_late = self._is_late or self.due_in() == 0
        self._missing.clear()
        held, self._held = self._held, []
        return held
