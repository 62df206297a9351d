"""Options of a recording, and the recorder that they make."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from tracer.errors import NstraceError, ReaderGone, ReaderStuck
from tracer.stream.schema import SUMMARY_KINDS
from tracer.text.counted import counted, size_text
from tracer.text.escape import safe_text
from tracer.wiring.amounts import Duration, Size
from tracer.wiring.completing import complete_file
from tracer.wiring.ending import Ending
from tracer.wiring.options import StreamOptions, WholeNumber

if TYPE_CHECKING:
    from tracer.recording.rotate import RotatingWriter
    from tracer.recording.writer import Writer
    from tracer.stream.attribution import Attribution
    from tracer.stream.batch import Batch
    from tracer.views.view import View
    from tracer.wiring.destination import Destination
    from tracer.wiring.stdout_queue import Outlet

F = TypeVar("F", bound=Callable[..., Any])
_PROGRESS_S = 0.25
_MAX_NAME = 40


@dataclass(frozen=True)
class RecordOptions:
    """Where to record to. path: "-" is stdout. rotate: (bytes, seconds, files) at most; None: no limit. has_view:
    events are shown as well. is_default: the user has given no path. first: as for `RotatingWriter`. every_s: how
    often to write, however many events there are; None: less often where there are few."""

    path: str
    force: bool
    fsync: bool
    rotate: tuple[int | None, float | None, int | None]
    has_view: bool
    is_default: bool = False
    first: int = 1
    every_s: float | None = None

    @property
    def rotates(self) -> bool:
        """Whether there can be several files."""
        return self.rotate[:2] != (None, None)


def record_options(write_help: str) -> Callable[[F], F]:
    """Add -w and the options that go with it to a command; `record_of` collects them. write_help: of -w."""
    options = (
        click.option("-w", "--write", metavar="FILE", shell_complete=complete_file, help=write_help),
        click.option("--force", is_flag=True, help="Replace FILE if it exists."),
        click.option(
            "--rotate-size",
            type=Size(64_000),
            metavar="SIZE",
            help="Start a new file at SIZE (100M): web.000001.arrows, web.000002.arrows, ... for web.arrows.",
        ),
        click.option(
            "--rotate-interval",
            type=Duration(1),
            metavar="TIME",
            help="A new file every TIME (90s, 15m, 1h30m).",
        ),
        click.option("--max-files", type=WholeNumber(1), metavar="N", help="Keep the latest N files."),
        click.option("--fsync", is_flag=True, help="Sync the file to disk (fsync) once a second."),
    )

    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def name_for(targets: Sequence[str], now: time.struct_time, suffix: str = ".arrows") -> str:
    """A new file's name in the current directory, from the targets and the time: web-20261129-140305.arrows."""
    words = [word for target in targets if (word := re.sub(r"[^A-Za-z0-9_.]+", "-", target).strip("-."))]
    name = f"{'-'.join(words)[:_MAX_NAME] or 'all'}-{time.strftime('%Y%m%d-%H%M%S', now)}"
    names = (f"{name}{f'-{number}' if number > 1 else ''}{suffix}" for number in itertools.count(1))
    return next(free for free in names if not os.path.lexists(free))


def record_of(values: dict[str, Any], has_view: bool, default: str | None = None) -> RecordOptions | None:
    """What the user chose; None: no recording. default: the file where no other is given."""
    rotate = (values["rotate_size"], values["rotate_interval"], values["max_files"])
    path = values["write"] or default
    if path is None:
        if values["force"] or values["fsync"] or any(rotate):
            raise click.UsageError("--force, --fsync, --rotate-... and --max-files need -w FILE")
        return None
    options = RecordOptions(path, values["force"], values["fsync"], rotate, has_view, is_default=not values["write"])
    if values["max_files"] and not options.rotates:
        raise click.UsageError("--max-files needs --rotate-size or --rotate-interval")
    if options.rotates and options.path == "-":
        raise click.UsageError("a recording to stdout cannot be rotated")
    return options


