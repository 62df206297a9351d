"""Children of ours in other PID namespaces: setns(2), unshare(2), a /proc of their own."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from tracer.system.libc import call

CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 16384, 1 << 18


@contextlib.contextmanager
def children_elsewhere() -> Iterator[None]:
    """A context in which a setns or unshare with CLONE_NEWPID holds for the children that are forked; later ones are
    born in our own namespace again."""
    ours = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        call("setns", ours, CLONE_NEWPID)
        os.close(ours)


def mount_own_proc() -> None:
    """Mount the /proc of this process's PID namespace, in a mount namespace of its own."""
    call("unshare", CLONE_NEWNS)
    call("mount", b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None)
    call("mount", b"proc", b"/proc", b"proc", ctypes.c_ulong(MS_NOSUID | MS_NODEV | MS_NOEXEC), None)


def close_own(*kept: int) -> None:
    """Close what an exec would close, in a child that does not exec: all descriptors except those that our parent
    passed on to us, and those that the child needs."""
    for fd in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        with contextlib.suppress(OSError):  # it includes the descriptor that read the list
            if fd not in kept and not os.get_inheritable(fd):
                os.close(fd)
