"""What the programs are compiled for. The loader child imports this too: it imports as little as it can."""

from __future__ import annotations

from typing import NamedTuple


class LoadOptions(NamedTuple):
    """What the programs are compiled for. ring_pages: a power of two, of 4 KiB."""

    ring_pages: int = 4096
    max_args_bytes: int = 4096
    threads: bool = False
