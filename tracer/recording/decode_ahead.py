"""The next batch of a file, decoded by another thread while one is used: most of the time that reading takes.

It is decoded from its bytes alone. Whether it belongs there is found out when it is asked for; what cannot be decoded
is left to the reader, which says why.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa

from tracer.recording import frames
from tracer.recording.columns import InvalidColumns, from_arrow
from tracer.recording.frames import Damaged, Header, Message
from tracer.recording.inputs import FileInput
from tracer.stream.batch import Batch

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

_Decoded = tuple[bytes, Batch | None]  # with the header


class DecodeAhead:
    """Of one reader of a file. pool: has threads already. schema, wall_offset_ns: of the recording."""

    def __init__(self, pool: Executor, schema: pa.Schema, wall_offset_ns: int) -> None:
        self._pool, self._schema, self._wall_offset_ns = pool, schema, wall_offset_ns
        self._next: Future[_Decoded] | None = None

    def take(self, message: Message, data: FileInput) -> Batch | None:
        """The batch of a message that was verified, if it was decoded ahead, else None. data: stands behind it; the
        batch there is begun."""
        behind = data.again()
        behind.at = data.at
        waiting, self._next = self._next, self._pool.submit(self._decode, behind)
        header, batch = waiting.result() if waiting else (b"", None)
        return batch if header == message.header else None

    def _decode(self, data: FileInput) -> _Decoded:
        with suppress(Damaged, InvalidColumns):
            message = frames.parse(data.read(frames.header_bytes(data.read(frames.PREFIX.size))))
            frames.verify_header(message)
            if message.kind == Header.BATCH and message.rows:
                body = data.read(message.body_bytes)
                frames.verify_body(message, body)
                return message.header, from_arrow(frames.decode(message, body, self._schema), self._wall_offset_ns)
        return b"", None
