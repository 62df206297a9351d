"""A finished recording of many small batches -> the same in few: a slow stream writes one every few seconds."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from tracer.errors import NstraceError
from tracer.recording.files import FileInput, create
from tracer.recording.reader import Recording
from tracer.recording.writer import FileSink, Writer

MIN_BATCHES = 4
SMALL_ROWS = 2048


def merge(path: Path, facts: Mapping[str, str], fsync: bool = False) -> None:
    """Replace the file, in one step, where that saves much. Where anything fails it stays as it is.

    facts: the stream's metadata.
    """
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(NstraceError, OSError), contextlib.closing(_OpenFile(path)) as opened:
        recording = Recording(path.name, FileInput(opened.fd), lambda _line: None)
        indices = recording.indices()
        rows = max((index.first_row for index in indices), default=0)
        if len(indices) < MIN_BATCHES or rows >= SMALL_ROWS * len(indices):
            return
        try:
            with contextlib.closing(FileSink(create(new, force=False), str(new), fsync)) as sink:
                _copy(recording, Writer(sink, facts, clock=lambda: 0.0))
            if recording.is_closed and not recording.damages and opened.is_still_there():
                new.rename(path)
        finally:
            new.unlink(missing_ok=True)


class _OpenFile:
    """A file by its name, and whether it is still the same later on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def is_still_there(self) -> bool:
        return os.path.samestat(os.fstat(self.fd), self._path.lstat())

    def close(self) -> None:
        os.close(self.fd)


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
