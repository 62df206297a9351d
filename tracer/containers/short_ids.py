"""What distinguishes a container from others that would be shown alike: digits of its id, or its id. Pure."""

from __future__ import annotations

import msgspec

from tracer.stream.lru import Lru
from tracer.stream.metadata import SHORT_DIGITS, Container

_STEP = 4


class ShortIds:
    """Remembers whose the first digits of ids are, and the names, limit of each: whoever comes second is shown by more
    digits, or by its id. A name may go on to another container of the same engine, which is a later life of it."""

    def __init__(self, limit: int) -> None:
        self._ids: Lru[str, str] = Lru(limit)
        self._names: Lru[str, str] = Lru(limit)

    def distinct(self, container: Container) -> Container:
        """The container as it is to be shown."""
        is_called_by_id = self._is_anothers(container)
        if is_called_by_id != container.is_called_by_id:
            container = msgspec.structs.replace(container, is_called_by_id=is_called_by_id)
        if container.id_is_path:
            return container
        digits = SHORT_DIGITS
        while self._ids.get(container.id[:digits]) not in (None, container.id):
            digits += _STEP
        self._ids.put(container.id[:digits], container.id)
        return container if digits == container.digits else msgspec.structs.replace(container, digits=digits)

    def keep(self, container: Container) -> None:
        """A container lives: what is known of it is forgotten last."""
        self._ids.get(container.id[: container.digits])
        if container.name is not None:
            self._names.get(container.name)

    def trim(self, limit: int) -> None:
        """Remember so many at the most from now on."""
        self._ids.trim(limit)
        self._names.trim(limit)

    def _is_anothers(self, container: Container) -> bool:
        """Whether the name is that of another container, of which this one cannot be a later life."""
        if container.name is None:
            return False
        who = container.id if container.id_is_path else (container.engine or "") if container.has_engine else ""
        first = self._names.get(container.name)
        if first is None:
            self._names.put(container.name, who)
        return first not in (None, who)
