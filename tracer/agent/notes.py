"""The packet by which the recorder says that a trigger's condition was true: numbers, and two parts of a file's name,
which its receiver holds to what may be in one."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

_NAME_BYTES = 40
_NOTE = struct.Struct(f"=IQq{_NAME_BYTES}s{_NAME_BYTES}s")
_MAX_WALL_NS = 1 << 63
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.-]+")
_SAFE = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{_NAME_BYTES - 1}}}", re.ASCII)


class Note(NamedTuple):
    """The condition of trigger number `trigger` was true at at_ns (boottime). wall_offset_ns: wall clock minus boottime
    in the recording that has the event. container, cause: parts of a name."""

    trigger: int
    at_ns: int
    wall_offset_ns: int
    container: str
    cause: str


def pack(note: Note) -> bytes:
    """The packet; what may not be in a file's name is replaced."""
    return _NOTE.pack(note.trigger, note.at_ns, note.wall_offset_ns, _part(note.container), _part(note.cause))


def unpack(packet: bytes, count: int) -> Note | None:
    """The note in a packet; None: it is none that a recorder sends. count: of the triggers."""
    if len(packet) != _NOTE.size:
        return None
    number, at_ns, offset_ns, *parts = _NOTE.unpack(packet)
    container, cause = (part.rstrip(b"\0").decode("ascii", "replace") for part in parts)
    if number >= count or not 0 < at_ns + offset_ns < _MAX_WALL_NS:
        return None
    if not (_SAFE.fullmatch(container) and _SAFE.fullmatch(cause)):
        return None
    return Note(number, at_ns, offset_ns, container, cause)


def _part(text: str) -> bytes:
    return (_FORBIDDEN.sub("_", text).lstrip(".-")[:_NAME_BYTES] or "_").encode()
