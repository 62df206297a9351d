"""The names of containers: the engine is asked when the first is wanted, and again for one that is new."""

from __future__ import annotations

import contextlib
import time
from functools import cached_property

from tracer.containers.cgroups import Description
from tracer.containers.engine import Engine, FoundContainer
from tracer.errors import NstraceError

_LIST_AGAIN_S = 1.0


class Names:
    """Does without names where no engine tells them: `error` then says why."""

    def __init__(self) -> None:
        self.error: NstraceError | None = None

    @cached_property
    def engine(self) -> Engine | None:
        """The engine that answers; None: there is none."""
        from tracer.containers.direct import DirectApi

        try:
            engine = Engine.connect(open_api=DirectApi)
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

    def describe(self, runtime: str, container_id: str) -> Description | None:
        """Name, image and labels of a container, None where no engine tells them. Never raises."""
        if self.engine is None:
            return None
        if container_id not in self._descriptions and time.monotonic() - self._listed_s > _LIST_AGAIN_S:
            with contextlib.suppress(NstraceError):
                self._list(self.engine)
        return self._descriptions.get(container_id)

    def _list(self, engine: Engine) -> None:
        self._listed_s = time.monotonic()
        self._descriptions = engine.descriptions()

    def init_tgid(self, container_id: str) -> int | None:
        """The first process of a container, its host PID, as the engine says; None: not running, or not known."""
        try:
            return self.engine.init_tgid(container_id) if self.engine else None
        except NstraceError:
            return None

    def find(self, text: str) -> list[FoundContainer]:
        """Containers with this name or id, else those whose ids begin so."""
        return self.engine.find(text) if self.engine else []

    def all(self) -> list[FoundContainer]:
        """All containers that the engine knows."""
        return self.engine.all() if self.engine else []
