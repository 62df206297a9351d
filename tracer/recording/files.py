"""Files of recordings, created so that nothing is overwritten."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from tracer.errors import NstraceError
from tracer.recording.folder import Folder, is_null

SUFFIX = ".arrows"
_FIRST_BYTES = 4096


class AlreadyThere(NstraceError):
    """Something has the name of a file that is to be created."""


def check_new(path: Path, force: bool) -> None:
    """Raise what `create` would, as far as that is known in advance."""
    folder = folder_of(path)
    with errors_of(path):
        _check(path, folder.status(_name(path)), force)


def folder_of(path: Path) -> Folder:
    """The folder in which a file is to be created. Raises NstraceError."""
    with errors_of(path):
        try:
            return Folder(path.parent)
        except FileNotFoundError as error:
            missing = f"{path} cannot be written: there is no folder {path.parent}"
            raise NstraceError(missing, f"mkdir -p {path.parent}") from error


def _name(path: Path) -> str:
    """The last part of the path; of / and the working directory, which have none, the one that they have themselves."""
    return path.name or "."


def _check(path: Path, found: os.stat_result | None, force: bool) -> None:
    """Raise AlreadyThere where what has this name may not be replaced. found: its status."""
    if found is None or is_null(found):
        return
    if not stat.S_ISREG(found.st_mode):
        raise AlreadyThere(f"{path} exists and is not a regular file", "write to another FILE")
    if not force:
        raise AlreadyThere(f"{path} already exists", "--force replaces it")


@contextlib.contextmanager
def created(path: Path, force: bool, folder: Folder | None = None, is_whole: bool = False) -> Iterator[int]:
    """A descriptor of a new file that only its owner may read; under sudo that is the calling user. Every output file
    that a user names is created here: no existing file is written into, no link is followed, no FIFO waited for.

    force: a regular file of this name is replaced, in one step, when the block is left; where the block fails, it stays
    as it was, and nothing is left of the new one. is_whole: the file gets its name only then even where it replaces
    nothing. folder: the path's, if it is open already. /dev/null needs no force. The caller closes the descriptor,
    within the block or after it.

    Raises NstraceError; an OSError of the block is one of the file.
    """
    folder = folder or folder_of(path)
    name = _name(path)
    with errors_of(path):
        found = folder.status(name)
        _check(path, found, force)
        if found and is_null(found):
            yield _opened_null(path, folder)
        elif found or is_whole:
            with folder.created(name, replaces=force) as fd:
                yield fd
                _check(path, folder.status(name), force)
        else:
            fd = folder.create(name)
            made = os.fstat(fd)
            try:
                yield fd
            except BaseException:
                with contextlib.suppress(OSError):
                    folder.remove(name, made)
                raise


def create(path: Path, force: bool, folder: Folder | None = None) -> int:
    """As `created`, for a file that is complete with its first byte. What it replaces is given up when there is room
    for a beginning of the new one, and makes more room then."""
    with created(path, force, folder) as fd:
        try:
            _check_room(fd)
        except BaseException:
            os.close(fd)
            raise
        return fd


def _check_room(fd: int) -> None:
    """Raise OSError where an empty file cannot take some bytes."""
    if stat.S_ISREG(os.fstat(fd).st_mode):
        room = 0
        while room < _FIRST_BYTES:
            room += os.pwrite(fd, bytes(_FIRST_BYTES - room), room)
        os.ftruncate(fd, 0)


def _opened_null(path: Path, folder: Folder) -> int:
    fd = folder.open_null(_name(path))
    if fd is None:  # it was when we looked
        raise AlreadyThere(f"{path} exists and is not a regular file", "write to another FILE")
    return fd


@contextlib.contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Convert an OSError meanwhile into an NstraceError that the file cannot be written."""
    try:
        yield
    except FileExistsError as error:
        raise AlreadyThere(f"{path} already exists", "write to another FILE") from error
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


def discard_parts(path: Path, but: str, folder: Folder) -> None:
    """Remove all parts of a recording of this name except one. folder: the path's. Raises NstraceError."""
    names = []
    with contextlib.suppress(OSError):  # one that we may not list
        names = folder.names()
    with errors_of(path):
        for name in names:
            if _is_part(name, path) and name != but:
                folder.remove(name)


def part_pattern(path: Path) -> re.Pattern[str]:
    """What matches the names of the parts of a recording of this name, as `part_of` makes them: up to seven digits, for
    eight are a date."""
    number = r"(\d{6}|[1-9]\d{6})"
    return re.compile(rf"{re.escape(path.stem)}\.{number}{re.escape(path.suffix or SUFFIX)}", re.ASCII)


def _is_part(name: str, path: Path) -> bool:
    return part_pattern(path).fullmatch(name) is not None
