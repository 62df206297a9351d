"""A finished recording of many small batches -> the same in few: a slow stream writes one every few seconds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import NamedTuple

from tracer.errors import NstraceError
from tracer.recording.folder import Folder
from tracer.recording.inputs import FileInput
from tracer.recording.reader import Recording
from tracer.recording.writer import FileSink, Writer

MIN_BATCHES = 4
SMALL_ROWS = 2048


class Written(NamedTuple):
    """A file that we have written. fd: to read it again: its name may be that of a stranger's recording by then, or of
    a FIFO, which would make us wait for ever. name: in its folder."""

    fd: int
    folder: Folder
    name: str
    told: frozenset[int] = frozenset()

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)


def merge(written: Written, facts: Mapping[str, str], fsync: bool = False) -> os.stat_result:
    """Replace the file, in one step, where that saves much. Where anything fails, or the name is that of another file
    now, everything stays as it is. Returns the status of the file that is ours afterwards.

    facts: the stream's metadata.
    """
    made = os.fstat(written.fd)
    with contextlib.suppress(NstraceError, OSError):
        os.lseek(written.fd, 0, os.SEEK_SET)
        recording = Recording(written.name, FileInput(written.fd), lambda _line: None)
        indices = recording.indices()
        rows = max((index.first_row for index in indices), default=0)
        if len(indices) < MIN_BATCHES or rows >= SMALL_ROWS * len(indices):
            return made
        made = _replace(written, made, recording, facts, fsync)
    return made


def _replace(
    written: Written, old: os.stat_result, recording: Recording, facts: Mapping[str, str], fsync: bool
) -> os.stat_result:
    """Raises NstraceError, OSError where it stays as it is."""
    folder, name = written.folder, written.name
    with folder.created(name, replaces=True) as fd:
        made = os.fstat(fd)
        with contextlib.closing(FileSink(fd, name, fsync)) as sink:
            _copy(recording, Writer(sink, facts, lambda: 0.0, written.told))
        if not recording.is_closed or recording.damages or not folder.holds(name, old):
            raise NstraceError(f"{name} was changed by another program", "the recording stays as it is")
    return made


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
