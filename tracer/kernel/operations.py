"""What the maps and programs need privileges for, as operations of fixed sizes (tracer.system.broker).

bpf(2) through libbpf. A reader without privileges has no bpf(2): it asks.
"""

from __future__ import annotations

import ctypes
import os
import struct

from tracer.kernel.loader_client import Loaded
from tracer.kernel.subject import Subject
from tracer.system.broker import Answer, Operation, Operations
from tracer.system.cpus import cpu_count

DECIDE, FORGET, LOSSES, MISSED, TASKS = (
    *("kernel.decide", "kernel.forget", "kernel.losses", "kernel.missed", "kernel.tasks"),
)
START_SUBJECT, END_SUBJECT = "kernel.start_subject", "kernel.end_subject"

MAX_DECISIONS = 64
PAIR = struct.Struct("<QQII")  # struct pair, bpf/task.h; with a decision in the place of its padding
DECISIONS = struct.Struct(f"<I{PAIR.size * MAX_DECISIONS}s")  # how many, and they
MAX_PAIRS = 1024  # the size of the map losses
LOSS_BYTES = 16  # struct loss, bpf/nstrace.bpf.c
MISSES = struct.Struct("<Q")
_INFO_BYTES = 232  # struct bpf_prog_info, include/uapi/linux/bpf.h
_RECURSION_MISSES = 208  # its offset in there; 9ed9e9ba2337 (5.12) added it
_NO_PADDING = 4


class KernelOperations:
    """Performs them with these descriptors."""

    def __init__(self, loaded: Loaded, max_args_bytes: int) -> None:
        self._bpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
        self._loaded = loaded
        self._subject = Subject(max_args_bytes)
        self._cpus = cpu_count()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What it needs: nobody else has to have these."""
        loaded = self._loaded
        return (loaded.decisions, loaded.losses, loaded.iterator, *loaded.programs)

    def operations(self) -> Operations:
        """By name."""
        return {
            DECIDE: Operation(DECISIONS.size, self._decide),
            FORGET: Operation(DECISIONS.size, self._forget),
            LOSSES: Operation(0, self._losses),
            MISSED: Operation(0, self._missed),
            TASKS: Operation(0, self._tasks),
            START_SUBJECT: Operation(1, lambda request: Answer(self._subject.start(apart=request != b"\0"))),
            END_SUBJECT: Operation(0, lambda _request: Answer(self._subject.end())),
        }

    def _decide(self, request: bytes) -> Answer:
        for key, value in _decisions(request):
            self._check(self._bpf.bpf_map_update_elem(self._loaded.decisions, key, value, ctypes.c_uint64(0)))
        return Answer()

    def _forget(self, request: bytes) -> Answer:
        for key, _value in _decisions(request):
            self._bpf.bpf_map_delete_elem(self._loaded.decisions, key)
        return Answer()

    def _losses(self, _request: bytes) -> Answer:
        """The map losses: for each pair its key, and struct loss for as many CPUs as cpu_count()."""
        found = bytearray()
        key, after = None, ctypes.create_string_buffer(PAIR.size)
        values = ctypes.create_string_buffer(LOSS_BYTES * self._cpus)
        for _ in range(MAX_PAIRS):  # if another process deletes a key, the iteration would begin anew for ever
            if self._bpf.bpf_map_get_next_key(self._loaded.losses, key, after):
                break
            key = after.raw
            if not self._bpf.bpf_map_lookup_elem(self._loaded.losses, key, values):
                found += key + values.raw
        return Answer(bytes(found))

    def _missed(self, _request: bytes) -> Answer:
        """How often the kernel did not run a program because it was running on that CPU; 0 where it does not count."""
        missed = 0
        for program in self._loaded.programs:
            info = ctypes.create_string_buffer(_INFO_BYTES)
            length = ctypes.c_uint32(_INFO_BYTES)
            self._check(self._bpf.bpf_obj_get_info_by_fd(program, info, ctypes.byref(length)))
            missed += int.from_bytes(info.raw[_RECURSION_MISSES : _RECURSION_MISSES + 8], "little")
        return Answer(MISSES.pack(missed))

    def _tasks(self, _request: bytes) -> Answer:
        """A descriptor that lists all tasks, by the program nstrace_tasks."""
        fd = self._bpf.bpf_iter_create(self._loaded.iterator)
        self._check(fd < 0)
        return Answer(fds=(fd,))

    @staticmethod
    def _check(failed: int) -> None:
        if failed:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def _decisions(request: bytes) -> list[tuple[bytes, bytes]]:
    """Keys and values of the map decisions."""
    count, pairs = DECISIONS.unpack(request)
    found = []
    for at in range(0, min(count, MAX_DECISIONS) * PAIR.size, PAIR.size):
        key = pairs[at : at + PAIR.size - _NO_PADDING]
        found.append((key + bytes(_NO_PADDING), pairs[at + PAIR.size - _NO_PADDING : at + PAIR.size]))
    return found
