"""nstrace record: record events to a file."""

from __future__ import annotations

from typing import Any

import click

from tracer.wiring.completing import complete_target
from tracer.wiring.options import capture_options, following_options, stream
from tracer.wiring.recorders import name_for, record_of, record_options


@click.command("record")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@following_options
@record_options("The file to write; - is stdout. Default: a new one, named after the TARGETs and the time.")
@capture_options
def command(targets: tuple[str, ...], **values: Any) -> int:
    """Record the events of the TARGETs to a file. nstrace replay FILE shows them later, on any host.

    TARGETs are those of nstrace follow. The file is an Arrow IPC stream, which pyarrow, Polars, pandas and nanoarrow
    can read. It is written once a second: kill -9 loses the last second at most (five seconds where few events occur).
    Ctrl-C stops the recording; it also stops when all TARGETs have ended, but with -F.

    \b
    nstrace record web                    to a new file: web-20261129-140305.arrows
    nstrace record -w web.arrows web
    nstrace record -w - all | ssh host 'cat >all.arrows'
    """
    import time

    from tracer.views.nothing import Nothing
    from tracer.wiring.following import follow_live

    record = record_of(values, has_view=False, default=name_for(targets, time.localtime()))
    return follow_live(targets, stream(values), lambda _offset: Nothing(), record)
