"""How far a publisher has come, on disk: what is written is there after any kill, or what was there before it."""

from __future__ import annotations

import os
import struct
import zlib

import msgspec

from tracer.errors import NstraceError

_SLOT_BYTES = 16384
_HEAD = struct.Struct("<8sQII")  # magic, generation, length, CRC-32 of generation and data
_MAGIC = b"NSTRACE\1"


class Planned(msgspec.Struct, frozen=True):
    """A message that may have been sent: it is sent again as it was, whatever has become of the batches in the file.

    part, first_row, end_row: which rows of which file of the run. since_ns, until_ns: of a loss, which has no rows:
    from when to when it was (boottime)."""

    sequence: int
    part: int
    first_row: int
    end_row: int
    since_ns: int = 0
    until_ns: int = 0
    is_loss: bool = False


class Place(msgspec.Struct, frozen=True):
    """session: the run of nstrace that has recorded it. run: that, and what distinguishes this publication of it from
    another; part, row: the file and the row that come next; with_carried: whether the rows at the beginning of that
    file which repeat the one before are published; sequence: the number of the latest message that is stored;
    last_ns: of its last row (boottime); began_ns: when that file was begun (wall clock). metadata: of the file."""

    session: str
    run: str
    part: int
    row: int
    with_carried: bool
    sequence: int
    last_ns: int
    began_ns: int
    metadata: dict[str, str]
    planned: Planned | None = None


class PlaceFile:
    """Two slots, written in turn: where a write is cut off, the other one has what was before. fd: an open file, to
    read and to write. Raises NstraceError where it is of something else."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd, self._name, self._generation = fd, name, 0
        self.place: Place | None = None
        slots = [self._slot(number) for number in (0, 1)]
        found = [slot for slot in slots if slot is not None]
        if not found and os.fstat(fd).st_size > 2 * _SLOT_BYTES:
            raise self._foreign()
        if found:
            self._generation, data = max(found)
            try:
                self.place = msgspec.msgpack.decode(data, type=Place)
            except msgspec.MsgspecError as error:
                raise self._foreign() from error

    def _foreign(self) -> NstraceError:
        return NstraceError(f"{self._name} is not the state of a publisher", "name another file with --state")

    def _slot(self, number: int) -> tuple[int, bytes] | None:
        slot = os.pread(self._fd, _SLOT_BYTES, number * _SLOT_BYTES)
        if len(slot) < _HEAD.size:
            return None
        magic, generation, length, crc = _HEAD.unpack_from(slot)
        data = slot[_HEAD.size : _HEAD.size + length]
        if magic != _MAGIC or len(data) < length or _crc(generation, data) != crc:
            return None
        return generation, data

    def write(self, place: Place) -> None:
        """Remember it; returns when it is on the disk. Raises OSError."""
        data = msgspec.msgpack.encode(place)
        assert len(data) <= _SLOT_BYTES - _HEAD.size
        generation = self._generation + 1
        slot = _HEAD.pack(_MAGIC, generation, len(data), _crc(generation, data)) + data
        os.pwrite(self._fd, slot.ljust(_SLOT_BYTES, b"\0"), (generation % 2) * _SLOT_BYTES)
        os.fdatasync(self._fd)
        self._generation, self.place = generation, place


def _crc(generation: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(struct.pack("<Q", generation)))
