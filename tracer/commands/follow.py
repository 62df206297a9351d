"""nstrace follow: live stream of fork, exec and exit with both PIDs."""

from __future__ import annotations

import sys
from typing import Any

import click

from tracer.wiring.completing import complete_target
from tracer.wiring.options import stream, stream_options
from tracer.wiring.recorders import record_of, record_options


@click.command("follow")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@stream_options
@record_options(required=False)
def command(targets: tuple[str, ...], **values: Any) -> int:
    """Print every fork, exec and exit of the TARGETs as it happens, with the PID on the host and inside.

    \b
    TARGET is one of
      NAME or ID     a container's name, or the beginning of its id
      'web-*'        containers by name    label:K=V  image:NAME  compose:SERVICE
      pid:N          everyone in the PID namespace of host process N
      pidns:INUM     everyone in that PID namespace, and those nested in it
      host           processes that are in no container
      all            every container and PID namespace (the default)

    Events go to stdout; header, warnings and summary to stderr. Ctrl-C ends it, and so does the end of all TARGETs.
    With -w FILE they are recorded as well: nstrace replay FILE shows them again. A slow reader of stdout, or one that
    goes away, does not stop the recording.

    \b
    nstrace follow web                    one container
    nstrace follow --json all | jq .pids  every PID of every process, host first
    nstrace follow -w web.arrows web      see it, and keep it
    """
    from tracer.wiring.following import follow_live
    from tracer.wiring.streaming import make_view

    options = stream(values)
    record = record_of(values, has_view=True)
    return follow_live(targets, options, lambda offset: make_view(options, offset, sys.stdout), record)
