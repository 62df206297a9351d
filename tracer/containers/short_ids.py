"""How many digits of a container's id distinguish it from the others. Pure."""

from __future__ import annotations

import msgspec

from tracer.stream.lru import Lru
from tracer.stream.metadata import SHORT_DIGITS, Container

_STEP = 4


class ShortIds:
    """Remembers which ids the first digits stand for, limit of them: whoever comes second is shown by more."""

    def __init__(self, limit: int) -> None:
        self._ids: Lru[str, str] = Lru(limit)

    def distinct(self, container: Container) -> Container:
        """The container with as many digits as it needs."""
        if container.id_is_name:
            return container
        digits = SHORT_DIGITS
        while self._ids.get(container.id[:digits]) not in (None, container.id):
            digits += _STEP
        self._ids.put(container.id[:digits], container.id)
        return container if digits == container.digits else msgspec.structs.replace(container, digits=digits)
