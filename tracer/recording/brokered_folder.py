"""A folder for a process that may not write into it: a broker creates and renames the files of one recording there."""

from __future__ import annotations

import errno
import os
import re
import struct
from pathlib import Path

from tracer.recording.files import part_pattern
from tracer.recording.folder import Folder, is_beside
from tracer.system.broker import Answer, Operation, Operations, Privileged

_STATUS, _NAMES, _CREATE = "folder.status", "folder.names", "folder.create"
_RENAME, _REMOVE = "folder.rename", "folder.remove"
_NAME_BYTES = 256
_NAME = struct.Struct(f"={_NAME_BYTES}s")
_RENAMING = struct.Struct(f"={_NAME_BYTES}s{_NAME_BYTES}sQQ?")  # temporary name, name, device, inode, replaces
_REMOVING = struct.Struct(f"={_NAME_BYTES}s?QQ")  # name, whether only this file: device, inode
_FIELDS = ("st_mode", "st_ino", "st_dev", "st_nlink", "st_uid", "st_gid", "st_size", "st_atime", "st_mtime", "st_ctime")
_FOUND = struct.Struct(f"={len(_FIELDS)}QQ")  # and st_rdev


class FolderOperations:
    """What may be done in a folder for a recording of this path: to its own names alone, those of the file, or of its
    parts where it rotates, and their temporary ones; and of what was there before, only to what the user lets it
    replace.

    rotates: the recording is several files. force: what has one of its names may be replaced or removed.
    """

    def __init__(self, folder: Folder, path: Path, rotates: bool, force: bool) -> None:
        self._folder, self._force = folder, force
        self._own = part_pattern(path) if rotates else re.compile(re.escape(path.name), re.ASCII)
        self._made: set[tuple[int, int]] = set()  # device and inode of what was created here

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What they need."""
        return (self._folder.fd,)

    def operations(self) -> Operations:
        """By name."""
        return {
            _STATUS: Operation(_NAME.size, self._status),
            _NAMES: Operation(0, self._names),
            _CREATE: Operation(_NAME.size, self._create),
            _RENAME: Operation(_RENAMING.size, self._rename),
            _REMOVE: Operation(_REMOVING.size, self._remove),
        }

    def _name(self, data: bytes) -> str:
        """Raises OSError for a name that is not the recording's own."""
        name = os.fsdecode(data.rstrip(b"\0"))
        if "/" in name or not (self._own.fullmatch(name) or is_beside(name, self._own)):
            raise _forbidden()
        return name

    def _one(self, request: bytes) -> str:
        return self._name(*_NAME.unpack(request))

    def _status(self, request: bytes) -> Answer:
        found = self._folder.status(self._one(request))
        if found is None:
            return Answer()
        return Answer(_FOUND.pack(*(int(getattr(found, field)) for field in _FIELDS), found.st_rdev))

    def _names(self, _request: bytes) -> Answer:
        names = (os.fsencode(name) for name in self._folder.names() if self._own.fullmatch(name))
        return Answer(b"\0".join(names))

    def _create(self, request: bytes) -> Answer:
        fd = self._folder.create(self._one(request))
        self._made.add(_identity(os.fstat(fd)))
        return Answer(fds=(fd,))

    def _rename(self, request: bytes) -> Answer:
        temporary, name, device, inode, replaces = _RENAMING.unpack(request)
        made = self._folder.status(self._name(temporary))
        if made is None or _identity(made) != (device, inode):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        before = self._folder.status(self._name(name))
        if not self._is_ours(made) or (replaces and not self._is_ours(before)):
            raise _forbidden()
        replaces = replaces and (self._force or before is not None)  # what comes meanwhile is not ours
        self._folder.rename(self._name(temporary), self._name(name), made, replaces)
        self._forget(before)
        return Answer()

    def _remove(self, request: bytes) -> Answer:
        name, is_this, device, inode = _REMOVING.unpack(request)
        found = self._folder.status(self._name(name))
        if found is None or (is_this and _identity(found) != (device, inode)):
            return Answer()
        if not self._is_ours(found):
            raise _forbidden()
        self._folder.remove(self._name(name), found)
        self._forget(found)
        return Answer()

    def _forget(self, gone: os.stat_result | None) -> None:
        """A file that is no more: another one gets its inode number."""
        if gone:
            self._made.discard(_identity(gone))

    def _is_ours(self, found: os.stat_result | None) -> bool:
        """Whether a file may be replaced or removed; None: there is none."""
        return found is None or self._force or _identity(found) in self._made


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _forbidden() -> PermissionError:
    return PermissionError(errno.EPERM, os.strerror(errno.EPERM))


class BrokeredFolder(Folder):
    """As `Folder`, through a broker that performs `FolderOperations`."""

    def __init__(self, path: Path, privileged: Privileged) -> None:
        self.path, self._privileged = path, privileged

    def status(self, name: str) -> os.stat_result | None:
        """As `Folder.status`."""
        data = self._privileged.ask(_STATUS, _padded(name)).data
        if not data:
            return None
        *fields, device = _FOUND.unpack(data)
        return os.stat_result(fields, {"st_rdev": device})

    def names(self) -> list[str]:
        """The names of the recording's own files in it."""
        return [os.fsdecode(name) for name in self._privileged.ask(_NAMES).data.split(b"\0") if name]

    def create(self, name: str) -> int:
        """As `Folder.create`."""
        return self._privileged.ask(_CREATE, _padded(name)).fds[0]

    def rename(self, temporary: str, name: str, made: os.stat_result, replaces: bool = True) -> None:
        """As `Folder.rename`."""
        names = _padded(temporary), _padded(name)
        try:
            self._privileged.ask(_RENAME, _RENAMING.pack(*names, made.st_dev, made.st_ino, replaces))
        except OSError as error:
            if error.errno == errno.ESTALE:
                raise self._stolen(temporary, name) from error
            raise

    def remove(self, name: str, made: os.stat_result | None = None) -> None:
        """As `Folder.remove`."""
        which = (made.st_dev, made.st_ino) if made else (0, 0)
        self._privileged.ask(_REMOVE, _REMOVING.pack(_padded(name), made is not None, *which))


def _padded(name: str) -> bytes:
    encoded = os.fsencode(name)
    if len(encoded) >= _NAME_BYTES:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    return encoded.ljust(_NAME_BYTES, b"\0")
