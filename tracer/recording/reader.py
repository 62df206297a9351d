"""A recording -> batches. Reads untrusted files: whatever is in them, it ends, in bounded memory, with a clear message.

What is damaged becomes a gap, and reading continues behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.errors import NstraceError
from tracer.recording import frames
from tracer.recording.checks import Checks, check_fits
from tracer.recording.columns import InvalidColumns, from_arrow
from tracer.recording.decode_ahead import DecodeAhead
from tracer.recording.frames import Damaged, Header, Message, Torn
from tracer.recording.index import Index, Sums, Whole
from tracer.recording.inputs import FileInput, Input
from tracer.recording.metadata import Metadata
from tracer.recording.places import Places
from tracer.recording.scan import Scan
from tracer.recording.schema import VERSION
from tracer.recording.tail import whole_of
from tracer.stream.batch import EVENT, Batch
from tracer.stream.schema import NO_CPU, Kind

if TYPE_CHECKING:
    from concurrent.futures import Executor

_SECOND_NS = 1_000_000_000
_OTHER = "another recording, which is not read: give it a file of its own"


class Sieve(Protocol):
    """Which rows are needed. needs: the columns that it reads."""

    needs: pa.Schema

    def keeps(self, columns: pa.RecordBatch) -> NDArray[np.bool_]:
        """True for the rows to keep, shape (n,). Called with every batch, in order."""


@dataclass(frozen=True)
class Part:
    """A batch and its index. batch is None where it was not needed."""

    index: Index
    batch: Batch | None


class Recording:
    """One recording, read in order. Raises NstraceError where it is none.

    say: writes a line for people. metadata: of the stream, as it was read; facts: what is used of it. rows and last_ns:
    the position of the reader; missing: how many of these rows are missing; is_growing: it is being written, and has no
    end yet; is_closed: its end was read; is_torn: it ended without one; damages: places where it is damaged. sieve:
    leaves out rows that are not needed, before they are decoded. pool: threads that decode a batch ahead of its turn;
    None: there are none. keep_reading: called again and again; where it returns
    False, nothing more is read.
    """

    def __init__(self, name: str, source: Input, say: Callable[[str], None]) -> None:
        self.name, self._places, self.is_growing = name, Places(), False
        self.pool: Executor | None = None
        self._read_from(source, say)
        self.keep_reading: Callable[[], bool] = lambda: True
        self.metadata: Mapping[str, str] = {}
        self.facts, self._schema = self._begin()
        self._first_at = source.at

    def _read_from(self, source: Input, say: Callable[[str], None]) -> None:
        """Nothing has been read of this input."""
        self.input, self._say = source, say
        self.rows = self.missing = self.last_ns = self.damages = 0
        self.is_closed = self.is_torn = False
        self.sieve: Sieve | None = None
        self._said = ""  # about damage since the last undamaged batch
        self._checks, self._scan, self._sums = Checks(), Scan(source), Sums()
        self._end: Index | None = None
        self._end_says: Whole | None = None
        self._other = ""  # another recording in the same file
        self._ahead: DecodeAhead | None = None

    def _begin(self) -> tuple[Metadata, pa.Schema]:
        try:
            message = self._header()
        except Damaged as damage:
            raise self._foreign("it is not an Arrow stream") from damage
        if message is None:
            raise self._foreign("it is empty")
        if message.kind != Header.SCHEMA or "nstrace_schema" not in message.metadata:
            raise self._foreign("it is some other Arrow stream")
        try:
            frames.verify_header(message)
            self._refuse_newer(message.metadata["nstrace_schema"])
            self.metadata = message.metadata
            return Metadata.parse(message.metadata), frames.schema(message)
        except (Damaged, ValueError) as error:
            hint = "its first bytes are needed to read it"
            raise NstraceError(f"{self.name} is damaged at byte 0: {error}", hint) from error

    def _foreign(self, why: str) -> NstraceError:
        return NstraceError(
            f"{self.name} is not an nstrace recording: {why}", "nstrace record -w FILE makes a recording"
        )

    def _refuse_newer(self, version: str) -> None:
        if version.isdecimal() and len(version) < 6 and int(version) > VERSION:
            message = f"{self.name} was recorded by a newer nstrace (schema {version}; this one reads up to {VERSION})"
            raise NstraceError(message, "upgrade nstrace")

    def _header(self) -> Message | None:
        """The next header; None: the stream ends here. After a failure the position is behind its prefix."""
        prefix = self.input.read(frames.PREFIX.size)
        if not prefix:
            return None
        length = frames.header_bytes(prefix)
        header = self.input.read(length)
        try:
            if len(header) < length:
                raise Torn("it ends in the middle of a header")
            return frames.parse(header)
        except Damaged:
            self.input.unread(header)
            raise

    def parts(self, is_wanted: Callable[[Index], bool] = lambda _index: True) -> Iterator[Part]:
        """The batches in order, with a GAP row where some are damaged. is_wanted: whether to read the batch with this
        index; a batch that is not wanted is skipped unread."""
        while (found := self._next(is_wanted)) is not None:
            start, rows, part = found
            if part.index.end:
                self._end = part.index
                if self._goes_on():
                    continue
                break
            yield from self._gap_before(start, part.index)
            self.rows = part.index.first_row + rows
            self.last_ns = max(self.last_ns, part.index.last_ns)
            if not part.index.quiet:
                self._sums.add(part.index)
            yield part
        if self.keep_reading():
            yield from self._finish()

    def _finish(self) -> Iterator[Part]:
        """What is missing at the end; a line where there is no end."""
        end = self._end
        if end is not None and end.first_row >= self.rows:
            self.is_closed = True
            yield from self._gap_before(self.input.at, end)
            self.rows, self.last_ns = end.first_row, max(self.last_ns, end.last_ns)
            if self._end_says and not self.damages and not self._sums.fit(self._end_says):
                self._damaged(self.input.at, Damaged("its end does not fit to its batches"))
            return
        if self.is_growing:
            return
        self.is_torn = True
        last_s = (self.last_ns + self.facts.wall_offset_ns) // _SECOND_NS
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(last_s))
        what = f"{self.rows} rows, up to {until}" if self.rows else "nothing in it"
        self._say(f"{self.name} was not closed cleanly: {what}")

    def _gap_before(self, at: int, index: Index) -> Iterator[Part]:
        """The row in place of batches that are missing ahead of this one, which is reported if nothing has been."""
        missing = index.first_row - self.rows
        if missing > 0:
            if not self._said:
                self._damaged(at, Damaged(f"{missing} rows are missing ahead of it"))
            self.missing += missing
            yield Part(index, self._gap(index))
        self._said = ""

    def _goes_on(self) -> bool:
        """Whether there is more behind an end, which is reported then. An end that is not the last thing in a file does
        not count: what belongs to the recording is read on."""
        at = self.input.at
        rest = self.input.read(len(frames.END) + 1)
        if frames.END.startswith(rest):
            return False
        self.input.unread(rest.removeprefix(frames.END))
        self._damaged(at, Damaged("there is more behind its end"))
        return True

    def indices(self) -> list[Index]:
        """The indices of all batches, without reading them; [] for a stream."""
        if not isinstance(self.input, FileInput):
            return []
        return [part.index for part in self.again().parts(lambda _index: False) if not part.index.quiet]

    def again(self) -> Recording:
        """The same recording from its beginning, with a position of its own, and without messages; not for a stream."""
        assert isinstance(self.input, FileInput)
        again = copy(self)
        again._read_from(self.input.again(), lambda _line: None)
        again.input.skip(self._first_at - again.input.at)
        return again

    @cached_property
    def whole(self) -> Whole | None:
        """What the end of the file says of all its batches, read from its last bytes; None: it says nothing, or it is
        no file."""
        return whole_of(self.input, self.facts) if isinstance(self.input, FileInput) else None

    def range_ns(self) -> tuple[int | None, int]:
        """The times of the first event, None where there is none, and of the last, or until when nothing more happened
        (boottime). Reads no more than headers; not for a stream."""
        if self.whole:
            return self.whole.begin_ns if self.whole.rows else None, self.whole.last_ns
        again = self.again()
        indices = (part.index for part in again.parts(lambda _index: False))
        firsts = [index.first_ns for index in indices if index.last_ns and not index.quiet]
        return min(firsts, default=None), again.last_ns

    def pass_over(self, whole: Whole) -> None:
        """Go to the end without reading what is before. whole: what the end says."""
        self.rows, self.last_ns, self.is_closed = whole.rows, max(self.last_ns, whole.last_ns), True
        if isinstance(self.input, FileInput):
            self.input.skip(self.input.size)

    def _next(self, is_wanted: Callable[[Index], bool]) -> tuple[int, int, Part] | None:
        """The next undamaged batch, where it begins, and how many rows it has; None: there is none."""
        while self.keep_reading():
            start = self.input.at
            seen = self._places.at(start)
            if seen and not is_wanted(seen.says):
                self.input.skip(seen.length)
                return start, seen.rows, Part(seen.says, None)
            try:
                message = self._batch_header()
            except Damaged as damage:
                found = self._scan.find(self.facts.session, lambda: self.keep_reading())
                if found or not isinstance(damage, Torn):
                    self._damaged(start, damage)
                if self._scan.is_over:
                    self._damaged(self.input.at, Damaged("there is too much damage to read on"))
                if not found:
                    return None
                continue
            if message is None:
                return None
            try:
                part = self._part(message, is_wanted)
                self._places.note(self.input, start, message, part.index)
                return start, message.rows, part
            except Torn:
                return None
            except Damaged as damage:  # its header is right, and so is its length: go on behind it
                self._damaged(start, damage)
        return None

    def columns_of(self, index: Index, needs: pa.Schema) -> pa.RecordBatch | None:
        """These columns of one of `indices()`; None: it is damaged, or has other columns."""
        if isinstance(self.input, FileInput) and all(field in self._schema for field in needs):
            with suppress(Damaged):
                return frames.decode(*self._places.read(self.input, index), self._schema, needs.names)
        return None

    def _damaged(self, at: int, damage: Damaged) -> None:
        """Note damage, and report it: the same in batch after batch only once."""
        self.damages += 1
        if str(damage) != self._said:
            self._said = str(damage)
            self._say(f"{self.name} is damaged at byte {at}: {damage}")

    def _batch_header(self) -> Message | None:
        message = self._header()
        if message is not None:
            try:
                frames.verify_header(message)
            except Damaged:
                self.input.unread(message.header)
                raise
        return message

    def _part(self, message: Message, is_wanted: Callable[[Index], bool]) -> Part:
        try:
            self._check_kind(message)
            index = Index.parse(message.metadata)
            self._check_place(message.metadata, index)
            if (index.end or index.quiet) == (message.rows > 0):
                raise Damaged("an empty batch" if message.rows == 0 else "an end with rows in it")
            self._end_says = Whole.parse(message.metadata) if index.end else None
        except Damaged:
            self._skip(message)
            raise
        if index.quiet or (not index.end and not is_wanted(index)):
            self._skip(message)
            return Part(index, None)
        body = self.input.read(message.body_bytes)
        if len(body) < message.body_bytes:
            raise Torn("it ends in the middle of a batch")
        frames.verify_body(message, body)
        return Part(index, None if index.end else self._decode(message, index, body))

    def _check_kind(self, message: Message) -> None:
        """Raises Damaged where this is no batch but the beginning of a recording."""
        if message.kind == Header.BATCH:
            return
        session = message.metadata.get("session", "")
        if session == self.facts.session:
            raise Damaged("a second beginning of it")
        self._other = session
        raise Damaged(_OTHER)

    def _check_place(self, metadata: dict[str, str], index: Index) -> None:
        """Raises Damaged where a batch does not belong here: its checksums are right wherever it was copied to."""
        if self._other and metadata.get("session") == self._other:
            raise Damaged(_OTHER)
        mine = {"session": self.facts.session, "part": str(self.facts.part)}
        if any(metadata.get(name, value) != value for name, value in mine.items()):
            raise Damaged("a batch of another recording")
        if index.first_row < self.rows:
            raise Damaged("a batch that is out of order, or there twice")

    def _skip(self, message: Message) -> None:
        if self.input.skip(message.body_bytes) < message.body_bytes:
            raise Torn("it ends in the middle of a batch")

    def _decode(self, message: Message, index: Index, body: bytes) -> Batch:
        try:
            batch = self._decoded_ahead(message)
            if batch is None:
                batch = from_arrow(self._columns(message, body), self.facts.wall_offset_ns)
            self._checks.check(batch)
            check_fits(batch, index)
        except InvalidColumns as error:
            raise Damaged(str(error)) from error
        return batch

    def _decoded_ahead(self, message: Message) -> Batch | None:
        if self.pool is None or self.sieve is not None or not isinstance(self.input, FileInput):
            return None
        self._ahead = self._ahead or DecodeAhead(self.pool, self._schema, self.facts.wall_offset_ns)
        return self._ahead.take(message, self.input)

    def _columns(self, message: Message, body: bytes) -> pa.RecordBatch:
        """The rows that the sieve keeps; of a batch without any, only the columns that the sieve needs are
        decompressed."""
        sieve = self.sieve
        if sieve is None or not message.rows or not all(field in self._schema for field in sieve.needs):
            return frames.decode(message, body, self._schema)
        keep = sieve.keeps(frames.decode(message, body, self._schema, sieve.needs.names))
        if not keep.any():
            return pa.RecordBatch.from_pylist([], self._schema)
        return frames.decode(message, body, self._schema).filter(pa.array(keep))

    def _gap(self, index: Index) -> Batch:
        """The row in place of batches that are missing ahead of this one."""
        row = np.zeros(1, EVENT)
        row["kind"], row["cpu"], row["seq"] = Kind.GAP, NO_CPU, index.first_row - self.rows
        row["start_ns"], row["ts_ns"] = sorted((self.last_ns, index.first_ns))
        return Batch(row)
