"""What the probes cost in the kernel: runs and ns of each program, as the kernel counts them on request."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_SYSCTL = Path("/proc/sys/kernel/bpf_stats_enabled")
_INFO_BYTES = 232  # struct bpf_prog_info, include/uapi/linux/bpf.h; where in there:
_JITED_LEN, _XLATED_LEN, _NAME, _RUN_TIME, _RUN_COUNT, _VERIFIED = 16, 20, 64, 192, 200, 216


class Program(NamedTuple):
    """One loaded program. instructions: after the verifier; verified: how many the verifier processed."""

    name: str
    instructions: int
    jited_bytes: int
    verified: int
    runs: int
    ns: int


@contextlib.contextmanager
def counting() -> Iterator[None]:
    """Make the kernel count runs and ns: it reads the clock before and after each run, so not while else is timed."""
    before = _SYSCTL.read_text()
    _SYSCTL.write_text("1")
    try:
        yield
    finally:
        _SYSCTL.write_text(before)


def programs() -> dict[int, Program]:
    """All programs of the kernel by their ids."""
    libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    found = {}
    number = ctypes.c_uint32(0)
    while not libbpf.bpf_prog_get_next_id(number, ctypes.byref(number)):
        fd = libbpf.bpf_prog_get_fd_by_id(number)
        if fd < 0:
            continue  # unloaded meanwhile
        info, length = ctypes.create_string_buffer(_INFO_BYTES), ctypes.c_uint32(_INFO_BYTES)
        libbpf.bpf_obj_get_info_by_fd(fd, info, ctypes.byref(length))
        os.close(fd)
        found[number.value] = _program(info.raw)
    return found


def _program(raw: bytes) -> Program:
    def u32(at: int) -> int:
        return int(struct.unpack_from("<I", raw, at)[0])

    ns, runs = struct.unpack_from("<QQ", raw, _RUN_TIME)
    name = raw[_NAME : _NAME + 16].split(b"\0")[0].decode()
    return Program(name, u32(_XLATED_LEN) // 8, u32(_JITED_LEN), u32(_VERIFIED), runs, ns)
