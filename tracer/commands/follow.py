"""nstrace follow: live stream of fork, exec and exit with both PIDs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from tracer.wiring.completing import complete_target
from tracer.wiring.options import following_options, stream, stream_options
from tracer.wiring.recorders import record_of, record_options

if TYPE_CHECKING:
    from tracer.wiring.options import StreamOptions
    from tracer.wiring.recorders import RecordOptions


@click.command("follow")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@following_options
@stream_options
@click.option("--summary", "summarizes", is_flag=True, help="At the end, write what nstrace summary counts to stderr.")
@record_options("Record the events to FILE as well.")
@click.option("--since", metavar="TIME", help="Begin with what nstrace agent has recorded since TIME (10m, 14:03).")
def command(targets: tuple[str, ...], summarizes: bool, since: str | None, **values: Any) -> int:
    """Show processes as they start, execute programs and exit, with their PIDs on the host and in the container.

    \b
    TARGET is one of
      NAME or ID     a container, by its name or the beginning of its id
      'web-*'        containers whose names match a pattern
      'web#2'        the second life of web, as the column CONTAINER shows it
      label:K=V      containers with a label; also image:NAME and
                     compose:PROJECT, compose:SERVICE, compose:PROJECT/SERVICE
      pod:UID        containers of a Kubernetes pod; also pod:NAMESPACE/NAME
      pid:N          all processes in the PID namespace of process N of the host
      pidns:INUM     all processes in this PID namespace and in those below it
      host           processes that are in no container
      all            all containers and PID namespaces (the default)

    The header and the events go to stdout, warnings and the summary to stderr. On a terminal each event is one line,
    cut to the width of the terminal. Ctrl-C stops it; it also stops when all TARGETs have ended, and says so: with -F
    it waits for their next start.

    With -w FILE the events are recorded as well: nstrace replay FILE shows them again. The recording goes on where
    stdout is read slowly or has been closed.

    \b
    nstrace follow web                    one container
    nstrace follow --json all | jq .pids  all PIDs of each process, the host's first
    nstrace follow -w web.arrows web      show the events and record them
    nstrace follow --since 10m web        what came before, too
    nstrace follow -F web                 in all its lives, whoever has the name
    nstrace follow --exit-code job        and exit as the container does
    """
    from tracer.wiring.following import follow_live
    from tracer.wiring.streaming import expected_width, make_view

    options = stream(values)
    record = record_of(values, has_view=True)
    width = expected_width(targets)
    if since:
        return _since(since, targets, options, record, summarizes)
    if not summarizes:
        return follow_live(targets, options, lambda offset: make_view(options, offset, sys.stdout, width), record)
    from tracer.wiring.summarizing import Summarizing

    sums = Summarizing(options)
    code = follow_live(
        targets, options, lambda offset: sums.of(make_view(options, offset, sys.stdout, width), offset), record
    )
    sums.write(sys.stderr)
    return code


def _since(
    since: str, targets: tuple[str, ...], options: StreamOptions, record: RecordOptions | None, summarizes: bool
) -> int:
    from tracer.wiring.catching_up import CatchUp, live_options
    from tracer.wiring.following import follow_live
    from tracer.wiring.streaming import expected_width, make_view

    if summarizes or options.count is not None:
        raise click.UsageError("--since cannot be combined with --summary and --count, which are about what comes")
    before = CatchUp(since, targets or ("all",), options)
    options, width = live_options(options), expected_width(targets)
    return follow_live(
        targets, options, lambda offset: make_view(options, offset, sys.stdout, width), record, before.show
    )
