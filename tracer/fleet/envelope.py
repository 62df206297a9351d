"""A message's payload: a recording that stands alone, of one batch, as a whole compressed by zstd: its headers are
longer than the events of a second, and much alike. Whoever decompresses it into a file can replay it.

Its parts are numbered by the messages of a run, so a folder of payloads is a rotated recording: `tracer.recording`
reads it, checks it, and shows a gap where a message is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from tracer.errors import NstraceError
from tracer.fleet.names import MAX_NAME_BYTES, message_id
from tracer.recording.frames import Damaged
from tracer.recording.inputs import BytesInput
from tracer.recording.limits import MAX_COUNT, MAX_PART, MAX_ROWS
from tracer.recording.reader import Recording
from tracer.recording.writer import FileSink, Writer
from tracer.stream.batch import Batch

_PASSED_ON = (
    *("nstrace_schema", "nstrace_version", "wall_offset_ns", "boottime_ns", "machine", "kernel", "machine_id"),
    *("boot_id", "filtered"),
)
"""What of a recording's metadata its messages have, too: not the command line, which may name what is nobody's
business."""
_MAX_TEXT = 256
_MAX_BYTES = 1 << 26  # that a payload unfolds to; the batch in it is checked by the limits of recordings
_CODEC = pa.Codec("zstd", compression_level=3)


@dataclass(frozen=True)
class Origin:
    """Which rows a message has. run: the run of nstrace and its publication; sequence: the number of the message in it,
    from 1; part, first_row, end_row: the file of the recording, and from which row to which, without the latter. A
    loss has no rows there."""

    cluster: str
    host: str
    boot: str
    run: str
    sequence: int
    part: int
    first_row: int
    end_row: int

    @property
    def id(self) -> str:
        """The id of the message."""
        return message_id(self.host, self.boot, self.run, self.sequence)

    def headers(self) -> dict[str, str]:
        """What the headers of the message say, for who reads no payload."""
        numbers = {"Run": self.run, "Sequence": self.sequence, "Part": self.part}
        numbers |= {"First-Row": self.first_row, "End-Row": self.end_row}
        return {f"Nstrace-{name}": str(value) for name, value in numbers.items()}


def passed_on(metadata: Mapping[str, str]) -> dict[str, str]:
    """What messages say of the recording that they are from."""
    return {name: metadata[name][:_MAX_TEXT] for name in _PASSED_ON if name in metadata}


def sealed(origin: Origin, metadata: Mapping[str, str], facts: Batch, rows: Batch) -> bytes:
    """The payload. metadata: as of `passed_on`; facts: what the rows need to be understood; rows: at least one."""
    wall_ns = int(rows.rows["ts_ns"][0]) + int(metadata["wall_offset_ns"])
    said = {
        **metadata,
        "session": origin.run,
        "part": str(origin.sequence),
        "realtime_ns": str(max(0, wall_ns)),
        "host": origin.host,
        "cluster": origin.cluster,
        "command": "",
        "boot_id": origin.boot,
        "file_part": str(origin.part),
        "from_row": str(origin.first_row),
        "to_row": str(origin.end_row),
    }
    data = bytearray()

    def append(_fd: int, message: memoryview) -> int:
        data.extend(message)
        return len(message)

    writer = Writer(FileSink(-1, "message", write=append), said, clock=lambda: 0.0)
    if len(facts):
        writer.carry(facts)
    writer.add(rows)
    writer.close()
    packed: bytes = _CODEC.compress(bytes(data), asbytes=True)
    return packed


@dataclass(frozen=True)
class Opened:
    """A payload that was read. recording: to be read from its beginning; facts are its batches that are carried."""

    origin: Origin
    recording: Recording


def unpacked(payload: bytes) -> bytes:
    """The recording in a payload. Raises Damaged where there is none, or it is larger than any."""
    try:
        with pa.input_stream(pa.BufferReader(payload), compression="zstd") as stream:
            data: bytes = stream.read(_MAX_BYTES + 1)
    except (OSError, pa.ArrowException) as error:
        raise Damaged("it is not compressed by zstd") from error
    if len(data) > _MAX_BYTES:
        raise Damaged(f"it unfolds to more than {_MAX_BYTES} bytes")
    return data


def opened(payload: bytes, name: str) -> Opened:
    """The payload, of which the beginning was read and checked. name: for messages. Raises Damaged where it is none."""
    try:
        recording = Recording(name, BytesInput(unpacked(payload)), lambda _line: None)
    except NstraceError as error:
        raise Damaged(error.message) from error
    said, facts = recording.metadata, recording.facts
    names = {what: said.get(what, "") for what in ("cluster", "boot_id")}
    if not facts.host or any(len(text) > MAX_NAME_BYTES for text in (*names.values(), facts.host, facts.session)):
        raise Damaged("its metadata is not plausible")
    first, end = (_number(said, what, MAX_COUNT) for what in ("from_row", "to_row"))
    part = _number(said, "file_part", MAX_PART)
    if end < first:
        raise Damaged("its metadata is not plausible")
    origin = Origin(names["cluster"], facts.host, names["boot_id"], facts.session, facts.part, part, first, end)
    return Opened(origin, recording)


def _number(said: Mapping[str, str], what: str, most: int) -> int:
    text = said.get(what, "")
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= most):
        raise Damaged(f"its {what} is not plausible")
    return int(text)


def content(opened: Opened) -> tuple[list[Batch], list[Batch]]:
    """The facts and the rows of a payload. Raises Damaged where it is not whole, or larger than any."""
    facts: list[Batch] = []
    rows: list[Batch] = []
    for part in opened.recording.parts():
        if part.batch is not None:
            (facts if part.index.carried else rows).append(part.batch)
            if sum(map(len, rows)) > MAX_ROWS:
                raise Damaged("it has more rows than a message has")
    recording = opened.recording
    if not recording.is_closed or recording.damages or recording.missing:
        raise Damaged("it is not whole")
    return facts, rows
