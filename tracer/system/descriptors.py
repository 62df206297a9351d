"""Descriptors: those that come over a socket, and those that a forked process keeps."""

from __future__ import annotations

import array
import contextlib
import os
import socket
from pathlib import Path


def receive_fds(channel: socket.socket, max_bytes: int, max_fds: int) -> tuple[bytes, list[int]]:
    """A message and its descriptors, close-on-exec from the first moment: `socket.recv_fds` returns descriptors that
    every started program inherits, and a process that has the ring reads everyone's command lines. Raises OSError."""
    fds = array.array("i")
    space = socket.CMSG_SPACE(max_fds * fds.itemsize)
    message, extra, _flags, _address = channel.recvmsg(max_bytes, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in extra:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return message, fds.tolist()


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
            blind(fd, null)


def blind(fd: int, null: int) -> None:
    """Put /dev/null in the place of a descriptor, or close it where that cannot be: a number above RLIMIT_NOFILE is not
    given again (dup2(2)). null: a descriptor of /dev/null."""
    try:
        os.dup2(null, fd, inheritable=False)
    except OSError:
        with contextlib.suppress(OSError):  # it includes the descriptor that read the list
            os.close(fd)


def _held() -> list[int]:
    return [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
