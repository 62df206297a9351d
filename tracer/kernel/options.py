"""What the programs are compiled for. The loader child imports this too: it imports as little as it can."""

from __future__ import annotations

import os
from typing import NamedTuple

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
"""The page size of this kernel: 4 KiB on x86, 4, 16 or 64 KiB on arm64."""


class LoadOptions(NamedTuple):
    """What the programs are compiled for. ring_bytes: a size that `ring_bytes_for` returns."""

    ring_bytes: int = 16 << 20
    max_args_bytes: int = 4096
    threads: bool = False


def ring_bytes_for(least_bytes: int) -> int:
    """The size of the smallest ring that the kernel makes with room for so many bytes: a power of two, in whole pages
    (ringbuf_map_alloc(), kernel/bpf/ringbuf.c)."""
    return max(PAGE_BYTES, 1 << (least_bytes - 1).bit_length())
