"""Files of recordings: created so that nothing is overwritten, opened so that no file can make us wait for ever."""

from __future__ import annotations

import contextlib
import os
import re
import select
import stat
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from tracer.errors import NstraceError
from tracer.recording.folder import Folder, beside
from tracer.system.privileges import caller

SUFFIX = ".arrows"
_CHUNK_BYTES = 1 << 20
_WAIT_MS = 200


def check_new(path: Path, force: bool) -> None:
    """Raise what `create` would, as far as that is known in advance."""
    with errors_of(path):
        found = _status(path)
        if found is None:
            folder_of(path)
        _check(path, found, force)


def folder_of(path: Path) -> Folder:
    """The folder in which a file is to be created. Raises NstraceError."""
    with errors_of(path):
        try:
            return Folder(path.parent)
        except FileNotFoundError as error:
            missing = f"{path} cannot be written: there is no folder {path.parent}"
            raise NstraceError(missing, "make it first") from error


def _check(path: Path, found: os.stat_result | None, force: bool) -> None:
    """Raise NstraceError where what has this name may not be replaced. found: its status."""
    if found is None or _is_null(found):
        return
    if not stat.S_ISREG(found.st_mode):
        raise NstraceError(f"{path} exists and is not a regular file", "write to another FILE")
    if not force:
        raise NstraceError(f"{path} already exists", "--force replaces it")


def create(path: Path, force: bool, folder: Folder | None = None) -> int:
    """A descriptor of a new file that only its owner may read; under sudo that is the calling user. Every output file
    that a user names is created here: no existing file is written into, no link is followed, no FIFO waited for.

    force: an existing file is replaced, in one step; it must be a regular file. /dev/null needs no force. folder: the
    path's, if it is open already. Raises NstraceError.
    """
    with errors_of(path):
        folder = folder or folder_of(path)
        found = folder.status(path.name)
        _check(path, found, force)
        if found is None:
            return owned(folder.create(path.name))
        if _is_null(found):
            return _opened_null(path, folder)
        new = beside(path.name)
        fd = owned(folder.create(new))
        try:
            folder.rename(new, path.name, os.fstat(fd))
        except BaseException:
            folder.remove(new, os.fstat(fd))
            os.close(fd)
            raise
        return fd


@contextlib.contextmanager
def created_whole(path: Path, force: bool) -> Iterator[int]:
    """As `create`, for a file that gets its name only when it is complete: after a failure nothing is left of it. The
    caller closes the descriptor."""
    check_new(path, force)
    with errors_of(path):
        folder = Folder(path.parent)
        found = folder.status(path.name)
    if found and _is_null(found):
        yield create(path, force, folder)
        return
    with errors_of(path):
        new = beside(path.name)
        fd = owned(folder.create(new))
        made = os.fstat(fd)
    try:
        yield fd
        with errors_of(path):
            _check(path, folder.status(path.name), force)
            folder.rename(new, path.name, made)
    finally:
        with contextlib.suppress(OSError):
            folder.remove(new, made)


def _opened_null(path: Path, folder: Folder) -> int:
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(path.name, flags, dir_fd=folder.fd)
    if not _is_null(os.fstat(fd)):  # it was when we looked
        os.close(fd)
        raise NstraceError(f"{path} exists and is not a regular file", "write to another FILE")
    return fd


@contextlib.contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Convert an OSError meanwhile into an NstraceError that the file cannot be written."""
    try:
        yield
    except OSError as error:
        raise NstraceError(f"{path} cannot be written: {error.strerror}", "write to another FILE") from error


def part_of(path: Path, number: int) -> Path:
    """The name of a part of a recording that is rotated: web.arrows -> web.000001.arrows."""
    return path.with_name(f"{path.stem}.{number:06}{path.suffix or SUFFIX}")


def parts_of(path: Path) -> list[Path]:
    """The existing parts of a recording of this name, in order."""
    with contextlib.suppress(OSError):
        return sorted(entry for entry in path.parent.iterdir() if _is_part(entry.name, path))
    return []


def discard_parts(path: Path) -> None:
    """Remove all parts of a recording of this name. Raises NstraceError."""
    folder, names = folder_of(path), []
    with contextlib.suppress(OSError):  # one that we may not list
        names = folder.names()
    with errors_of(path):
        for name in names:
            if _is_part(name, path):
                folder.remove(name)


def _is_part(name: str, path: Path) -> bool:
    return bool(re.fullmatch(re.escape(path.stem) + r"\.\d{6}" + re.escape(path.suffix or SUFFIX), name))


def _status(path: Path) -> os.stat_result | None:
    """The status of the file with this name, links not followed; None: there is none."""
    with contextlib.suppress(FileNotFoundError):
        return path.lstat()
    return None


def _is_null(status: os.stat_result) -> bool:
    """Whether the file is /dev/null."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)


def owned(fd: int) -> int:
    """The descriptor, after its file was given to the user who called sudo."""
    owner = caller()
    if os.geteuid() == 0 and owner:
        with contextlib.suppress(OSError):  # a file system without owners
            os.fchown(fd, *owner)
    return fd


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
        raise NstraceError(f"{name} cannot be read: {error.strerror}") from error
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return FileInput(fd, is_ours=name != "-")
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        return StreamInput(fd, None if name == "-" else _first(fd))
    what = "a folder" if stat.S_ISDIR(mode) else "a terminal" if os.isatty(fd) else "a device"
    raise NstraceError(
        f"{'stdin' if name == '-' else name} is {what}, not a recording", "nstrace record -w FILE makes one"
    )
