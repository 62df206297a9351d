"""nstrace replay: as follow, from a file."""

from __future__ import annotations

import sys
from typing import Any

import click

from tracer.commands.options import replay_options, stream


@click.command("replay")
@click.argument("file")
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@replay_options
def command(file: str, targets: tuple[str, ...], **values: Any) -> int:
    """Show what a recording holds as nstrace follow would have shown it: anywhere, without root, eBPF or Docker.

    TARGETs are those of nstrace follow; without any, all that was recorded. FILE is - for stdin. Text shows times of
    this host's zone, JSON UTC.

    \b
    nstrace replay web.arrows
    nstrace replay --json --events exec all.arrows web | jq .args
    """
    from tracer.commands.recorded import open_source, targets_of
    from tracer.commands.streaming import exit_code, make_view, stream_to, writer_to
    from tracer.errors import ExitCode
    from tracer.session import Limits

    options = stream(values)
    source = open_source([file], targets_of(targets), options.quiet)
    view = make_view(options, source.wall_offset_ns)
    summary = stream_to(source, view, options, Limits(count=options.count), writer_to(sys.stdout))
    if options.require_complete and not source.is_complete:
        return int(ExitCode.EVENTS_LOST)
    return exit_code(summary, options)
