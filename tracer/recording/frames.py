"""One message of a recording as bytes: made, and checked before Arrow's reader sees it.

An Arrow message is FFFFFFFF, the length of its header, the header (a flatbuffer) and the body. Ours have text in the
header's custom metadata: `crc32` is the checksum of prefix and header, with its own eight digits as question marks,
and then that of the body.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

import pyarrow as pa

from tracer.recording import limits
from tracer.recording.flatbuf import FlatTable, Malformed
from tracer.recording.schema import SCHEMA

PREFIX = struct.Struct("<Ii")
CONTINUATION = b"\xff\xff\xff\xff"
END = CONTINUATION + bytes(4)

_CRC, _NO_CRC = "crc32", "?" * 8
_FIELD_NODE = struct.Struct("<qq")  # length, null_count
_BUFFER = struct.Struct("<qq")  # offset, length
_UNPACKED = struct.Struct("<q")  # stands ahead of every compressed buffer; -1: it is not compressed
_OPTIONS = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1), use_threads=False)
_ALIGNED_BYTES = 64  # to which Arrow may round up the size of a buffer
_MAX_TEXTS_BYTES = limits.MAX_HEAP_BYTES + limits.MAX_ROW_BYTES
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
    if continuation != 0xFFFFFFFF or length < 0 or not length or length % 8 or length > limits.MAX_HEADER_BYTES:
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
    if not 0 <= body_bytes <= limits.MAX_BODY_BYTES or body_bytes % 8:
        raise Malformed(f"a body of {body_bytes} bytes")
    if not 0 <= rows <= limits.MAX_ROWS:
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


def schema(message: Message) -> pa.Schema:
    """The columns of a recording. Raises Damaged where no version of nstrace has such columns."""
    try:
        found = pa.ipc.read_schema(pa.py_buffer(PREFIX.pack(0xFFFFFFFF, len(message.header)) + message.header))
    except (pa.ArrowException, OSError) as error:
        raise Damaged("a schema that Arrow cannot read") from error
    types = set(SCHEMA.types)
    if len(found) > limits.MAX_COLUMNS:
        raise Damaged(f"{len(found)} columns")
    if len(set(found.names)) < len(found) or any(field.type not in types for field in found):
        raise Damaged("columns of unknown types")
    found = found.remove_metadata()
    return SCHEMA if found.equals(SCHEMA) else found  # one for all files


def decode(message: Message, body: bytes, schema: pa.Schema, only: Sequence[str] = ()) -> pa.RecordBatch:
    """The batch of a verified message. only: the columns to decompress, without any all that are known. Raises Damaged
    where it is not valid, or holds more than any version of nstrace writes: nothing is decompressed then."""
    _check_sizes(message, body, schema)
    stream = schema.serialize().to_pybytes(), PREFIX.pack(0xFFFFFFFF, len(message.header)), message.header, body
    wanted = [schema.get_field_index(name) for name in only or schema.names if name in SCHEMA.names]
    fields = None if len(wanted) == len(schema) else wanted
    options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=fields)
    try:
        batch = pa.ipc.open_stream(pa.py_buffer(b"".join(stream)), options=options).read_next_batch()
        batch.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise Damaged(f"columns that are not valid: {str(error).splitlines()[0]}") from error
    return batch


def _check_sizes(message: Message, body: bytes, schema: pa.Schema) -> None:
    """Raises Damaged where a decompressed size, which is written ahead of each buffer, is too large for its column."""
    try:
        nodes, buffers = message.table.structs(1, _FIELD_NODE), message.table.structs(2, _BUFFER)
        is_packed = message.table.table(3) is not None
    except Malformed as error:
        raise Damaged(f"a header with {error}") from error
    if any(not 0 <= nulls <= length for length, nulls in nodes):
        raise Damaged("a column of impossible length")
    text_bytes = 0
    try:
        for (at, length), (column, most) in zip(buffers, _sizes(message.rows, nodes, schema), strict=True):
            size = _unpacked_bytes(body, at, length, is_packed)
            if column.is_known and size > most:
                raise Damaged(f"a column {column.name} of {size} bytes in a batch of {message.rows} rows")
            text_bytes += size if column.is_known and most == _MAX_TEXTS_BYTES else 0
    except ValueError as error:
        raise Damaged("a header that does not fit to its columns") from error
    if text_bytes > _MAX_TEXTS_BYTES:
        raise Damaged(f"{text_bytes} bytes of text in a batch")


def _unpacked_bytes(body: bytes, at: int, length: int, is_packed: bool) -> int:
    """The size of a buffer when it is decompressed. Raises Damaged."""
    if at < 0 or length < 0 or at + length > len(body):
        raise Damaged("a buffer outside of the body")
    size: int = _UNPACKED.unpack_from(body, at)[0] if is_packed and length >= _UNPACKED.size else length
    if size < -1:
        raise Damaged("a buffer of negative length")
    return length if size == -1 else size


class _Column(NamedTuple):
    """How a column lies in a batch. bits: of a value, 0 for text. cell_bytes: of a short text; None: of any."""

    name: str
    is_known: bool
    is_list: bool
    bits: int
    cell_bytes: int | None


@lru_cache(maxsize=8)
def _layout(schema: pa.Schema) -> list[_Column]:
    columns = []
    for field in schema:
        is_list = pa.types.is_list(field.type)
        value = field.type.value_type if is_list else field.type
        bits = 0 if value in (pa.binary(), pa.string()) else value.bit_width
        cell_bytes = limits.MAX_TEXT_BYTES.get(field.name)
        columns.append(_Column(field.name, field.name in SCHEMA.names, is_list, bits, cell_bytes))
    return columns


def _sizes(rows: int, nodes: Sequence[tuple[int, ...]], schema: pa.Schema) -> Iterator[tuple[_Column, int]]:
    """For each buffer, in Arrow's order, its column and how large it may be. Raises Damaged."""
    lengths = iter([length for length, _nulls in nodes])
    for column in _layout(schema):
        count = next(lengths, -1)
        if count != rows:
            raise Damaged(f"a column {column.name} of another length")
        yield column, _padded(-(-rows // 8))
        if column.is_list:
            count = next(lengths, -1)
            if not 0 <= count <= limits.MAX_CHAIN * rows:
                raise Damaged(f"a column {column.name} of {count} numbers in a batch of {rows} rows")
            yield column, _padded(4 * (rows + 1))
            yield column, _padded(-(-count // 8))
        if column.bits:
            yield column, _padded(-(-column.bits * count // 8))
        else:
            yield column, _padded(4 * (count + 1))
            yield column, _MAX_TEXTS_BYTES if column.cell_bytes is None else _padded(column.cell_bytes * count)


def _padded(size: int) -> int:
    return size + _ALIGNED_BYTES
