"""The bytes of recordings: files and pipes, opened so that none can make us wait for ever."""

from __future__ import annotations

import errno
import os
import resource
import select
import shlex
import stat
import weakref
from collections.abc import Callable
from typing import Protocol

from tracer.errors import ExitCode, NstraceError

_CHUNK_BYTES = 1 << 20
_WAIT_MS = 200
_RECORD = "nstrace record -w FILE makes a recording"
_OTHER_FILES = 256  # beside recordings


class Input(Protocol):
    """Bytes in order."""

    @property
    def at(self) -> int:
        """The position, in bytes from the beginning."""

    def read(self, length: int) -> bytes:
        """The next bytes, fewer than length only at the end."""

    def skip(self, length: int) -> int:
        """Skip the next bytes. Returns how many there were."""

    def unread(self, data: bytes) -> None:
        """Put back bytes that were read last."""


class FileInput:
    """A regular file. What is skipped is not read. is_ours: the descriptor is closed with the last reader of it."""

    def __init__(self, fd: int, is_ours: bool = False) -> None:
        self._fd = fd
        self._opened: FileInput | None = None  # whose descriptor we read from
        if is_ours:
            weakref.finalize(self, os.close, fd)
        self._begin = self.at = os.lseek(fd, 0, os.SEEK_CUR)

    @property
    def size(self) -> int:
        """The length of the file now, in bytes."""
        return os.fstat(self._fd).st_size

    def again(self) -> FileInput:
        """The same file from its beginning, with a position of its own."""
        other = FileInput(self._fd)
        other._opened, other.at = self._opened or self, self._begin
        return other

    def read(self, length: int) -> bytes:
        """As `Input.read`."""
        parts = []
        while length and (part := os.pread(self._fd, min(length, _CHUNK_BYTES), self.at)):
            parts.append(part)
            self.at += len(part)
            length -= len(part)
        return b"".join(parts)

    def skip(self, length: int) -> int:
        """As `Input.skip`."""
        length = max(0, min(length, self.size - self.at))
        self.at += length
        return length

    def unread(self, data: bytes) -> None:
        """As `Input.unread`."""
        self.at -= len(data)

    def skip_hole(self) -> None:
        """Go on to where a sparse file has data, or ends."""
        try:
            self.at = max(self.at, os.lseek(self._fd, self.at, os.SEEK_DATA))
        except OSError as error:
            if error.errno == errno.ENXIO:  # none behind here; another error: not on this file system
                self.at = max(self.at, self.size)


class BytesInput:
    """Bytes that are in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def read(self, length: int) -> bytes:
        """As `Input.read`."""
        part = self._data[self.at : self.at + length]
        self.at += len(part)
        return part

    def skip(self, length: int) -> int:
        """As `Input.skip`."""
        length = max(0, min(length, len(self._data) - self.at))
        self.at += length
        return length

    def unread(self, data: bytes) -> None:
        """As `Input.unread`."""
        self.at -= len(data)


class StreamInput:
    """A pipe or socket. keep_waiting: called while no data comes; where it returns False, the stream ends there.

    ahead: what was read of it before; b"": it has ended already. has_ended: its end has been read.
    """

    def __init__(self, fd: int, ahead: bytes | None = None) -> None:
        self._fd = fd
        self._ahead = ahead or b""
        self.has_ended = ahead == b""
        self.at = 0
        self.keep_waiting: Callable[[], bool] = lambda: True
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)

    def read(self, length: int) -> bytes:
        """As `Input.read`."""
        parts = [self._ahead[:length]]
        self._ahead = self._ahead[length:]
        length -= len(parts[0])
        while length and (part := self._next(min(length, _CHUNK_BYTES))):
            parts.append(part)
            length -= len(part)
        whole = b"".join(parts)
        self.at += len(whole)
        return whole

    def _next(self, length: int) -> bytes:
        if self.has_ended:
            return b""
        while not self._poll.poll(_WAIT_MS):
            if not self.keep_waiting():
                return b""
        data = os.read(self._fd, length)
        self.has_ended = not data
        return data

    def skip(self, length: int) -> int:
        """As `Input.skip`."""
        skipped = 0
        while part := self.read(min(length - skipped, _CHUNK_BYTES)):
            skipped += len(part)
        return skipped

    def unread(self, data: bytes) -> None:
        """As `Input.unread`."""
        self._ahead = data + self._ahead
        self.at -= len(data)


def _first(fd: int) -> bytes | None:
    """What a FIFO holds, without waiting; b"" where no process writes it. poll(2) does not distinguish the two."""
    try:
        return os.read(fd, _CHUNK_BYTES)
    except BlockingIOError:
        return None
    finally:
        os.set_blocking(fd, True)


def open_input(name: str) -> FileInput | StreamInput:
    """The bytes of a recording; "-" is stdin. Never waits for a process to write a FIFO. Raises NstraceError."""
    try:
        fd = 0 if name == "-" else os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(name, error) from error
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return FileInput(fd, is_ours=name != "-")
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        return StreamInput(fd, None if name == "-" else _first(fd))
    what = "a folder" if stat.S_ISDIR(mode) else "a terminal" if os.isatty(fd) else "a device"
    raise NstraceError(f"{'stdin' if name == '-' else name} is {what}, not a recording", _RECORD)


def _unreadable(name: str, error: OSError) -> NstraceError:
    """The error for a file that cannot be opened."""
    if error.errno == errno.ENOENT:
        longer = next((meant for meant in (f"{name}.arrows", f"{name}s") if os.path.lexists(meant)), None)
        hint = f"did you mean {longer}?" if longer else _RECORD
        return NstraceError(f"no such file: {name}", hint)
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = (
            f"ls -l {shlex.quote(name)} shows its owner; a recording made with sudo belongs to the user who called it"
        )
        return NstraceError(f"{name} cannot be read: {error.strerror}", hint, ExitCode.NOT_PERMITTED)
    return NstraceError(f"{name} cannot be read: {error.strerror}", _RECORD)


def open_regular(name: str) -> FileInput:
    """As `open_input`, for a name that nobody has chosen: only a regular file is opened. Raises NstraceError."""
    if not isinstance(opened := open_input(name), FileInput):
        opened.close()
        raise NstraceError(f"{name} is not a regular file", "name it to read it all the same")
    return opened


def allow_many_files(count: int) -> None:
    """Let this process open so many files at once: the usual limit is 1024. Raises NstraceError where that is not
    allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or wanted <= soft or count <= 1:
        return
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise NstraceError(
            f"{count} files are more than can be open at once ({hard})",
            "raise the limit (ulimit -Hn), or read fewer files at once",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
