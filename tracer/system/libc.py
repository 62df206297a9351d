"""Functions of the C library that Python has no names for."""

from __future__ import annotations

import ctypes
import os


def call(name: str, *args: object) -> None:
    """Call a function that returns 0. Raises OSError with its errno where it returns something else."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*args):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def name_process(name: str) -> None:
    """Set what ps shows of this process as its command: at most 15 bytes. prctl(2), PR_SET_NAME."""
    call("prctl", 15, name.encode(), 0, 0, 0)
