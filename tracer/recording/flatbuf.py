"""Reads the few fields of Arrow's message headers that decide whether a message is safe to pass on.

A flatbuffer is tables of offsets (flatbuffers.dev/internals). Every access here is bounded by the buffer: an offset to
the outside raises Malformed. Field numbers are those of Arrow's Message.fbs and Schema.fbs.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_U8, _U16, _I32, _U32, _I64 = (struct.Struct(f"<{code}") for code in "BHiIq")
_unpack_u16, _unpack_i32, _unpack_u32 = _U16.unpack_from, _I32.unpack_from, _U32.unpack_from


class Malformed(Exception):
    """The bytes are no flatbuffer of the expected form."""


class Vector(NamedTuple):
    """The position at which a vector's elements begin, and how many there are."""

    at: int
    length: int


class FlatTable:
    """A table at a position in a buffer. Absent fields have their default."""

    def __init__(self, buffer: bytes, at: int) -> None:
        self._buffer = buffer
        self._at = at
        self._vtable = at - _get(_I32, buffer, at)
        self._vtable_bytes = _get(_U16, buffer, self._vtable)

    @classmethod
    def root(cls, buffer: bytes) -> FlatTable:
        """The root table of a buffer."""
        return cls(buffer, _get(_U32, buffer, 0))

    def _field(self, number: int) -> int | None:
        slot = 4 + 2 * number
        if slot + 2 > self._vtable_bytes:
            return None
        offset = _get(_U16, self._buffer, self._vtable + slot)
        return self._at + offset if offset else None

    def u8(self, number: int, default: int = 0) -> int:
        """The value of a ubyte field."""
        at = self._field(number)
        return default if at is None else _get(_U8, self._buffer, at)

    def i64(self, number: int) -> int:
        """The value of a long field; 0: absent."""
        at = self._field(number)
        return 0 if at is None else _get(_I64, self._buffer, at)

    def table(self, number: int) -> FlatTable | None:
        """The value of a field that is a table or a union; None: absent."""
        at = self._field(number)
        return None if at is None else FlatTable(self._buffer, at + _get(_U32, self._buffer, at))

    def vector(self, number: int, element_bytes: int) -> Vector:
        """The vector of a field; all of its elements lie inside the buffer."""
        at = self._field(number)
        if at is None:
            return Vector(0, 0)
        return _vector(self._buffer, at, element_bytes)

    def structs(self, number: int, layout: struct.Struct) -> list[tuple[int, ...]]:
        """The elements of a vector of structs, unpacked."""
        start, count = self.vector(number, layout.size)
        return list(layout.iter_unpack(self._buffer[start : start + count * layout.size]))

    def key_values(self, number: int) -> dict[str, str]:
        """The entries of a vector of KeyValue."""
        start, count = self.vector(number, 4)
        try:
            return dict([_key_value(self._buffer, at) for at in range(start, start + 4 * count, 4)])
        except struct.error as error:
            raise Malformed("an offset beyond the end") from error
        except UnicodeDecodeError as error:
            raise Malformed("text that is no UTF-8") from error


def _key_value(buffer: bytes, at: int) -> tuple[str, str]:
    """The KeyValue table that the offset at this place leads to. Every batch has some: written for speed. Raises
    struct.error, UnicodeDecodeError."""
    table = at + _unpack_u32(buffer, at)[0]
    vtable = table - _unpack_i32(buffer, table)[0]
    if vtable < 0:
        raise struct.error
    fields = min((_unpack_u16(buffer, vtable)[0] - 4) // 2, 2)
    texts = ["", ""]
    for number in range(fields):
        if offset := _unpack_u16(buffer, vtable + 4 + 2 * number)[0]:
            place = table + offset
            text = place + _unpack_u32(buffer, place)[0]
            end = text + 4 + _unpack_u32(buffer, text)[0]
            if end > len(buffer):
                raise struct.error
            texts[number] = buffer[text + 4 : end].decode()
    return texts[0], texts[1]


def _vector(buffer: bytes, at: int, element_bytes: int) -> Vector:
    start = at + _get(_U32, buffer, at)
    count = _get(_U32, buffer, start)
    if start + 4 + count * element_bytes > len(buffer):
        raise Malformed("a vector beyond the end")
    return Vector(start + 4, count)


def _get(layout: struct.Struct, buffer: bytes, at: int) -> int:
    if at < 0 or at + layout.size > len(buffer):
        raise Malformed("an offset beyond the end")
    value: int = layout.unpack_from(buffer, at)[0]
    return value
