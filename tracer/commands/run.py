"""nstrace run: a command in a new PID namespace, followed from its very first event."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from tracer.errors import NstraceError
from tracer.wiring.completing import complete_file, complete_run
from tracer.wiring.options import StreamOptions, stream, stream_options

if TYPE_CHECKING:
    from tracer.wiring.ending import Ending


@click.command("run", context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@stream_options
@click.option(
    "--to", "out", metavar="FILE", shell_complete=complete_file, help="Write the events to FILE instead of stderr."
)
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.argument("argv", nargs=-1, required=True, metavar="-- CMD [ARG]...", shell_complete=complete_run)
def command(argv: tuple[str, ...], out: str | None, force: bool, **values: Any) -> int:
    """Start CMD in a new PID namespace with its own /proc, and follow it from birth. Needs no container engine.

    CMD keeps stdin and stdout for itself, and whatever else was passed to nstrace: events go to stderr, or to a FILE
    (--to). The exit code is CMD's; 128 plus the signal's number where one ended it, 127 where there is no such command.

    While CMD runs, signals are its own: the terminal sends it Ctrl-C, and nstrace passes SIGTERM, SIGHUP and a SIGINT
    that did not come from the terminal on to it. Three signals within two seconds kill CMD and all that it has started.

    \b
    nstrace run -- make -j4
    nstrace run --to events.jsonl --json -- ./start-everything.sh
    """
    from tracer.wiring.ending import Ending

    if force and out is None:
        raise click.UsageError("--force goes with --to FILE")
    with Ending() as ending:
        return _run(ending, argv, Path(out) if out else None, force, stream(values))


def _run(ending: Ending, argv: tuple[str, ...], file: Path | None, force: bool, options: StreamOptions) -> int:
    from tracer.kernel.options import LoadOptions
    from tracer.recording.files import check_new
    from tracer.wiring.streaming import (
        exit_code,
        give_way,
        make_redactor,
        make_view,
        stream_to,
        view_module,
        writer_to,
    )
    from tracer.wiring.tracing import Tracing

    if file:
        check_new(file, force)
    redactor = make_redactor(options)
    with Tracing(LoadOptions(options.ring_bytes, options.max_args_bytes, options.threads)) as tracing:
        from tracer.host import procfs
        from tracer.kernel.new_pidns import Newborn
        from tracer.typed.targets import parse_target
        from tracer.wiring.session import Limits

        tracing.load([view_module(options)])
        ending.hold()
        newborn = Newborn(argv)
        _leave_streams()
        give_way()  # the command does not
        target = parse_target(f"pidns:{procfs.pidns_inum(newborn.init)}")
        with _opened(file, force) as out:
            tracing.confine(keep=newborn.descriptors, inlets=newborn.hand_over())
            tracing.check()
            source = tracing.source((target,), lambda _id: None, options.max_processes)
            source.redact = redactor or source.redact
            source.trace.ring.wake_on(ending.wakeup)
            limits = Limits(options.duration, options.count, lambda: True)
            view = make_view(options, source.wall_offset_ns, out)
            ending.check()
            ending.pass_on = newborn.take_signal
            write, go = writer_to(out, ending), newborn.go
            try:
                summary = stream_to(source, view, options, limits, write, ending, on_ready=go, redactor=redactor)
            except NstraceError as error:
                ending.say(f"nstrace: {error.message}: the command is not followed any more")
                return newborn.wait() or int(error.exit_code)
            return newborn.wait() or exit_code(summary, options) or int(ending.is_cut_off)


def _leave_streams() -> None:
    """stdin and stdout are the command's from now on: whoever reads strangers' data has no part in them."""
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1):
        os.dup2(nowhere, fd)
    os.close(nowhere)


@contextlib.contextmanager
def _opened(file: Path | None, force: bool) -> Iterator[TextIO]:
    """The text stream to which events are written."""
    from tracer.recording.files import create

    if file is None:
        yield sys.stderr
        return
    with os.fdopen(create(file, force), "w", encoding="utf-8") as out:
        yield out
