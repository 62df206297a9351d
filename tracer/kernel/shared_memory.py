"""Memory that we share with the programs: maps of eBPF, mapped."""

from __future__ import annotations

import mmap


def shared_memory(fd: int, length: int, protection: int, offset: int = 0) -> mmap.mmap:
    """A mapping of a map that a forked child does not inherit (MADV_DONTFORK, madvise(2))."""
    mapped = mmap.mmap(fd, length, mmap.MAP_SHARED, protection, offset=offset)
    mapped.madvise(mmap.MADV_DONTFORK)
    return mapped
