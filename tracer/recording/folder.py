"""A folder that is opened once, and what is made in it. All goes by descriptors: whoever owns a folder on the way can
put something else in the place of a name at any time, and what is done to that would be done by root."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path

from tracer.errors import NstraceError


class Folder:
    """A folder by its descriptor. Nothing follows links; everything raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.fd)

    def status(self, name: str) -> os.stat_result | None:
        """The status of what has this name; None: nothing."""
        with contextlib.suppress(FileNotFoundError):
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        return None

    def holds(self, name: str, made: os.stat_result) -> bool:
        """Whether this name is still that of the file or folder with this status."""
        found = self.status(name)
        return found is not None and os.path.samestat(found, made)

    def names(self) -> list[str]:
        """The names of all that is in it."""
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
        try:
            return os.listdir(fd)  # noqa: PTH208 - a descriptor
        finally:
            os.close(fd)

    def create(self, name: str) -> int:
        """A descriptor, to be written, of a new file that its owner alone may read."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, 0o600, dir_fd=self.fd)

    def rename(self, temporary: str, name: str, made: os.stat_result) -> None:
        """Give what was made its name. Raises NstraceError where the temporary name is that of something else now."""
        if not self.holds(temporary, made):
            raise NstraceError(
                f"{self._path / name} cannot be written: another process has replaced {temporary}, its temporary name",
                "write into a folder that only you may write",
            )
        os.rename(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def remove(self, name: str, made: os.stat_result | None = None) -> None:
        """Remove a file, if it exists. made: only if it is the regular file with this status."""
        if made is None or (stat.S_ISREG(made.st_mode) and self.holds(name, made)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.fd)


def beside(name: str) -> str:
    """A temporary name for what is to become `name`, in the same folder."""
    return f".{name}.{secrets.token_hex(4)}"


@contextlib.contextmanager
def created_folder(path: Path) -> Iterator[int]:
    """A descriptor of a new folder that its owner alone may enter. It gets its name only when it is complete: after a
    failure nothing is left of it. Raises NstraceError, OSError."""
    parent = Folder(path.parent)
    _check_missing(parent, path)
    new = beside(path.name)
    os.mkdir(new, 0o700, dir_fd=parent.fd)
    fd = _opened_new(parent, new, path)
    try:
        yield fd
        _check_missing(parent, path)
        parent.rename(new, path.name, os.fstat(fd))
    except BaseException:
        _discard(parent, new, fd)
        raise
    finally:
        os.close(fd)


def _check_missing(parent: Folder, path: Path) -> None:
    if parent.status(path.name):
        raise NstraceError(f"{path} already exists", "write to another folder")


def _opened_new(parent: Folder, name: str, path: Path) -> int:
    """A descriptor of the folder that we have just made: ours, of the same file system, closed to others, and empty.
    mkdir(2) gives none, so whoever may write the parent can have put another folder in its place."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent.fd)
    except OSError as error:
        raise _replaced(path) from error
    found = os.fstat(fd)
    is_ours = found.st_uid == os.geteuid() and found.st_dev == os.fstat(parent.fd).st_dev
    if not is_ours or found.st_mode & 0o077 or os.listdir(fd):  # noqa: PTH208 - a descriptor
        os.close(fd)
        raise _replaced(path)
    return fd


def _replaced(path: Path) -> NstraceError:
    return NstraceError(
        f"{path} cannot be written: the folder that was made for it is not the one that is there now",
        "write into a folder that only you may write, on a file system that keeps the owners of files",
    )


def _discard(parent: Folder, name: str, fd: int) -> None:
    """Remove all that is in the folder, wherever it is now, and then it, if it still has its name."""
    with contextlib.suppress(OSError):
        for entry in os.listdir(fd):
            if stat.S_ISDIR(os.stat(entry, dir_fd=fd, follow_symlinks=False).st_mode):
                shutil.rmtree(entry, ignore_errors=True, dir_fd=fd)
            else:
                os.unlink(entry, dir_fd=fd)
        if parent.holds(name, os.fstat(fd)):
            os.rmdir(name, dir_fd=parent.fd)
