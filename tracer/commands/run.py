"""nstrace run: a command in a new PID namespace, followed from its very first event."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import click

from tracer.errors import NstraceError
from tracer.wiring.completing import complete_file, complete_run
from tracer.wiring.options import StreamOptions, stream, stream_options, wants_color
from tracer.wiring.recorders import RecordOptions, record_of, record_options

if TYPE_CHECKING:
    from tracer.kernel.new_pidns import Newborn
    from tracer.secrets.redactor import Redactor
    from tracer.wiring.conditions import Passing
    from tracer.wiring.destination import Destination
    from tracer.wiring.ending import Ending
    from tracer.wiring.live import LiveSource
    from tracer.wiring.stdout_queue import Outlet
    from tracer.wiring.tracing import Tracing


_LABEL = "pidns:4026532189"  # what the column CONTAINER shows of a namespace without a container


@click.command("run", context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@stream_options
@click.option(
    "--to", "out", metavar="FILE", shell_complete=complete_file, help="Write the events to FILE instead of stderr."
)
@record_options("Record the events to FILE as well.")
@click.argument("argv", nargs=-1, required=True, metavar="-- CMD [ARG]...", shell_complete=complete_run)
def command(argv: tuple[str, ...], out: str | None, **values: Any) -> int:
    """Run CMD in a new PID namespace with its own /proc, and show its events from the first one on. Needs no container
    engine.

    stdin and stdout are CMD's, as is every other descriptor that nstrace was started with. Events go to stderr, or to a
    file (--to FILE), and with -w FILE to a recording as well. The exit code is CMD's; 128 plus the number of the signal
    that ended it; 127 if there is no such command.

    While CMD runs, signals are for CMD: Ctrl-C reaches it from the terminal, and nstrace passes on SIGTERM, SIGHUP, and
    a SIGINT that was sent to nstrace. Three signals within two seconds kill CMD and all processes that it has started.

    \b
    nstrace run -- make -j4
    nstrace run -w make.arrows -- make -j4
    nstrace run --to events.jsonl --json -- ./start-everything.sh
    """
    from tracer.wiring.ending import Ending

    if values["write"] == "-":
        raise click.UsageError("stdout is the command's: give -w the name of a file")
    record = record_of(values | {"force": values["force"] and values["write"] is not None}, has_view=True)
    if values["force"] and not (out or record):
        raise click.UsageError("--force goes with --to FILE or -w FILE")
    with Ending() as ending:
        file = Output(Path(out) if out else None, values["force"])
        return _run(ending, argv, file, _options(values, out is None), record)


class Output(NamedTuple):
    """Where events go. path: None: to stderr. force: what has the name is replaced."""

    path: Path | None
    force: bool


def _options(values: dict[str, Any], to_stderr: bool) -> StreamOptions:
    """What the user chose; colors are for where the events go."""
    color = values["color"] == "always" if not to_stderr else wants_color(values["color"], sys.stderr)
    return replace(stream(values), color=color)


def _run(
    ending: Ending, argv: tuple[str, ...], file: Output, options: StreamOptions, record: RecordOptions | None
) -> int:
    from tracer.kernel.options import LoadOptions
    from tracer.recording.files import check_new
    from tracer.wiring.conditions import make_filter, passing_live
    from tracer.wiring.following import destination_of
    from tracer.wiring.streaming import (
        give_way,
        make_redactor,
        missing_here,
        shows_only_failed_commands,
        view_modules,
    )
    from tracer.wiring.tracing import Tracing

    if file.path:
        check_new(file.path, file.force)
    redactor, where = make_redactor(options), make_filter(options)
    destination = destination_of(record, options.redact, bool(options.where)) if record else None
    with Tracing(LoadOptions(options.ring_bytes, options.max_args_bytes, options.threads)) as tracing:
        from tracer.host import procfs
        from tracer.kernel.new_pidns import Newborn
        from tracer.typed.targets import parse_target
        from tracer.wiring.recorders import outlet_of

        tracing.load([*view_modules(options), "tracer.wiring.session", *(destination.uses if destination else ())])
        ending.hold()
        newborn = Newborn(argv)
        _leave_streams()
        give_way()  # the command does not
        target = parse_target(f"pidns:{procfs.pidns_inum(newborn.init)}")
        with _opened(file) as out:
            outlet = outlet_of(options, out) if destination else None
            _confine(tracing, newborn, destination, outlet)
            tracing.check()
            source = tracing.source((target,), lambda _id: None, options.max_processes)
            for line in missing_here(source.trace.loaded, options) if not options.quiet else ():
                ending.say(f"nstrace: {line}")
            source.redact = redactor or source.redact
            source.only_failed_commands = shows_only_failed_commands(options) and record is None and where is None
            source.trace.ring.wake_on(ending.wakeup)
            ending.check()
            ending.pass_on = newborn.take_signal
            passing = passing_live(where, source)
            return _show(ending, source, newborn, options, out, destination, outlet, redactor, passing)


def _confine(tracing: Tracing, newborn: Newborn, destination: Destination | None, outlet: Outlet | None) -> None:
    """Give privileges up: the broker keeps what starts the command and ends it."""
    keep, inlets = newborn.descriptors, newborn.hand_over()
    if destination and outlet:
        destination.confine(tracing, outlet.begin, keep, inlets)
    else:
        tracing.confine(keep=keep, inlets=inlets)
    newborn.handed_over()


def _show(
    ending: Ending,
    source: LiveSource,
    newborn: Newborn,
    options: StreamOptions,
    out: TextIO,
    destination: Destination | None,
    outlet: Outlet | None,
    redactor: Redactor | None,
    passing: tuple[Passing, Passing],
) -> int:
    """Start the command and show its events until it ends; returns the exit code."""
    from tracer.wiring.conditions import Unanswerable
    from tracer.wiring.recorders import beside_recording, recording
    from tracer.wiring.session import Limits
    from tracer.wiring.streaming import exit_code, make_view, stream_to, writer_to

    limits = Limits(options.duration, options.count, lambda: True, 0.0, options.failed, lambda: False, *passing)
    view, write, recorder = make_view(options, source.wall_offset_ns, out, len(_LABEL)), writer_to(out, ending), None
    has_begun = False

    def begin() -> None:
        nonlocal has_begun
        has_begun = True
        newborn.go()

    try:
        with contextlib.ExitStack() as stack:
            if destination and outlet:
                beside = beside_recording(view, outlet, options, source.attribution, ending)
                view, write = stack.enter_context(beside)
                recorder = stack.enter_context(recording(destination, options, ending))
            summary = stream_to(source, view, options, limits, write, ending, recorder, begin, redactor)
            if recorder:
                recorder.until_ns = source.reported_until_ns
    except NstraceError as error:
        if not has_begun and not isinstance(error, Unanswerable):
            raise
        if not has_begun:  # a row of what begins the command was enough
            begin()
        ending.say(f"nstrace: {error.message}: the command is not followed any more")
        return newborn.wait() or int(error.exit_code)
    has_failed = ending.is_cut_off or (recorder is not None and recorder.error is not None)
    return newborn.wait() or exit_code(summary, options) or int(has_failed)


def _leave_streams() -> None:
    """stdin and stdout are the command's from now on: whoever reads strangers' data has no part in them."""
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1):
        os.dup2(nowhere, fd)
    os.close(nowhere)


@contextlib.contextmanager
def _opened(file: Output) -> Iterator[TextIO]:
    """The text stream to which events are written."""
    from tracer.recording.files import create

    if file.path is None:
        yield sys.stderr
        return
    with os.fdopen(create(file.path, file.force), "w", encoding="utf-8") as out:
        yield out
