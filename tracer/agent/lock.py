"""One agent a folder: it holds the lock as long as any of its processes may write, and says there who it is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path

from tracer.errors import NstraceError

_NAME = "agent.lock"
_PATIENCE_S, _LOOK_S = 5.0, 0.1  # one that was killed: its recorder ends by itself
_MOST_S = 20.0  # so long it is waited for one that writes, and has much to write


def take(folder: Path) -> int:
    """A descriptor that holds the lock; children share it. Raises NstraceError where another agent has it."""
    fd = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + _PATIENCE_S
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        if time.monotonic() >= until:
            holder = _pid_in(fd)
            os.close(fd)
            raise NstraceError(
                f"an agent records to {folder} already: PID {holder}", "stop it, or name another [record] folder"
            )
        time.sleep(_LOOK_S)
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def holder(folder: Path) -> int | None:
    """The PID of the agent that records there; None: none does. Raises OSError where one may not look."""
    try:
        fd = os.open(folder / _NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _pid_in(fd)
    finally:
        os.close(fd)


def say_settled(fd: int, until_ns: int) -> None:
    """Say that all until then is on the disk (wall clock): the time of the lock says it."""
    os.utime(fd, ns=(until_ns, until_ns))


def have_written(folder: Path) -> bool:
    """Have the agent, where one records there, write all until now. Whether it has: it is waited for, longer while it
    writes. Raises OSError."""
    now_ns, pid = time.time_ns(), holder(folder)
    if not pid:
        return False
    with contextlib.suppress(ProcessLookupError):  # it was killed; what is below it ends
        os.kill(pid, signal.SIGUSR1)
    began_s = heard_s = time.monotonic()
    seen = _bytes_in(folder)
    while os.stat(folder / _NAME).st_mtime_ns < now_ns:  # noqa: PTH116 - ns
        now_s = time.monotonic()
        if now_s >= min(heard_s + _PATIENCE_S, began_s + _MOST_S):
            return False
        before, seen = seen, _bytes_in(folder)
        heard_s = now_s if seen != before else heard_s
        time.sleep(_LOOK_S / 10)
    return True


def _bytes_in(folder: Path) -> int:
    """How much the agent has written; one file may go meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        return sum(one.stat().st_size for one in os.scandir(folder) if one.is_file(follow_symlinks=False))
    return 0


def _pid_in(fd: int) -> int:
    text = os.pread(fd, 16, 0).strip()
    return int(text) if text.isdigit() else 0
