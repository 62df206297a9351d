"""The names of containers at this moment: the engine is asked once, when the first is wanted."""

from __future__ import annotations

from functools import cached_property

from tracer.containers.cgroups import Description
from tracer.containers.engine import Engine, FoundContainer
from tracer.errors import NstraceError


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
            self._descriptions = engine.descriptions()
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
        return self._descriptions.get(container_id) if self.engine else None

    def find(self, text: str) -> list[FoundContainer]:
        """Containers with this name or id, else those whose ids begin so."""
        return self.engine.find(text) if self.engine else []

    def all(self) -> list[FoundContainer]:
        """All containers that the engine knows."""
        return self.engine.all() if self.engine else []
