"""How this process uses memory."""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_KEPT_BYTES, _LARGE_BYTES = 64 << 20, 32 << 20
_SMALL_BYTES = 8 << 20
_MADV_DONTNEED = 4
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ (\d+)")  # a head in /proc/PID/smaps, proc(5)


def keep_freed(kept_bytes: int = _KEPT_BYTES) -> None:
    """Let the next batch of events reuse what the last one freed, so many bytes at the most, instead of having the
    kernel clear new pages for each: some 0.2 us an event less. Without glibc nothing changes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_THRESHOLD, min(_LARGE_BYTES, kept_bytes // 2))
        mallopt(_M_TRIM_THRESHOLD, kept_bytes)


def share_pool() -> None:
    """Let Arrow, which is not imported yet, take memory from the C library, as all others do: its own pool keeps what
    is freed for itself. For this process and its children."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def stay_small() -> None:
    """For a process that is always there: what it needed once is not kept for it. Call it where all is imported, and no
    thread runs: the pages of libraries that were read for that alone leave its memory, and come back where they are
    used again."""
    keep_freed(_SMALL_BYTES)
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start, end in untouched_files(Path("/proc/self/smaps").read_text()):
        libc.madvise(start, end - start, _MADV_DONTNEED)  # they stay in the kernel's cache


def untouched_files(smaps: str) -> list[tuple[int, int]]:
    """The private mappings of files, as (start, end), that cannot be written to and have not been: what is mapped is
    what is in the file. smaps: of /proc/PID/smaps."""
    found, is_files = [], False
    start = end = 0
    for line in smaps.splitlines():
        if head := _MAPPING.match(line):
            start, end = int(head[1], 16), int(head[2], 16)
            is_files = head[4] != "0" and head[3].endswith("p") and "w" not in head[3]
        elif is_files and line.startswith("Anonymous:") and line.split()[1] == "0":
            found.append((start, end))
    return found
