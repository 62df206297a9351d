"""nstrace follow: live stream of fork, exec and exit with both PIDs."""

from __future__ import annotations

import sys
from typing import Any

import click

from tracer.commands.options import stream, stream_options

RESTART_S = 1.0  # a container that restarts has nobody in it for a moment


@click.command("follow")
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@stream_options
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

    \b
    nstrace follow web                    one container
    nstrace follow --json all | jq .pids  every PID of every process, host first
    """
    from tracer.commands.streaming import LazyEngine, exit_code, make_view, signal_wakeup, stream_to
    from tracer.kernel.load import Loading, LoadOptions, check_host

    options = stream(values)
    check_host()
    load_options = LoadOptions(options.buffer_pages, options.max_args_bytes, options.threads)
    loading = Loading(load_options)  # compiles while we import the rest and resolve the targets
    try:
        from tracer import procfs
        from tracer.containers.cgroups import Cgroups
        from tracer.containers.resolve import resolve
        from tracer.kernel.selfcheck import check
        from tracer.kernel.trace import Trace
        from tracer.live import LiveSource
        from tracer.session import Limits
        from tracer.targets import parse_target

        parsed = tuple(parse_target(text) for text in targets or ("all",))
        engine = LazyEngine()
        resolved = resolve(parsed, engine.require, procfs.pidns_inum)
        for name in resolved.not_running:
            if not options.quiet:
                print(f"nstrace: {name} is not running; waiting for it to start", file=sys.stderr, flush=True)
        trace = Trace(loading.wait(), load_options)
        early = check(trace)
    except BaseException:
        loading.abandon()
        raise
    source = LiveSource(trace, resolved.targets, Cgroups(engine.describe), early)
    limits = Limits(options.duration, options.count, lambda: _is_over(resolved.targets, engine), RESTART_S)
    with signal_wakeup() as readable:
        trace.ring.wake_on(readable)
        summary = stream_to(source, make_view(options, source.wall_offset_ns), options, limits, sys.stdout)
    return exit_code(summary, options)


def _is_over(targets: tuple[Any, ...], engine: Any) -> bool:
    """Whether nobody can come any more: all targets are namespaces that ended, or containers that have stopped."""
    from tracer.errors import NstraceError
    from tracer.targets import TargetKind

    for target in targets:
        if target.kind == TargetKind.PIDNS:
            continue
        if target.kind != TargetKind.ID:
            return False
        try:
            state = engine.require().state(target.value)
        except NstraceError:
            state = None
        if state in ("running", "restarting", "paused"):
            return False
    return True
