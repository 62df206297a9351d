"""Where the batches of a file are, once one reader has gone through it: others go to those that they need."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from tracer.recording import frames
from tracer.recording.frames import Damaged, Message
from tracer.recording.index import Index
from tracer.recording.inputs import FileInput, Input
from tracer.recording.keys import Keys


class Seen(NamedTuple):
    """A batch whose header was right. length: of the whole message, in bytes."""

    says: Index
    rows: int
    length: int


class Places:
    """The batches of one file, of all its readers. Remembers nothing of a stream."""

    def __init__(self) -> None:
        self._seen: dict[int, Seen] = {}  # by the place
        self._places: dict[int, int] = {}  # by the number of the first row

    def at(self, place: int) -> Seen | None:
        """The batch that begins at this offset; None: it is not known yet."""
        return self._seen.get(place)

    def note(self, data: Input, place: int, message: Message, index: Index) -> None:
        """Remember a batch, and not its keys, which are read again when they are asked for."""
        if isinstance(data, FileInput) and not (index.end or index.quiet) and place not in self._seen:
            length = frames.PREFIX.size + len(message.header) + message.body_bytes
            self._seen[place] = Seen(replace(index, keys=partial(_keys_at, data, place)), message.rows, length)
            self._places[index.first_row] = place

    def read(self, data: FileInput, index: Index) -> tuple[Message, bytes]:
        """The header and the body of a batch that is known. Raises Damaged."""
        message, behind = _header_at(data, self._places[index.first_row])
        body = behind.read(message.body_bytes)
        frames.verify_body(message, body)
        return message, body


def _header_at(data: FileInput, place: int) -> tuple[Message, FileInput]:
    """The header at this offset, and an input that is behind it. Raises Damaged."""
    there = data.again()
    there.at = place
    message = frames.parse(there.read(frames.header_bytes(there.read(frames.PREFIX.size))))
    frames.verify_header(message)
    return message, there


def _keys_at(data: FileInput, place: int) -> Keys | None:
    with suppress(Damaged):
        return Index.parse(_header_at(data, place)[0].metadata).keys()
    return None
