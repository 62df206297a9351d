"""Reads the few fields of Arrow's message headers that decide whether a message is safe to pass on.

A flatbuffer is tables of offsets (flatbuffers.dev/internals). Every access here is bounded by the buffer: an offset to
the outside raises Malformed. Field numbers are those of Arrow's Message.fbs and Schema.fbs.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_U8, _U16, _I32, _U32, _I64 = (struct.Struct(f"<{code}") for code in "BHiIq")


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
        pairs = (
            FlatTable(self._buffer, at + _get(_U32, self._buffer, at)) for at in range(start, start + 4 * count, 4)
        )
        return {pair._string(0): pair._string(1) for pair in pairs}

    def _string(self, number: int) -> str:
        start, count = self.vector(number, 1)
        try:
            return self._buffer[start : start + count].decode()
        except UnicodeDecodeError as error:
            raise Malformed("text that is no UTF-8") from error


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
