"""Which numbers of which PID namespaces a batch is about: a small set in its metadata, so that a question about some
numbers skips a batch unread.

A key is 32 bits: 10 of a hash of the namespace's inode number, 22 of the number in it. Two namespaces may share their
bits: what is not in the set is not in the batch, what is in the set may be. The set is sorted, its differences packed:
consecutive PIDs take next to nothing.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.stream.batch import NUMBER, Batch, of_kind
from tracer.stream.schema import INLINE_LEVELS, PROCESS_KINDS
from tracer.system.host_pidns import INITIAL_PIDNS_INUM

KeyArray = NDArray[np.uint32]
MAX_KEYS = 1 << 17
"""Of a batch; one with more has no set."""
LEAST_BYTES, BYTES_A_ROW = 160, 0.64
"""What the set of a batch may take: 4 % of the 4 KiB that the smallest batch has, and of 16 bytes a row."""
_NR_MASK = np.uint32((1 << 22) - 1)
_SPACE_MASK = np.uint32(0xFFC00000)
_SPREAD = np.uint32(2654435761)  # Knuth's: inode numbers follow one another
_SHIFTS = (0, 4, 8, 12)  # numbers in groups of 16, of 256, of 4096
_CODEC = pa.Codec("zstd", compression_level=1)


class Keys(NamedTuple):
    """The set. values: sorted, each without its `shift` lowest bits."""

    shift: int
    values: KeyArray

    def may_have(self, wanted: KeyArray) -> NDArray[np.bool_]:
        """Which of these keys may be in it, shape (n,)."""
        if not len(self.values):
            return np.zeros(len(wanted), bool)
        short = wanted >> np.uint32(self.shift)
        found = np.minimum(np.searchsorted(self.values, short), len(self.values) - 1)
        result: NDArray[np.bool_] = self.values[found] == short
        return result

    def may_have_number(self, numbers: KeyArray) -> NDArray[np.bool_]:
        """Which of these numbers may be in it, in whatever namespace, shape (n,)."""
        shift = np.uint32(self.shift)
        return np.isin(numbers >> shift, self.values & (_NR_MASK >> shift))


def keys_in(inums: NDArray[np.uint64] | NDArray[np.uint32], numbers: NDArray[np.uint32]) -> KeyArray:
    """The key of each number, in the namespace with this inode number; shapes (n,)."""
    spaces: KeyArray = inums.astype(np.uint32) * _SPREAD & _SPACE_MASK
    return spaces | numbers & _NR_MASK


_HOST = keys_in(np.array([INITIAL_PIDNS_INUM], np.uint64), np.zeros(1, np.uint32))[0]


def host_keys(pids: Iterable[int]) -> KeyArray:
    """The keys of PIDs on the host."""
    keys: KeyArray = _HOST | np.fromiter(pids, np.uint32) & _NR_MASK
    return keys


def keys_of(batch: Batch) -> KeyArray:
    """The keys of all numbers of the processes in a batch, sorted, each once."""
    rows = batch.rows
    is_process = of_kind(rows, *PROCESS_KINDS)
    level, chain = np.where(is_process, rows["level"], 0), rows["chain"]
    tgid = rows["tgid"] if is_process.all() else rows["tgid"][is_process]
    parts = [_HOST | tgid & _NR_MASK]
    for depth in range(INLINE_LEVELS):
        inside = level > depth
        if not inside.any():
            break
        numbers = chain[:, depth] if inside.all() else chain[inside, depth]
        parts.append(keys_in(numbers["inum"], numbers["nr"]))
    for at in np.flatnonzero(rows["deep_len"] > rows["killer_len"]).tolist():
        deep = np.frombuffer(batch.payload(at).deep, NUMBER)
        parts.append(keys_in(deep["inum"], deep["nr"]))
    return _distinct(np.concatenate(parts))


def _distinct(keys: KeyArray) -> KeyArray:
    keys = np.sort(keys)
    is_first = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
    return keys[is_first]


def packed(keys: KeyArray, rows: int) -> str:
    """The set of these keys (sorted, distinct) as text, of a batch of so many rows; "": it would be too large."""
    room = LEAST_BYTES + int(BYTES_A_ROW * rows)
    for shift in _SHIFTS if len(keys) <= MAX_KEYS else ():
        short = _distinct(keys >> np.uint32(shift)) if shift else keys
        by_byte = np.diff(short, prepend=np.uint32(0)).view(np.uint8).reshape(-1, 4).T.tobytes()
        text = binascii.b2a_base64(_CODEC.compress(by_byte, asbytes=True), newline=False)
        if len(text) <= room:
            return f"{shift} {len(short)} {text.decode()}"
    return ""


def unpacked(text: str) -> Keys | None:
    """The set in a text of `packed`; None: there is none that can be read, and the batch may be about any number."""
    try:
        shift, count, data = text.split(" ")
        if not (int(shift) in _SHIFTS and 0 <= int(count) <= MAX_KEYS):
            return None
        raw = _CODEC.decompress(binascii.a2b_base64(data, strict_mode=True), 4 * int(count), asbytes=True)
    except (ValueError, pa.ArrowException, OSError):
        return None
    if len(raw) != 4 * int(count):
        return None
    steps = np.ascontiguousarray(np.frombuffer(raw, np.uint8).reshape(4, -1).T).view("<u4").reshape(-1)
    return Keys(int(shift), np.cumsum(steps, dtype=np.uint32))
