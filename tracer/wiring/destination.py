"""Where a recording goes: looked at and opened while there are privileges, written when there are none any more."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tracer.errors import ExitCode, NstraceError
from tracer.recording.brokered_folder import BrokeredFolder, FolderOperations
from tracer.recording.files import check_new, folder_of, parts_of
from tracer.recording.folder import Folder, is_null
from tracer.recording.metadata import of_this_host
from tracer.system import imports
from tracer.wiring.ending import Ending
from tracer.wiring.recorders import RecordOptions
from tracer.wiring.streaming import writing

if TYPE_CHECKING:
    from tracer.recording.rotate import RotatingWriter
    from tracer.recording.writer import Writer
    from tracer.wiring.tracing import Tracing

_USED = (
    *("tracer.recording.file_writer", "tracer.recording.rotate", "tracer.recording.writer", "tracer.recording.reader"),
    *("tracer.wiring.recorders", "tracer.wiring.stdout_queue", *imports.OF_ARROW),
)


class Destination:
    """record: what the user chose. redact: secrets are masked in our own command line too, which is recorded.
    is_filtered: not all events are recorded. Raises NstraceError where the recording cannot begin."""

    def __init__(self, record: RecordOptions, redact: bool, is_filtered: bool = False) -> None:
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # pyarrow's own keeps 16 MB for later
        self.record, self.path = record, Path(record.path)
        self._command, self._is_filtered = _command(redact), is_filtered
        self._folder: Folder | None = None
        _check(record)
        if record.path != "-":
            self._folder = folder_of(self.path)
        self._fd = 1 if self._folder is None else self._opened_null()

    uses = _USED
    """As for `Tracing.load`."""

    @property
    def folder(self) -> Folder | None:
        """The folder of its files, through the broker once `confine` was called; None: they go to stdout."""
        return self._folder

    @property
    def is_kept(self) -> bool:
        """Whether it goes to a file that is there afterwards."""
        return self._fd is None

    def confine(
        self,
        tracing: Tracing,
        begin_threads: Callable[[], None],
        keep: Collection[int] = (),
        inlets: Mapping[int, Callable[[], None]] = MappingProxyType({}),
    ) -> None:
        """Give privileges up, as `Tracing.confine`: files are created by the broker then."""
        self._facts = of_this_host(tracing.wall_offset_ns, self._command)
        if self._is_filtered:
            self._facts["filtered"] = "1"
        if self._folder is None or self._fd is not None:
            tracing.confine(keep=keep, inlets=inlets, begin_threads=begin_threads)
            return
        allowed = FolderOperations(self._folder, self.path, self.record.rotates, self.record.force)
        operations, kept = allowed.operations(), {*allowed.descriptors, *keep}
        broker = tracing.confine(operations, kept, inlets, begin_threads)
        self._folder = BrokeredFolder(self.path.parent, broker)

    def _opened_null(self) -> int | None:
        """A descriptor of the null device, where the path is its: a broker that may replace a recording does not get
        this."""
        assert self._folder
        if self.record.rotates or not ((found := self._folder.status(self.path.name)) and is_null(found)):
            return None
        return self._folder.open_null(self.path.name)

    def writer(self, ending: Ending, say: Callable[[str], None]) -> Writer | RotatingWriter:
        """The writer, which has begun. say: writes a line for people. Raises NstraceError, ReaderGone."""
        from tracer.recording.file_writer import FileWriter
        from tracer.recording.files import discard_parts
        from tracer.recording.rotate import RotatingWriter, Rotation
        from tracer.recording.writer import PATIENCE, FileSink, Patience, Writer

        record, folder = self.record, self._folder
        if folder is None or self._fd is not None:
            fd, name = self._fd or 1, "stdout" if folder is None else str(self.path)
            return Writer(FileSink(os.dup(fd), name, record.fsync, writing(fd, ending)), self._facts)
        options: dict[str, Any] = {"force": record.force, "fsync": record.fsync, "folder": folder}
        if not record.rotates:
            return FileWriter(self.path, self._facts, **options)
        patience = Patience(record.every_s, record.every_s) if record.every_s else PATIENCE
        options |= {"first": record.first, "patience": patience}
        writer = RotatingWriter(self.path, self._facts, Rotation(*record.rotate), say=say, **options)
        if record.force:
            discard_parts(self.path, Path(writer.name).name, folder)
        return writer


def _command(redact: bool) -> list[str]:
    """Our own command line, as it may be recorded."""
    command = ["nstrace", *sys.argv[1:]]
    if not redact:
        return command
    from tracer.secrets.arguments import masked

    return masked(command)[0]


def _check(options: RecordOptions) -> None:
    if not Path(options.path).name:
        raise NstraceError(f"{options.path!r} is not the name of a file", "for example -w web.arrows", ExitCode.USAGE)
    if options.rotates:
        if Path(options.path).exists() and not Path(options.path).is_file():
            raise NstraceError(f"{options.path} is not the name of a file that can have parts", "write to another FILE")
        if not options.force and options.first == 1 and (parts := parts_of(Path(options.path))):
            raise NstraceError(f"{parts[0]} already exists", "--force replaces it, and the other parts")
    elif options.path != "-":
        check_new(Path(options.path), options.force)
    elif options.has_view:
        raise NstraceError("events and a recording cannot both go to stdout", "use nstrace record -w -", ExitCode.USAGE)
    elif os.isatty(1):
        raise NstraceError(
            "a recording is binary and not written to a terminal", "name a file: -w web.arrows", ExitCode.USAGE
        )
