"""A folder that is opened once, and what is made in it. All goes by descriptors: whoever owns a folder on the way can
put something else in the place of a name at any time, and what is done to that would be done by root.

Every file and folder that nstrace writes for a user comes about here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path

from tracer.errors import NstraceError
from tracer.system.libc import call
from tracer.system.privileges import caller

_NULL = os.makedev(1, 3)  # /dev/null: Documentation/admin-guide/devices.txt
_RENAME_NOREPLACE = 1  # renameat2(2); file systems that cannot do it answer EINVAL
_OPEN = os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """A folder by its descriptor; methods take names within it. Nothing follows links; everything raises OSError.

    fd: an open descriptor of it, which becomes this object's; else the path is opened.
    """

    def __init__(self, path: Path, fd: int | None = None) -> None:
        self.path = path
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if fd is None else fd
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
        """A descriptor, to write and to read again, of a new file that its owner alone may open, whatever the umask.
        Under sudo the owner is the calling user."""
        with _private_umask():
            fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN, 0o600, dir_fd=self.fd)
        owner = caller()
        if os.geteuid() == 0 and owner:
            with contextlib.suppress(OSError):  # a file system without owners
                os.fchown(fd, *owner)
        return fd

    def create_folder(self, name: str) -> Folder:
        """A new folder that its owner alone may enter, whatever the umask. Raises NstraceError where another process
        has put something else in its place: mkdir(2) gives no descriptor."""
        with _private_umask():
            os.mkdir(name, 0o700, dir_fd=self.fd)
        return Folder(self.path / name, self._opened_new(name))

    def _opened_new(self, name: str) -> int:
        """A descriptor of the folder that we have just made: ours, of the same file system, closed to others, empty."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _OPEN, dir_fd=self.fd)
        except OSError as error:
            raise self._replaced(name) from error
        found = os.fstat(fd)
        is_ours = found.st_uid == os.geteuid() and found.st_dev == os.fstat(self.fd).st_dev
        if not is_ours or found.st_mode & 0o077 or os.listdir(fd):  # noqa: PTH208 - a descriptor
            os.close(fd)
            raise self._replaced(name)
        return fd

    def _replaced(self, name: str) -> NstraceError:
        return NstraceError(
            f"{self.path / name} cannot be written: its folder was replaced by another process",
            "write to a folder that only you can write to, on a file system that keeps the owners of files",
        )

    def open_null(self, name: str) -> int | None:
        """A descriptor of the null device that has this name; None: it is something else."""
        fd = os.open(name, os.O_RDWR | os.O_NONBLOCK | _OPEN, dir_fd=self.fd)
        if is_null(os.fstat(fd)):
            return fd
        os.close(fd)
        return None

    def rename(self, temporary: str, name: str, made: os.stat_result, replaces: bool = True) -> None:
        """Give what was made its name. replaces: what has that name now goes; else FileExistsError is raised.

        Raises NstraceError where the temporary name is that of something else by now.
        """
        if not self.holds(temporary, made):
            raise self._stolen(temporary, name)
        if replaces or not self._renamed_to_new(temporary, name):
            os.rename(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def _stolen(self, temporary: str, name: str) -> NstraceError:
        return NstraceError(
            f"{self.path / name} cannot be written: another process has replaced {temporary}, its temporary name",
            "write to a folder that only you can write to",
        )

    def _renamed_to_new(self, temporary: str, name: str) -> bool:
        """Give it a name that nothing has. Returns False where the file system cannot do that in one step, and nothing
        has the name. Raises FileExistsError."""
        try:
            call("renameat2", self.fd, os.fsencode(temporary), self.fd, os.fsencode(name), _RENAME_NOREPLACE)
        except OSError as error:
            number = error.errno or 0
            if number in (errno.EINVAL, errno.ENOSYS):
                if not self.status(name):
                    return False
                number = errno.EEXIST
            raise OSError(number, os.strerror(number)) from error
        return True

    def remove(self, name: str, made: os.stat_result | None = None) -> None:
        """Remove a file, if it exists. made: only if it is the regular file with this status."""
        if made is None or (stat.S_ISREG(made.st_mode) and self.holds(name, made)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.fd)

    def discard(self, name: str, folder: Folder) -> None:
        """Remove all that is in a folder which was made here, wherever it is now, and it, if it still has its name."""
        for entry in folder.names():
            if stat.S_ISDIR(os.stat(entry, dir_fd=folder.fd, follow_symlinks=False).st_mode):
                shutil.rmtree(entry, ignore_errors=True, dir_fd=folder.fd)
            else:
                folder.remove(entry)
        if self.holds(name, os.fstat(folder.fd)):
            os.rmdir(name, dir_fd=self.fd)

    @contextlib.contextmanager
    def created(self, name: str, replaces: bool) -> Iterator[int]:
        """A descriptor of a new file that has a temporary name until the block is left; what had the name keeps it
        till then, and for ever where the block fails: of the new file nothing is left then. The caller closes the
        descriptor, within the block or after it.

        replaces: as for `rename`.
        """
        temporary = _beside(name)
        fd = self.create(temporary)
        made = os.fstat(fd)
        try:
            yield fd
            self.rename(temporary, name, made, replaces)
        except BaseException:
            with contextlib.suppress(OSError):
                self.remove(temporary, made)
            raise

    @contextlib.contextmanager
    def created_folder(self, name: str) -> Iterator[int]:
        """As `created`, for a folder; nothing is replaced by one: raises FileExistsError."""
        if self.status(name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        temporary = _beside(name)
        made = self.create_folder(temporary)
        try:
            yield made.fd
            self.rename(temporary, name, os.fstat(made.fd), replaces=False)
        except BaseException:
            with contextlib.suppress(OSError):
                self.discard(temporary, made)
            raise


def is_null(status: os.stat_result) -> bool:
    """Whether it is /dev/null."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL


def _beside(name: str) -> str:
    """A temporary name for what is to become `name`, in the same folder."""
    return f".{name}.{secrets.token_hex(4)}"


def is_beside(temporary: str, name: re.Pattern[str]) -> bool:
    """Whether this is a temporary name for what is to have a name that matches."""
    final, _dot, token = temporary[1:].rpartition(".")
    return temporary[:1] == "." and bool(name.fullmatch(final)) and bool(re.fullmatch("[0-9a-f]{8}", token))


@contextlib.contextmanager
def _private_umask() -> Iterator[None]:
    """The user's umask may forbid even us to open what we make; what we make is ours alone, so none is needed."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
