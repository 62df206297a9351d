"""Descriptors that a forked process keeps."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def keep_only(*kept: int) -> None:
    """Close all descriptors except these; 0, 1 and 2 become /dev/null. For a process that was forked and executes
    nothing. kept: all above 2. Raises OSError."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    for fd in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if fd > 2 and fd not in kept:
            with contextlib.suppress(OSError):  # it includes the descriptor that read the list
                os.close(fd)
