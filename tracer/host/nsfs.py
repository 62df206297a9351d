"""The only user of the ioctls on descriptors of PID namespaces: ioctl_nsfs(2), include/uapi/linux/nsfs.h.

A kernel that lacks one answers ENOTTY (before Linux 6.11 there is no translation, before 6.18 no id): None here, and
the caller has to use /proc.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator

from tracer.system.host_pidns import INITIAL_PIDNS_INUM

_GET_PARENT = 0xB702
_GET_ID = 0x8008B70D
_PID_FROM_PIDNS = 0x8004B706
_TGID_FROM_PIDNS = 0x8004B707
_TGID_IN_PIDNS = 0x8004B709

MAX_LEVELS = 32  # below the initial namespace: MAX_PID_NS_LEVEL, include/linux/pid_namespace.h


class NotTranslated(Exception):
    """This kernel does not translate numbers (before Linux 6.11)."""


def inum(fd: int) -> int:
    """The namespace's inode number: unique while the descriptor is open."""
    return os.fstat(fd).st_ino


def ns_id(fd: int) -> int | None:
    """The namespace's 64-bit number that is never reused; None: this kernel has none."""
    buffer = bytearray(8)
    try:
        fcntl.ioctl(fd, _GET_ID, buffer)
    except OSError as error:
        if error.errno == errno.ENOTTY:
            return None
        raise
    return int.from_bytes(buffer, "little")


def parent(fd: int) -> int:
    """A descriptor of the namespace around this one, for the caller to close. Raises PermissionError where that cannot
    be read: outside of our own namespace, or of the user namespace that we may look into."""
    return fcntl.ioctl(fd, _GET_PARENT, 0)


@contextlib.contextmanager
def ancestry(fd: int) -> Iterator[list[int]]:
    """Descriptors of the namespace (the given one) and of those around it, innermost first, without the initial one;
    closed at the end."""
    found = [fd]
    try:
        while len(found) <= MAX_LEVELS:
            around = parent(found[-1])
            found.append(around)
            if inum(around) == INITIAL_PIDNS_INUM:
                break
        yield found[:-1]
    finally:
        for opened in found[1:]:
            os.close(opened)


def host_tgid(fd: int, nr: int) -> int | None:
    """The PID, in our namespace, of the process with number nr in this namespace (of a thread: its process's); None: no
    process has this number. Raises NotTranslated where the kernel cannot translate."""
    return _translated(fd, _TGID_FROM_PIDNS, nr)


def host_tid(fd: int, nr: int) -> int | None:
    """As host_tgid, but for a process or a thread its own number."""
    return _translated(fd, _PID_FROM_PIDNS, nr)


def number_in(fd: int, tgid: int) -> int | None:
    """The number in this namespace of a process with PID tgid in ours; None: it has none there, or does not exist.
    Raises NotTranslated where the kernel cannot translate."""
    return _translated(fd, _TGID_IN_PIDNS, tgid)


def _translated(fd: int, request: int, nr: int) -> int | None:
    try:
        return fcntl.ioctl(fd, request, nr)
    except OSError as error:
        if error.errno == errno.ESRCH:
            return None
        if error.errno == errno.ENOTTY:
            raise NotTranslated from error
        raise
