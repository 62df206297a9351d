"""The agent's recordings in their folder: which there are, and which have to go. Looks at names and sizes alone.

The files are the parts of a recording agent.arrows, numbered through all runs of the agent: the least number is the
oldest. The latest is being written, and never goes.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tracer.agent.config import Record
from tracer.errors import ExitCode, NstraceError
from tracer.recording.files import part_pattern
from tracer.recording.folder import Folder
from tracer.system.privileges import more_rights

NAME = "agent.arrows"
_LEAST_FILES = 8  # that keep_bytes has to hold: what goes goes a file at a time


class Kept(NamedTuple):
    """One file. written_ns: when it was last written to (wall clock)."""

    number: int
    name: str
    bytes: int
    written_ns: int


class Store:
    """The folder, made where it is not there. Raises NstraceError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, exist_ok=True)
            self._folder = Folder(path)
            status = os.fstat(self._folder.fd)
        except FileNotFoundError as error:
            raise NstraceError(f"there is no folder {path.parent}", f"mkdir -p {path.parent}") from error
        except OSError as error:
            raise _unusable(path, error) from error
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            message = f"others than you can write to {path}: recordings are not kept there"
            raise NstraceError(message, f"chown and chmod 700 {path}", ExitCode.NOT_PERMITTED)

    @property
    def recording(self) -> Path:
        """The path of the recording, whose parts the files are."""
        return self.path / NAME

    def files(self) -> list[Kept]:
        """All files, the oldest first. Raises NstraceError."""
        return files_in(self._folder, self.recording)

    def retire(self, record: Record) -> list[Kept]:
        """Remove what is too much, too old, or leaves too little room on the disk. Gives what stays. Raises
        NstraceError."""
        kept = self.files()
        while len(kept) > 1 and self._has_to_go(kept, record):
            with _errors_of(self.path):
                self._folder.remove(kept.pop(0).name)
        return kept

    def _has_to_go(self, kept: list[Kept], record: Record) -> bool:
        """Whether the oldest of these has to."""
        is_old = record.keep_s is not None and time.time_ns() - kept[0].written_ns > record.keep_s * 1e9
        is_much = record.keep_bytes is not None and sum(one.bytes for one in kept) > record.keep_bytes
        return is_old or is_much or self.free_bytes() < record.min_free_bytes

    def free_bytes(self) -> int:
        """How many bytes are free on its disk for everybody."""
        found = os.fstatvfs(self._folder.fd)
        return found.f_bavail * found.f_frsize


def files_in(folder: Folder, recording: Path) -> list[Kept]:
    """The files of a recording in its folder, in the order of their numbers. Raises NstraceError."""
    pattern, found = part_pattern(recording), []
    with _errors_of(folder.path):
        for name in folder.names():
            match: re.Match[str] | None = pattern.fullmatch(name)
            if match and (status := folder.status(name)):
                found.append(Kept(int(match[1]), name, status.st_size, status.st_mtime_ns))
    return sorted(found)


def rotate_bytes(record: Record) -> int:
    """When a file is full: so early that several of them are what is kept."""
    limit = record.keep_bytes or record.rotate_bytes * _LEAST_FILES
    return max(1 << 16, min(record.rotate_bytes, limit // _LEAST_FILES))


@contextlib.contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Convert an OSError meanwhile into an NstraceError about the folder."""
    try:
        yield
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> NstraceError:
    hint = more_rights("CAP_DAC_OVERRIDE") if isinstance(error, PermissionError) else "name another in [record] folder"
    code = ExitCode.NOT_PERMITTED if isinstance(error, PermissionError) else ExitCode.FAILURE
    return NstraceError(f"{path} cannot be used: {error.strerror}", hint, code)
