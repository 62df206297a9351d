"""One message of a recording as bytes: made, and checked before Arrow's reader sees it.

An Arrow message is FFFFFFFF, the length of its header, the header (a flatbuffer) and the body. Ours have text in the
header's custom metadata: `crc32` is the checksum of prefix and header, with its own eight digits as question marks,
and then that of the body.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import pyarrow as pa

from tracer.recording.flatbuf import FlatTable, Malformed
from tracer.recording.schema import SCHEMA

PREFIX = struct.Struct("<Ii")
CONTINUATION = b"\xff\xff\xff\xff"
END = CONTINUATION + bytes(4)

MAX_HEADER_BYTES = 1 << 18
MAX_BODY_BYTES = 1 << 27
MAX_UNPACKED_BYTES = 1 << 27  # of a batch, all buffers together
MAX_ROWS = 1 << 20

_CRC, _NO_CRC = "crc32", "?" * 8
_FIELD_NODE = struct.Struct("<qq")  # length, null_count
_BUFFER = struct.Struct("<qq")  # offset, length
_UNPACKED = struct.Struct("<q")  # stands ahead of every compressed buffer; -1: it is not compressed
_OPTIONS = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1), use_threads=False)
_SCHEMA_BYTES = len(SCHEMA.serialize())


class Damaged(Exception):
    """Bytes that differ from what was written. The message says how."""


class Torn(Damaged):
    """The file ends too early: inside what was being written when the writer died."""


class Header(IntEnum):
    """MessageHeader of Arrow's Message.fbs."""

    SCHEMA = 1
    BATCH = 3


@dataclass(frozen=True)
class Message:
    """A message's header. metadata: its custom metadata; rows: of a batch."""

    kind: Header
    metadata: dict[str, str]
    body_bytes: int
    rows: int
    header: bytes
    table: FlatTable


def of_schema(metadata: Mapping[str, str]) -> bytes:
    """The first message of a recording."""
    return sign(SCHEMA.with_metadata({**metadata, _CRC: _NO_CRC * 2}).serialize().to_pybytes())


def of_batch(batch: pa.RecordBatch, metadata: Mapping[str, str]) -> bytes:
    """The message of a batch of SCHEMA, compressed."""
    sink = pa.BufferOutputStream()
    writer = pa.ipc.new_stream(sink, SCHEMA, options=_OPTIONS)
    writer.write_batch(batch, custom_metadata={**metadata, _CRC: _NO_CRC * 2})
    return sign(sink.getvalue().slice(_SCHEMA_BYTES).to_pybytes())


def sign(message: bytes) -> bytes:
    """The message with its checksums in place of the question marks."""
    length = PREFIX.unpack_from(message)[1]
    header, body = message[: PREFIX.size + length], message[PREFIX.size + length :]
    header = header.replace(_NO_CRC.encode() * 2, b"%b%08x" % (_NO_CRC.encode(), zlib.crc32(body)))
    return header.replace(_NO_CRC.encode(), b"%08x" % zlib.crc32(header)) + body


def header_bytes(prefix: bytes) -> int:
    """The length of the header behind this prefix, in bytes. Raises Damaged."""
    if len(prefix) < PREFIX.size:
        raise Torn("it ends in the middle of a header")
    continuation: int
    length: int
    continuation, length = PREFIX.unpack(prefix)
    if continuation != 0xFFFFFFFF or length < 0 or not length or length % 8 or length > MAX_HEADER_BYTES:
        raise Damaged("no message begins here")
    return length


def parse(header: bytes) -> Message:
    """The fields of a header, all limits checked. Raises Damaged."""
    try:
        return _parse(header)
    except (Malformed, ValueError) as error:
        raise Damaged(f"a header with {error}") from error


