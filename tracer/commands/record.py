"""nstrace record: as follow, to a file."""

from __future__ import annotations

from typing import Any

import click

from tracer.wiring.completing import complete_target
from tracer.wiring.options import capture_options, stream
from tracer.wiring.recorders import record_of, record_options


@click.command("record")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@record_options(required=True)
@capture_options
def command(targets: tuple[str, ...], **values: Any) -> int:
    """Record every fork, exec and exit of the TARGETs to a FILE, to be seen later and anywhere: nstrace replay FILE.

    TARGETs are those of nstrace follow. The FILE is an Arrow IPC stream that pyarrow, Polars, pandas and nanoarrow read
    as it is. It is written once a second: kill -9 loses no more than that (five seconds where little happens). Ctrl-C
    ends it, and so does the end of all TARGETs.

    \b
    nstrace record -w web.arrows web
    nstrace record -w - all | ssh host 'cat >all.arrows'
    """
    from tracer.views.nothing import Nothing
    from tracer.wiring.following import follow_live

    return follow_live(targets, stream(values), lambda _offset: Nothing(), record_of(values, has_view=False))
