"""The names of containers: the engine is asked when the first is needed, and again for a new container."""

from __future__ import annotations

import time
from collections.abc import Collection
from functools import cached_property

from tracer.containers.cgroups import Answer, Silence
from tracer.containers.engine import Engine, FoundContainer
from tracer.containers.http_api import TIMEOUT_S
from tracer.errors import NstraceError

_LIST_AGAIN_S = 1.0


class Names:
    """Names and other facts from an engine; works without one: `error` then says why there is none."""

    def __init__(self) -> None:
        self.error: NstraceError | None = None
        self._listed: dict[str, FoundContainer] = {}
        self._listed_s = 0.0

    @cached_property
    def engine(self) -> Engine | None:
        """The engine that answers; None: none does."""
        try:
            engine = Engine.connect()
            self._list(engine)
        except NstraceError as error:
            self.error = error
            return None
        return engine

    def require(self) -> Engine:
        """The engine. Raises NstraceError where none answers."""
        if self.engine is None:
            assert self.error
            raise self.error
        return self.engine

    def describe(self, container_id: str) -> Answer:
        """What the engine reports of a container. Never raises."""
        if self.engine is None:
            return Silence.NO_ENGINE
        if container_id not in self._listed and time.monotonic() - self._listed_s > _LIST_AGAIN_S:
            try:
                self._list(self.engine)
            except NstraceError as error:
                self.error = error
                return Silence.NO_ANSWER
        found = self._listed.get(container_id)
        return found.description if found else None

    def _list(self, engine: Engine) -> None:
        self._listed_s = time.monotonic()
        self._listed = engine.listed(None, TIMEOUT_S)

    def init_tgid(self, container_id: str) -> int | None:
        """The host PID of a container's first process, as the engine reports it; None: not running, or not known."""
        try:
            return self.engine.init_tgid(container_id) if self.engine else None
        except NstraceError:
            return None

    @property
    def listed(self) -> dict[str, FoundContainer] | None:
        """All containers that the engine has listed, by id; None: there is no engine."""
        return self._listed if self.engine else None

    def running(self) -> list[FoundContainer]:
        """The containers that run, as the engine lists them."""
        return [found for found in self._listed.values() if found.running] if self.engine else []

    def inits(self, but: Collection[str]) -> dict[int, str]:
        """The first processes of all running containers except these: host PID -> id."""
        found_by_pid = {self.init_tgid(found.id): found.id for found in self.running() if found.id not in but}
        return {tgid: container_id for tgid, container_id in found_by_pid.items() if tgid}

    def find(self, text: str) -> list[FoundContainer]:
        """Containers with this name or id, else those whose ids begin so."""
        return self.engine.find(text) if self.engine else []

    def all(self) -> list[FoundContainer]:
        """All containers that the engine knows."""
        return self.engine.all() if self.engine else []
