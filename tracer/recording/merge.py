"""A finished recording of many small batches -> the same in few: a slow stream writes one every few seconds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import NamedTuple

from tracer.errors import NstraceError
from tracer.recording.files import FileInput, owned
from tracer.recording.folder import Folder, beside
from tracer.recording.reader import Recording
from tracer.recording.writer import FileSink, Writer

MIN_BATCHES = 4
SMALL_ROWS = 2048


class Written(NamedTuple):
    """A file that we have written. fd: to read it; None: it cannot be. name: in its folder."""

    fd: int | None
    folder: Folder
    name: str

    @classmethod
    def of(cls, fd: int, folder: Folder, name: str) -> Written:
        """The file that this descriptor writes. It is opened by way of the descriptor: its name may be that of a
        stranger's recording later, or of a FIFO, which would make us wait for ever."""
        try:
            return cls(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC), folder, name)
        except OSError:
            return cls(None, folder, name)

    def close(self) -> None:
        """Close the descriptor."""
        if self.fd is not None:
            os.close(self.fd)


def merge(written: Written, facts: Mapping[str, str], fsync: bool = False) -> None:
    """Replace the file, in one step, where that saves much. Where anything fails, or the name is that of another file
    now, everything stays as it is.

    facts: the stream's metadata.
    """
    if written.fd is None:
        return
    with contextlib.suppress(NstraceError, OSError):
        recording = Recording(written.name, FileInput(written.fd), lambda _line: None)
        indices = recording.indices()
        rows = max((index.first_row for index in indices), default=0)
        if len(indices) < MIN_BATCHES or rows >= SMALL_ROWS * len(indices):
            return
        _replace(written.folder, written.name, os.fstat(written.fd), recording, facts, fsync)


def _replace(
    folder: Folder, name: str, old: os.stat_result, recording: Recording, facts: Mapping[str, str], fsync: bool
) -> None:
    new = beside(name)
    fd = owned(folder.create(new))
    made = os.fstat(fd)
    try:
        with contextlib.closing(FileSink(fd, new, fsync)) as sink:
            _copy(recording, Writer(sink, facts, clock=lambda: 0.0))
        if recording.is_closed and not recording.damages and folder.holds(name, old):
            folder.rename(new, name, made)
    finally:
        folder.remove(new, made)


def _copy(recording: Recording, writer: Writer) -> None:
    """Copy all batches. writer: one whose clock stands still: it writes by size alone."""
    for part in recording.parts():
        if part.batch is None:
            continue
        if part.index.carried:
            writer.carry(part.batch)
        else:
            writer.take(part.batch)
    writer.close(recording.last_ns)
