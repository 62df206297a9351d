"""The names of containers: the engine is asked when the first is needed, and again for a new container.

For a command that asks and waits. How long it waits for the engine in all is bounded, whatever it asks: an engine that
is slow delays a command by some seconds, and is then taken for one that does not answer.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from functools import cached_property

from tracer.containers.address import addresses, exists, no_engine
from tracer.containers.cgroups import Answer, Silence
from tracer.containers.channel import SLOW, Asked, Channel
from tracer.containers.messages import FoundContainer, Nonsense
from tracer.errors import NstraceError

TIMEOUT_S = 2.0
"""The time limit of one answer."""
_PATIENCE_S = 4.0  # for all answers together
_HASTE_S = 1.0
_RENEWAL = 0.1  # of the time that passes: a filter that runs for days asks for days
_LIST_AGAIN_S = 1.0


class Names:
    """Names and other facts from an engine; works without one: `error` then says why there is none. has_failed: there
    may be one, and it does not answer as it should. doubts: what it has said of processes that cannot be, or why it was
    not asked any more, a line each.

    The process that asks is started when it is needed first, or by `start`.
    """

    def __init__(self) -> None:
        self.error: NstraceError | None = None
        self.has_failed = False
        self.doubts: dict[str, None] = {}
        self._channel: Channel | None = None
        self._listed: dict[str, FoundContainer] = {}
        self._listed_s = 0.0
        self._first_list: Asked | None = None
        self._patience = _Patience()

    def start(self) -> Channel | None:
        """Start the process that asks, unless it runs: before any thread does, and before privileges are given up.
        Returns the channel to it; None: DOCKER_HOST names no engine of this host."""
        if self._channel is None:
            with contextlib.suppress(NstraceError):
                self._channel = Channel.opened()
        return self._channel

    def prepare(self) -> None:
        """Ask for the first list, if there may be an engine, while the caller does something else."""
        with contextlib.suppress(NstraceError):
            if any(map(exists, addresses())) and (channel := self.start()):
                self._first_list = channel.ask_list(None, TIMEOUT_S)

    @cached_property
    def is_there(self) -> bool:
        """Whether an engine answers."""
        try:
            where = addresses()
            if not any(map(exists, where)):
                raise no_engine(where[0], "there is no socket")
            self._channel = self._channel or Channel.opened()
            self._list()
        except NstraceError as error:
            self.error, self.has_failed = error, self._channel is not None
            return False
        return True

    def require(self) -> None:
        """Raises NstraceError where no engine answers."""
        if not self.is_there:
            assert self.error
            raise self.error

    def hurry(self) -> None:
        """From now on wait for the engine no longer than a moment in all: events wait meanwhile."""
        self._patience.left_s = min(_HASTE_S, self._patience.left_s)

    def close(self) -> None:
        """End the process that asks."""
        if self._channel:
            self._channel.close()

    def leave(self) -> None:
        """Leave the process that asks to another one that has been forked."""
        if self._channel:
            self._channel.leave()

    def describe(self, container_id: str) -> Answer:
        """What the engine reports of a container. Never raises."""
        if not self.is_there:
            return Silence.NO_ENGINE
        if container_id not in self._listed and time.monotonic() - self._listed_s > _LIST_AGAIN_S:
            try:
                self._list()
            except NstraceError as error:
                self.error = error
                return Silence.NO_ANSWER
        found = self._listed.get(container_id)
        return found.description if found else None

    def _list(self) -> None:
        assert self._channel
        asked, self._first_list = self._first_list, None
        try:
            asked = asked or self._channel.ask_list(None, self._patience.timeout_s())
            self._listed = self._patience.wait(self._channel, asked).found
        finally:
            self._listed_s = time.monotonic()

    def first_tgid(self, container_id: str) -> int | None:
        """The host PID of a container's first process, as the engine reports it; None: it is not running. Raises
        NstraceError where the engine does not answer, or reports what can be no PID."""
        self.require()
        assert self._channel
        try:
            asked = self._channel.ask_first(container_id, self._patience.timeout_s())
            return self._patience.wait(self._channel, asked).tgid
        except (Nonsense, TooSlow) as error:
            self.doubts[error.message] = None
            raise

    def init_tgid(self, container_id: str) -> int | None:
        """As `first_tgid`; None also where the engine does not report it."""
        try:
            return self.first_tgid(container_id) if self.is_there else None
        except NstraceError:
            return None

    @property
    def listed(self) -> dict[str, FoundContainer] | None:
        """All containers that the engine has listed, by id; None: there is no engine."""
        return self._listed if self.is_there else None

    def running(self) -> list[FoundContainer]:
        """The containers that run, as the engine lists them."""
        return [found for found in self._listed.values() if found.running] if self.is_there else []

    def inits(self, but: Collection[str]) -> dict[int, str]:
        """The first processes of all running containers except these: host PID -> id."""
        found_by_pid = {self.init_tgid(found.id): found.id for found in self.running() if found.id not in but}
        return {tgid: container_id for tgid, container_id in found_by_pid.items() if tgid}

    def find(self, text: str) -> list[FoundContainer]:
        """As the engine itself resolves it: the container with this id or name, else all whose ids begin with it.
        Raises NstraceError."""
        everyone = self.all()
        for exact in ([c for c in everyone if c.id == text], [c for c in everyone if c.name == text]):
            if exact:
                return exact
        return [container for container in everyone if container.id.startswith(text)]

    def all(self) -> list[FoundContainer]:
        """All containers that the engine knows, stopped ones too. Raises NstraceError."""
        if self.is_there and time.monotonic() - self._listed_s > _LIST_AGAIN_S:
            self._list()
        return list(self._listed.values())


class TooSlow(NstraceError):
    """The engine has been waited for too long, by all questions together."""


class _Patience:
    """How long the engine may yet be waited for."""

    def __init__(self) -> None:
        self.left_s, self._at_s = _PATIENCE_S, time.monotonic()

    def timeout_s(self) -> float:
        """For the next question. Raises NstraceError where there is no time left."""
        now_s = time.monotonic()
        self.left_s = min(_PATIENCE_S, self.left_s + _RENEWAL * (now_s - self._at_s))
        self._at_s = now_s
        if self.left_s <= _RENEWAL:
            raise TooSlow("the container engine does not answer in time", SLOW)
        return min(TIMEOUT_S, self.left_s)

    def wait(self, channel: Channel, asked: Asked) -> Asked:
        """The answer. Raises NstraceError."""
        began_s = time.monotonic()
        try:
            channel.wait(asked)
        finally:
            self.left_s -= time.monotonic() - began_s
        return asked
