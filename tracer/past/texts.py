"""Many texts, mostly the same few, numbered. Pure.

What a stranger can make us keep is bounded: the more there is already, the less is kept of each further text.
"""

from __future__ import annotations

_LIMITS = ((1 << 20, 4096), (4 << 20, 512), (16 << 20, 128))
_LEAST = 32
CUT = b"\xe2\x80\xa6"
"""What a text ends with that was cut: an ellipsis."""


class Texts:
    """Numbers texts from 1; 0 is for one that is not known. texts: all of them, by number."""

    def __init__(self) -> None:
        self.texts: list[bytes] = [b""]
        self._numbers: dict[bytes, int] = {}
        self._bytes = 0

    def number(self, text: bytes) -> int:
        """The number of a text."""
        limit = self._limit
        if len(text) > limit:
            text = text[:limit] + CUT
        if text not in self._numbers:
            self._numbers[text] = len(self.texts)
            self.texts.append(text)
            self._bytes += len(text)
        return self._numbers[text]

    @property
    def _limit(self) -> int:
        return next((limit for size, limit in _LIMITS if self._bytes < size), _LEAST)
