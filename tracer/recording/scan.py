"""Behind damage: where in a file the next message begins. Bounded, so that no file makes it look for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tracer.recording import frames
from tracer.recording.frames import Damaged, Header
from tracer.recording.inputs import FileInput, Input
from tracer.recording.limits import MAX_HEADER_BYTES

_WINDOW_BYTES = 1 << 20
_MAX_BYTES = 1 << 30  # of a file, holes not counted: some ten of the largest messages
_MAX_COST = 1_000_000  # of places where a message might begin; one whose checksum has to be formed counts as many
_CHECKSUM_COST = 100


class Scan:
    """Looks for messages in one input. Its limits are those of the whole input."""

    def __init__(self, source: Input) -> None:
        self._input = source
        self._bytes_left, self._cost_left = _MAX_BYTES, _MAX_COST

    @property
    def is_over(self) -> bool:
        """Whether the limits are reached."""
        return self._bytes_left <= 0 or self._cost_left <= 0

    def find(self, session: str, keep_reading: Callable[[], bool]) -> bool:
        """Go to where the next complete header of this recording begins, or another recording. False: there is none,
        or the limits are reached."""
        while not self.is_over and keep_reading():
            if isinstance(self._input, FileInput):
                self._input.skip_hole()
            window = self._input.read(_WINDOW_BYTES + MAX_HEADER_BYTES)
            self._bytes_left -= len(window)
            for at in places(window[: _WINDOW_BYTES + frames.PREFIX.size]):
                if self._begins(window, at, session):
                    self._input.unread(window[at:])
                    return True
                if self._cost_left <= 0:
                    return False
            if len(window) <= _WINDOW_BYTES:
                return False
            self._input.unread(window[_WINDOW_BYTES:])
        return False

    def _begins(self, window: bytes, at: int, session: str) -> bool:
        """Whether a complete header begins there. Arguments of a process can look like one, but no process knows which
        session records it."""
        self._cost_left -= 1
        start = at + frames.PREFIX.size
        try:
            message = frames.parse(window[start : start + frames.header_bytes(window[at:start])])
            if message.kind == Header.BATCH and message.metadata.get("session") != session:
                return False
            self._cost_left -= _CHECKSUM_COST
            frames.verify_header(message)
        except Damaged:
            return False
        return True


def places(window: bytes) -> Iterator[int]:
    """The offsets at which a prefix of a message stands, with a length that a header can have."""
    found = [np.empty(0, np.intp)]
    for shift in range(min(4, len(window))):
        words = np.frombuffer(window, "<u4", (len(window) - shift) // 4, shift)
        at = np.flatnonzero(words[:-1] == 0xFFFFFFFF)
        lengths = words[at + 1]
        found.append(at[(lengths % 8 == 0) & (lengths > 0) & (lengths <= MAX_HEADER_BYTES)] * 4 + shift)
    yield from np.sort(np.concatenate(found)).tolist()
