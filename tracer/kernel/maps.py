"""The maps that the reader shares with the programs: counters, decisions, and what the reader is at.

bpf(2) through libbpf: with the descriptors in hand none of it needs a capability (Linux 5.19, c8644cd0efe7).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from tracer.errors import NstraceError
from tracer.events import Kind
from tracer.selection import Decision

_PAIR = struct.Struct("<QQII")  # struct pair, bpf/task.h
_KINDS = 8
_COUNTS = struct.Struct(f"<QII{4 * _KINDS}Q")  # struct counts, bpf/nstrace.bpf.c
_FOLLOW, _IGNORE = 1, 2


class Reader(IntEnum):
    """What the reader is at, as the programs know it."""

    AT_WORK = 0
    ASLEEP = 1


@dataclass(frozen=True)
class Account:
    """What the programs counted, all CPUs together, by kind; next_seq by CPU."""

    next_seq: dict[int, int]
    filtered: dict[Kind, int]
    attempts: dict[Kind, int]
    submitted: dict[Kind, int]
    failed: dict[Kind, int]


class Maps:
    """Access to the maps by their descriptors."""

    def __init__(self, counts: int, decisions: int, wake: int) -> None:
        self._bpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
        self._counts, self._decisions, self._wake = counts, decisions, wake
        self._cpus = int(self._bpf.libbpf_num_possible_cpus())
        self._look = 0

    def say(self, reader: Reader) -> None:
        """Tell the programs what the reader does now; each call counts as a look at the ring."""
        self._look = (self._look + 1) & 0xFFFFFFFF
        self._update(self._wake, struct.pack("<I", 0), struct.pack("<II", reader, self._look))

    def decide(self, decisions: Iterable[Decision]) -> None:
        """Let the programs follow or ignore a namespace and cgroup from now on."""
        for pidns, cgroup_id, follow in decisions:
            key = _PAIR.pack(pidns.gen, cgroup_id, pidns.inum, 0)
            self._update(self._decisions, key, struct.pack("<I", _FOLLOW if follow else _IGNORE))

    def account(self) -> Account:
        """The programs' counters now."""
        buffer = ctypes.create_string_buffer(_COUNTS.size * self._cpus)
        key = ctypes.c_uint32(0)
        if self._bpf.bpf_map_lookup_elem(self._counts, ctypes.byref(key), buffer):
            raise NstraceError(f"the counters cannot be read: {os.strerror(ctypes.get_errno())}")
        cpus = list(_COUNTS.iter_unpack(buffer.raw))
        groups = [
            {kind: sum(cpu[3 + group * _KINDS + kind] for cpu in cpus) for kind in Kind if kind < _KINDS}
            for group in range(4)
        ]
        return Account({cpu: values[0] for cpu, values in enumerate(cpus)}, *groups)

    def _update(self, fd: int, key: bytes, value: bytes) -> None:
        if self._bpf.bpf_map_update_elem(fd, key, value, ctypes.c_uint64(0)):
            raise NstraceError(f"a map of the programs cannot be written: {os.strerror(ctypes.get_errno())}")
