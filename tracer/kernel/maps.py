"""The maps that the reader shares with the programs: counters, decisions, and the state of the reader.

bpf(2) through libbpf: with the descriptors in hand none of it needs a capability (Linux 5.19, c8644cd0efe7).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tracer.errors import NstraceError
from tracer.stream.account import COUNTS
from tracer.stream.losses import Loser
from tracer.stream.selection import Decision

_PAIR = struct.Struct("<QQII")  # struct pair, bpf/task.h
_LOSS = np.dtype([("failed", "<u8"), ("throttled", "<u8")])  # struct loss, bpf/nstrace.bpf.c
_FOLLOW, _IGNORE = 1, 2
_MAX_PAIRS = 1024  # the size of the map losses
_INFO_BYTES = 232  # struct bpf_prog_info, include/uapi/linux/bpf.h
_RECURSION_MISSES = 208  # its offset in there; 9ed9e9ba2337 (5.12) added it


class Reader(IntEnum):
    """The state of the reader, as the programs know it (enum reader_state, bpf/nstrace.bpf.c). CLOSED: they report
    nothing and count nothing."""

    CLOSED = 0
    AT_WORK = 1
    ASLEEP = 2


class Maps:
    """Access to the maps by their descriptors."""

    def __init__(self, counts: int, decisions: int, losses: int, wake: int) -> None:
        self._bpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
        self._counts, self._decisions, self._losses, self._wake = counts, decisions, losses, wake
        self._cpus = int(self._bpf.libbpf_num_possible_cpus())
        self._look = 0

    def say(self, reader: Reader) -> None:
        """Report the reader's state to the programs; each call counts as a look at the ring."""
        self._look = (self._look + 1) & 0xFFFFFFFF
        self._update(self._wake, struct.pack("<I", 0), struct.pack("<II", reader, self._look))

    def decide(self, decisions: Iterable[Decision]) -> None:
        """Make the programs follow or ignore pairs of namespace and cgroup from now on."""
        for pidns, cgroup_id, follow in decisions:
            key = _PAIR.pack(pidns.gen, cgroup_id, pidns.inum, 0)
            self._update(self._decisions, key, struct.pack("<I", _FOLLOW if follow else _IGNORE))

    def forget(self, decisions: Iterable[Decision]) -> None:
        """Make pairs of namespace and cgroup undecided again."""
        for pidns, cgroup_id, _follow in decisions:
            self._bpf.bpf_map_delete_elem(self._decisions, _PAIR.pack(pidns.gen, cgroup_id, pidns.inum, 0))

    def counts(self) -> NDArray[np.void]:
        """The programs' current counters: array of COUNTS, shape (cpus,)."""
        buffer = ctypes.create_string_buffer(COUNTS.itemsize * self._cpus)
        key = ctypes.c_uint32(0)
        if self._bpf.bpf_map_lookup_elem(self._counts, ctypes.byref(key), buffer):
            raise NstraceError(f"the counters cannot be read: {os.strerror(ctypes.get_errno())}")
        return np.frombuffer(buffer.raw, COUNTS)

    def losses(self) -> dict[Loser, NDArray[np.uint64]]:
        """Losses by pair, as far as there was room for pairs: arrays of shape (cpus,)."""
        found = {}
        key, after = None, ctypes.create_string_buffer(_PAIR.size)
        values = ctypes.create_string_buffer(_LOSS.itemsize * self._cpus)
        for _ in range(_MAX_PAIRS):  # if another process deletes a key, the iteration would begin anew for ever
            if self._bpf.bpf_map_get_next_key(self._losses, key, after):
                break
            key = after.raw
            if not self._bpf.bpf_map_lookup_elem(self._losses, key, values):
                gen, cgroup_id, inum, _pad = _PAIR.unpack(key)
                loss = np.frombuffer(values.raw, _LOSS)
                found[Loser((inum, gen, cgroup_id))] = loss["failed"] - loss["throttled"]
                found[Loser((inum, gen, cgroup_id), throttled=True)] = loss["throttled"].copy()
        return found

    def missed(self, program: int) -> int:
        """How often the kernel did not run a program because it was running on that CPU; 0 where it does not count."""
        info = ctypes.create_string_buffer(_INFO_BYTES)
        length = ctypes.c_uint32(_INFO_BYTES)
        if self._bpf.bpf_obj_get_info_by_fd(program, info, ctypes.byref(length)):
            raise NstraceError(f"a program's counters cannot be read: {os.strerror(ctypes.get_errno())}")
        return int.from_bytes(info.raw[_RECURSION_MISSES : _RECURSION_MISSES + 8], "little")

    def _update(self, fd: int, key: bytes, value: bytes) -> None:
        if self._bpf.bpf_map_update_elem(fd, key, value, ctypes.c_uint64(0)):
            raise NstraceError(f"a map of the programs cannot be written: {os.strerror(ctypes.get_errno())}")
