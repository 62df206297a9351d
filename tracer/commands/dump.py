"""nstrace dump: what led up to now, from the agent's recordings, as one of its own."""

from __future__ import annotations

import json
import shlex
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from tracer.text.counted import counted
from tracer.text.times import rfc3339
from tracer.wiring.amounts import Duration
from tracer.wiring.completing import complete_file, complete_target
from tracer.wiring.printing import note

if TYPE_CHECKING:
    from tracer.recording.source import RecordedSource

_USES = ("tracer.recording.cutting", "tracer.recording.multiple_runs", "tracer.text.times")


@click.command("dump")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@click.option("--last", type=Duration(), default="5m", show_default=True, metavar="TIME", help="How far back it goes.")
@click.option(
    "-w",
    "--write",
    "out",
    metavar="FILE",
    shell_complete=complete_file,
    help="The file to write. Default: a new one, named after the TARGETs and the time.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("-q", "--quiet", is_flag=True, help="No notes on stderr.")
def command(targets: tuple[str, ...], last: float, out: str | None, force: bool, quiet: bool) -> int:
    """Write what has happened lately, up to now, to a recording of its own: the flight recorder.

    It is taken from what nstrace agent has recorded, begins with the processes that lived then, and is like any other
    recording: nstrace replay shows it, on any host.

    \b
    sudo nstrace dump                        the last 5 minutes of all
    sudo nstrace dump --last 30m -w web.arrows web
    """
    from tracer.wiring.kept import kept_files
    from tracer.wiring.open_recordings import open_later, sayer, targets_of
    from tracer.wiring.recorders import name_for
    from tracer.wiring.signals import interrupt_at_signals
    from tracer.wiring.whole_file import default_signals, into_file

    say, now_ns = sayer(quiet), time.time_ns()
    begin_ns = now_ns - int(last * 1e9)
    kept = kept_files(say, rfc3339(begin_ns))
    path = Path(out or name_for(targets, time.localtime()))
    parse = open_later(kept.files, _USES, targets_of(targets), say, kept)
    own = {"session": uuid.uuid4().hex, "command": json.dumps(["nstrace", *sys.argv[1:]])}

    def write(file: IO[bytes]) -> str:
        default_signals()
        return _write(parse(), begin_ns, file, own, say)

    interrupt_at_signals()
    note(f"nstrace: {into_file(write, path, force)}", quiet)
    note(f"nstrace: to show it: nstrace replay {shlex.quote(str(path))}", quiet)
    return 0


def _write(
    sources: Sequence[RecordedSource],
    begin_ns: int,
    file: IO[bytes],
    own: dict[str, str],
    say: Callable[[str], None],
) -> str:
    """In a child without privileges. Of several runs the last one is written: each has clocks of its own."""
    from tracer.recording.cutting import cut
    from tracer.recording.multiple_runs import check_found
    from tracer.text.times import precise
    from tracer.typed.moments import Span

    source = sources[-1]
    span = source.span()
    if span.begin_ns > begin_ns:
        say(f"it begins {precise(span.begin_ns)}: the agent has recorded since then")
    rows = cut(source, Span(max(begin_ns, span.begin_ns), span.end_ns), file.fileno(), own)
    check_found([source])
    return counted(rows, "row")
