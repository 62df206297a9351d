"""How a process of ours is forked."""

from __future__ import annotations

import gc
import os


def fork() -> int:
    """As `os.fork`; parent and child share the memory of all that lives now for longer: the collector of garbage, which
    writes to every object that it looks at, leaves these alone from now on, in both."""
    gc.freeze()
    return os.fork()
