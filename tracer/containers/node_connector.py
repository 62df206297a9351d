"""The privileged side of asking a node: starts tools and lists folders, and parses nothing of what they say.

Each answer is a descriptor: of a pipe that a tool writes to, or of a file in memory with names. A tool is one of a
table (tracer.containers.node_questions), found in a folder that is root's alone, started without a shell, with an
environment of its own, without any capability and, where its runtime answers others than root, as nobody; it has 2 s.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import socket
import stat
import time
from functools import cache
from pathlib import Path
from typing import NoReturn

from tracer.containers.node_questions import LOGS, TOOLS, Tool, argv_of, place_and_words
from tracer.system.libc import call
from tracer.system.limits import lower_limits

TOOL_S = 2.0
"""So long a tool may run."""
_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/var/lib/rancher/rke2/bin")
_ENVIRONMENT = {"PATH": ":".join(_PATH), "LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "INCUS_CONF": "/nonexistent"}
_NOBODY = 65534
_MAX_NAMES, _MAX_NAMES_BYTES = 1 << 16, 1 << 24
_MAX_RUNNING = 12
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_PR_SET_PDEATHSIG = 1
_LIMITS = {
    resource.RLIMIT_CPU: 2,
    resource.RLIMIT_DATA: 1 << 30,
    resource.RLIMIT_NOFILE: 256,
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_CORE: 0,
}
"""Of a tool; CPU in s."""


def useful_tools() -> list[int]:
    """The places in TOOLS of those that are installed, and whose runtime is there; none where we are not root."""
    if os.geteuid():
        return []
    return [at for at, tool in enumerate(TOOLS) if _is_used(tool.needs) and path_of(tool.name)]


def useful_logs() -> list[int]:
    """The places in LOGS of the folders that are there, and that root alone writes."""
    return [at for at, folder in enumerate(LOGS) if _is_roots(folder)]


def _is_used(path: str) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISSOCK(Path(path).stat().st_mode) or next(Path(path).iterdir(), None) is not None
    return False


@cache
def path_of(name: str) -> str | None:
    """The absolute path of a tool; None: it is not installed where root alone could have put it."""
    for folder in _PATH:
        with contextlib.suppress(OSError):
            found = Path(folder, name).resolve(strict=True)
            if os.access(found, os.X_OK) and all(_is_roots(str(part)) for part in (found, *found.parents)):
                return f"{folder}/{name}"  # by this name: one file may be several tools
    return None


def _is_roots(path: str) -> bool:
    with contextlib.suppress(OSError):
        found = Path(path).stat()
        return found.st_uid == 0 and not found.st_mode & _OTHERS_WRITE
    return False


class Tools:
    """Those that run now, and until when. Ends them when their time is over."""

    def __init__(self) -> None:
        self._until_s: dict[int, float] = {}

    def answer(self, packet: bytes) -> tuple[int, int | None]:
        """0 and a descriptor, or an errno."""
        self.reap()
        if len(self._until_s) >= _MAX_RUNNING:
            return errno.EAGAIN, None
        try:
            place, words = place_and_words(packet)
            tool = TOOLS[place]
            argv = argv_of(tool, words)
        except (ValueError, IndexError):
            return errno.EINVAL, None
        path = path_of(tool.name)
        if path is None:
            return errno.ENOENT, None
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            _run(tool, path, argv, theirs)
        os.close(theirs)
        self._until_s[pid] = time.monotonic() + TOOL_S
        return 0, ours

    def reap(self, all_of_them: bool = False) -> None:
        """Note which have ended, and end those whose time is over, with all that they have started."""
        for pid, until_s in list(self._until_s.items()):
            is_over = all_of_them or time.monotonic() >= until_s
            if is_over:
                _kill(pid)
            if is_over or os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                _kill(pid)  # its number is its own until it is waited for
                os.waitpid(pid, 0)
                del self._until_s[pid]

    def due_ms(self) -> int | None:
        """In how many milliseconds `reap` has something to do; None: it has nothing."""
        if not self._until_s:
            return None
        return max(1, int((min(self._until_s.values()) - time.monotonic()) * 1000) + 1)


def _kill(pid: int) -> None:
    """Kill a tool, and what it has started, which is in a group of its own."""
    for send in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            send(pid, signal.SIGKILL)


def _run(tool: Tool, path: str, argv: list[str], out: int) -> NoReturn:
    from tracer.system import privileges

    try:
        os.setsid()
        os.chdir("/")
        call("prctl", _PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        os.dup2(out, 1)  # 0 and 2 are /dev/null; all else is close-on-exec
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        lower_limits(_LIMITS)
        if not tool.is_roots and privileges.is_root():
            privileges.become(_NOBODY, _NOBODY)
        privileges.renounce()
        os.execve(path, argv, _ENVIRONMENT)
    finally:
        os._exit(127)


def names_in(packet: bytes) -> tuple[int, int | None]:
    """0 and the descriptor of a file in memory, or an errno: each name in a folder, and where it leads to (empty: it is
    no link), both ended by a NUL."""
    try:
        place, words = place_and_words(packet)
        folder = LOGS[place]
    except (ValueError, IndexError):
        return errno.EINVAL, None
    if words or not _is_roots(folder):
        return errno.ENOENT, None
    try:
        written = os.memfd_create("names", os.MFD_CLOEXEC)
        with os.fdopen(os.dup(written), "wb") as file:
            file.write(_listed(folder))
        os.lseek(written, 0, os.SEEK_SET)
    except OSError as error:
        return error.errno or errno.EIO, None
    return 0, written


def _listed(folder: str) -> bytes:
    found = bytearray()
    with os.scandir(folder.encode()) as entries:
        for count, entry in enumerate(entries):
            if count == _MAX_NAMES or len(found) > _MAX_NAMES_BYTES:
                break
            target = b""
            with contextlib.suppress(OSError):
                target = os.readlink(entry.path)  # noqa: PTH115 - of bytes
            found += entry.name + b"\0" + target + b"\0"
    return bytes(found)


def send(connections: socket.socket, code: int, tag: int, descriptor: int | None) -> None:
    """Send an answer; the descriptor is closed. Raises OSError."""
    try:
        socket.send_fds(connections, [bytes([code, tag])], [] if descriptor is None else [descriptor])
    finally:
        if descriptor is not None:
            os.close(descriptor)