def _parse(header: bytes) -> Message:
    root = FlatTable.root(header)
    kind = Header(root.u8(1))
    table = root.table(2)
    if table is None:
        raise Malformed("nothing in it")
    metadata = table.key_values(2) if kind == Header.SCHEMA else root.key_values(4)
    rows = table.i64(0) if kind == Header.BATCH else 0
    body_bytes = root.i64(3)
    if not 0 <= body_bytes <= MAX_BODY_BYTES or body_bytes % 8:
        raise Malformed(f"a body of {body_bytes} bytes")
    if not 0 <= rows <= MAX_ROWS:
        raise Malformed(f"{rows} rows")
    return Message(kind, metadata, body_bytes, rows, header, table)


def verify_header(message: Message) -> None:
    """Raises Damaged where the header differs from the one that was written."""
    header, recorded = message.header, message.metadata.get(_CRC, "")[: len(_NO_CRC)].encode()
    unsigned = header.replace(recorded, _NO_CRC.encode(), 1) if recorded else b""
    crc = zlib.crc32(unsigned, zlib.crc32(PREFIX.pack(0xFFFFFFFF, len(header))))
    if b"%08x" % crc != recorded:
        raise Damaged("the checksum of the header does not fit")


def verify_body(message: Message, body: bytes) -> None:
    """Raises Damaged where the body differs from the one that was written."""
    if f"{zlib.crc32(body):08x}" != message.metadata[_CRC][len(_NO_CRC) :]:
        raise Damaged("the checksum of the data does not fit")


def begins(window: bytes, at: int) -> bool:
    """Whether a complete header of a recording begins at this offset."""
    try:
        start = at + PREFIX.size
        header = window[start : start + header_bytes(window[at:start])]
        verify_header(parse(header))
    except Damaged:
        return False
    return True


def schema(message: Message) -> pa.Schema:
    """The columns of a recording. Raises Damaged where no version of nstrace has such columns."""
    try:
        found = pa.ipc.read_schema(pa.py_buffer(PREFIX.pack(0xFFFFFFFF, len(message.header)) + message.header))
    except (pa.ArrowException, OSError) as error:
        raise Damaged("a schema that Arrow cannot read") from error
    types = set(SCHEMA.types)
    if len(set(found.names)) < len(found) or any(field.type not in types for field in found):
        raise Damaged("columns of unknown types")
    return found.remove_metadata()


def decode(message: Message, body: bytes, schema: pa.Schema, only: Sequence[str] = ()) -> pa.RecordBatch:
    """The batch of a verified message. only: the columns to decompress, without any all. Raises Damaged where it is not
    valid, or too large."""
    _check_buffers(message, body)
    stream = schema.serialize().to_pybytes(), PREFIX.pack(0xFFFFFFFF, len(message.header)), message.header, body
    wanted = [schema.get_field_index(name) for name in only] or None
    options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=wanted)
    try:
        batch = pa.ipc.open_stream(pa.py_buffer(b"".join(stream)), options=options).read_next_batch()
        batch.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise Damaged(f"columns that are not valid: {str(error).splitlines()[0]}") from error
    return batch


def _check_buffers(message: Message, body: bytes) -> None:
    """Raises Damaged where the decompressed size, which is written ahead of each buffer, is too large."""
    try:
        nodes, buffers = message.table.structs(1, _FIELD_NODE), message.table.structs(2, _BUFFER)
        is_packed = message.table.table(3) is not None
    except Malformed as error:
        raise Damaged(f"a header with {error}") from error
    unpacked = 0
    for at, length in buffers:
        if at < 0 or length < 0 or at + length > len(body):
            raise Damaged("a buffer outside of the body")
        declared = _UNPACKED.unpack_from(body, at)[0] if is_packed and length >= _UNPACKED.size else length
        if declared < -1:
            raise Damaged("a buffer of negative length")
        unpacked += length if declared == -1 else declared
    if unpacked > MAX_UNPACKED_BYTES:
        raise Damaged(f"a batch of {unpacked} bytes")
    if any(not 0 <= nulls <= length <= MAX_UNPACKED_BYTES for length, nulls in nodes):
        raise Damaged("a column of impossible length")
