"""nstrace run: a command in a new PID namespace, followed from its very first event."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any

import click

from tracer.wiring.options import stream, stream_options


@click.command("run", context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@stream_options
@click.option(
    "--to",
    type=click.Path(dir_okay=False, writable=True),
    metavar="FILE",
    help="Write the events to FILE instead of stderr.",
)
@click.argument("argv", nargs=-1, required=True, metavar="-- CMD [ARG]...")
def command(argv: tuple[str, ...], to: str | None, **values: Any) -> int:
    """Start CMD in a new PID namespace with its own /proc, and follow it from birth. Needs no container engine.

    CMD keeps stdin and stdout for itself: events go to stderr, or to a FILE (--to). The exit code is CMD's; 128 plus
    the signal's number where one ended it, 127 where there is no such command.

    \b
    nstrace run -- make -j4
    nstrace run --to events.jsonl --json -- ./start-everything.sh
    """
    from tracer.kernel.load import Loading, check_host
    from tracer.kernel.options import LoadOptions
    from tracer.wiring.streaming import exit_code, give_way, make_view, signal_wakeup, stream_to, writer_to

    options = stream(values)
    check_host()
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(_open(to)) if to else sys.stderr
        load_options = LoadOptions(options.ring_bytes, options.max_args_bytes, options.threads)
        loading = stack.enter_context(Loading(load_options))
        from tracer.containers.cgroups import Cgroups
        from tracer.host import procfs
        from tracer.kernel.birth import Newborn
        from tracer.kernel.selfcheck import checked_trace
        from tracer.live import LiveSource
        from tracer.session import Limits
        from tracer.table import Table
        from tracer.targets import parse_target

        trace, early = checked_trace(loading.wait(), load_options)
        newborn = Newborn(argv)
        give_way()  # the command does not
        target = parse_target(f"pidns:{procfs.pidns_inum(newborn.init)}")
        source = LiveSource(trace, (target,), Cgroups(lambda _runtime, _id: None), early, Table(options.max_processes))
        trace.ring.wake_on(stack.enter_context(signal_wakeup()))

        def on_signal(number: int, _session: object) -> None:
            if number != signal.SIGINT:  # the terminal sends that one to CMD itself
                newborn.signal(number)

        limits = Limits(options.duration, options.count, lambda: True)
        view = make_view(options, source.wall_offset_ns)
        summary = stream_to(source, view, options, limits, writer_to(out), on_signal, on_ready=newborn.go)
        return newborn.wait() or exit_code(summary, options)


def _open(path: str) -> Any:
    """A new file that only its owner reads."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8")
