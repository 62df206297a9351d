"""Descriptors that a forked process keeps."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def keep_only(*kept: int) -> None:
    """Close all descriptors except these; 0, 1 and 2 become /dev/null. For a process that forks nothing more, or comes
    from one whose libraries have begun no threads. kept: all above 2. Raises OSError."""
    keep_blind(*kept)
    for fd in _held():
        if fd > 2 and fd not in kept:
            with contextlib.suppress(OSError):  # it includes the descriptor that read the list
                os.close(fd)


def keep_blind(*kept: int) -> None:
    """Put /dev/null in the place of all descriptors except these, for a process that was forked and forks others:
    libraries of the process that it comes from close their own in every child (pthread_atfork(3)), Arrow aborts where
    that fails, and by then the numbers would be of something else. kept: all above 2. Raises OSError."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for fd in _held():
        if fd > 2 and fd not in (null, *kept):
            os.dup2(null, fd, inheritable=False)


def _held() -> list[int]:
    return [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