class Recorder:
    """Passes batches to a writer. A failure ends the run, unless events are shown as well: then it is reported once,
    and the view goes on. error: that failure. until_ns: as for `Writer.close`. writer: what counts.
    """

    def __init__(self, writer: Writer | RotatingWriter, has_view: bool, progress: bool, ending: Ending) -> None:
        self.error: NstraceError | None = None
        self.until_ns = 0
        self._ending = ending
        self.writer = writer
        self._has_view = has_view
        self._progress = progress
        self._events = 0
        self._shown_at = 0.0
        self._show_progress()

    def take(self, batch: Batch) -> None:
        """As `tracer.stream.source.BatchSink.take`."""
        self._guarded(lambda: self.writer.take(batch))
        if self._progress:
            from tracer.stream.batch import of_kind

            self._events += int(of_kind(batch.rows, *SUMMARY_KINDS).sum())
            self._show_progress()

    def _show_progress(self) -> None:
        if self._progress and time.monotonic() - self._shown_at >= _PROGRESS_S:
            self._shown_at = time.monotonic()
            events = counted(self._events, "event")
            self._ending.show(f"nstrace: recording: {events}, {size_text(self.writer.bytes)}, {self.writer.lost} lost")

    def forget(self, cgroup_ids: Collection[int]) -> None:
        """As `Writer.forget`."""
        self.writer.forget(cgroup_ids)

    def quiet(self, until_ns: int) -> None:
        """As `Writer.quiet`."""
        self._guarded(lambda: self.writer.quiet(until_ns))

    def close(self) -> None:
        """Finish the file."""
        if self._progress:
            self._ending.show("")
        self._guarded(lambda: self.writer.close(self.until_ns))

    def abandon(self) -> None:
        """Write what has come, where the run has failed: the file does not say that this is all."""
        self._guarded(self.writer.abandon)

    def line(self) -> str:
        """A line for people: how much was recorded."""
        writer = self.writer
        return f"wrote {writer.name}: {counted(writer.rows, 'row')}, {size_text(writer.bytes)}, {writer.lost} lost"

    def _guarded(self, action: Callable[[], object]) -> None:
        if self.error:
            return
        try:
            action()
        except ReaderGone as error:
            self.error = self._unread(isinstance(error, ReaderStuck))
            self._ending.stop()
        except NstraceError as error:
            self.error = error
            if self._has_view:
                self._ending.say(f"nstrace: {error.message}")
                self._ending.say(f"  {error.hint}")
            else:
                self._ending.stop()

    def _unread(self, is_stuck: bool) -> NstraceError:
        why = "was not read in time after a second signal" if is_stuck else "is no longer read"
        return NstraceError(
            f"cut off: the recording {why}", f"{self.writer.rows} rows were written; the rest is missing"
        )


@contextlib.contextmanager
def recording(destination: Destination, options: StreamOptions, ending: Ending) -> Iterator[Recorder]:
    """A recorder, closed in the end. Raises the NstraceError with which it ended, where no events were shown."""
    record = destination.record
    progress = not record.has_view and not options.quiet and sys.stderr.isatty()

    def say(line: str) -> None:
        if not options.quiet:
            ending.say(f"nstrace: {line}")

    if record.is_default:
        say(f"recording to {record.path}")
    try:
        writer = destination.writer(ending, say)
    except ReaderGone as error:
        raise NstraceError("cut off: the recording is no longer read", "nothing was recorded") from error
    recorder = Recorder(writer, record.has_view, progress, ending)
    try:
        yield recorder
    except BaseException:
        recorder.abandon()
        raise
    recorder.close()
    if recorder.error and not record.has_view:
        raise recorder.error
    if not recorder.error:
        say(recorder.line())
        if destination.is_kept:
            say(f"to show it: nstrace replay {shlex.quote(record.path)}")


def outlet_of(options: StreamOptions, out: TextIO) -> Outlet:
    """Where the events go beside a recording; its thread has not begun."""
    from tracer.wiring.stdout_queue import Outlet

    def say_from_a_thread(line: str) -> None:
        with contextlib.suppress(OSError):
            if not options.quiet:
                os.write(sys.stderr.fileno(), f"nstrace: {safe_text(line)}\n".encode())

    return Outlet(out.fileno(), say_from_a_thread)


@contextlib.contextmanager
def beside_recording(
    view: View, outlet: Outlet, options: StreamOptions, containers: Attribution, ending: Ending
) -> Iterator[tuple[View, Callable[[bytes], None]]]:
    """The view and a function that writes its text to the outlet; neither makes a recording wait for the reader."""
    from tracer.wiring.stdout_queue import PatientView
    from tracer.wiring.streaming import kinds_of

    patient = PatientView(view, outlet, kinds_of(options), options.failed)
    yield patient, outlet.write
    outlet.write(patient.last(containers))
    if not ending.wait_for(outlet.fd, outlet.close):
        ending.cut_off("the events were not read in time after a second signal; the recording is complete")
    elif outlet.error:
        ending.cut_off(f"the events could not be written: {outlet.error.strerror}; the recording has all of them")
    if patient.left_out and not options.quiet:
        ending.say(f"nstrace: the events were read too slowly: {patient.left_out} events are in the recording alone")
