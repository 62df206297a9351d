"""The folder of recordings, for a process that may not open anything: a broker lists it and opens files to be read."""

from __future__ import annotations

import errno
import os
import stat
import struct

from tracer.recording.files import SUFFIX
from tracer.recording.folder import Folder
from tracer.system.broker import Answer, Operation, Operations, Privileged

_NAMES, _OPEN = "spool.names", "spool.open"
_NAME_BYTES = 256
_NAME = struct.Struct(f"={_NAME_BYTES}s")
CAPABILITIES = 1 << 2
"""CAP_DAC_READ_SEARCH: what the operations need where the recordings are another user's."""


class SpoolOperations:
    """Lists the recordings of a folder, by their names, and opens one to be read: regular files in it alone."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What they need."""
        return (self._folder.fd,)

    def operations(self) -> Operations:
        """By name."""
        return {_NAMES: Operation(0, self._names), _OPEN: Operation(_NAME.size, self._open)}

    def _names(self, _request: bytes) -> Answer:
        names = (os.fsencode(name) for name in sorted(self._folder.names()))
        return Answer(b"\0".join(name for name in names if name.endswith(SUFFIX.encode()) and name[:1] != b"."))

    def _open(self, request: bytes) -> Answer:
        name = os.fsdecode(request.rstrip(b"\0"))
        if "/" in name or not name.endswith(SUFFIX):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=self._folder.fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return Answer(fds=(fd,))


class SpoolFolder:
    """The folder, through whoever performs `SpoolOperations`."""

    def __init__(self, privileged: Privileged) -> None:
        self._privileged = privileged

    def names(self) -> list[str]:
        """The names of its recordings, in order."""
        return [os.fsdecode(name) for name in self._privileged.ask(_NAMES).data.split(b"\0") if name]

    def open(self, name: str) -> int:
        """A descriptor of one, to be read. Raises OSError."""
        encoded = os.fsencode(name)
        if len(encoded) >= _NAME_BYTES:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        return self._privileged.ask(_OPEN, encoded.ljust(_NAME_BYTES, b"\0")).fds[0]
