"""A recording in a file of its own: begun, written, and merged when it is complete."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tracer.errors import NstraceError, ReaderGone
from tracer.recording.files import created, folder_of
from tracer.recording.folder import Folder
from tracer.recording.merge import Written, merge
from tracer.recording.writer import PATIENCE, FileSink, Patience, Writer


class FileWriter(Writer):
    """As `Writer`, into a new file; where not even its beginning can be written, none is left, and what it was to
    replace stays. made: the status of the file.

    force: as for `tracer.recording.files.created`. folder: the path's, if it is open already. told,
    patience: as for `Writer`.
    """

    def __init__(
        self,
        path: Path,
        facts: Mapping[str, str],
        *,
        force: bool = False,
        fsync: bool = False,
        clock: Callable[[], float] = time.monotonic,
        folder: Folder | None = None,
        told: Iterable[int] = (),
        patience: Patience = PATIENCE,
    ) -> None:
        folder = folder or folder_of(path)
        self._fsync, told_before = fsync, frozenset(told)
        with created(path, force, folder) as fd:
            self.made = os.fstat(fd)
            self._written = Written(os.dup(fd), folder, path.name, told_before)
            sink = FileSink(fd, str(path), fsync)
            try:
                super().__init__(sink, facts, clock, told_before, patience)
            except (NstraceError, ReaderGone):
                sink.close()
                self._written.close()
                raise

    def close(self, until_ns: int = 0) -> None:
        """As `Writer.close`."""
        super().close(until_ns)
        self.made = merge(self._written, self.facts, self._fsync)
        self._written.close()

    def abandon(self) -> None:
        """As `Writer.abandon`."""
        super().abandon()
        self._written.close()
