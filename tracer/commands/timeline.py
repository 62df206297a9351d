"""nstrace timeline: a recording as a picture to look into."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from tracer.text.counted import counted
from tracer.wiring.completing import complete_file
from tracer.wiring.printing import note
from tracer.wiring.signals import interrupt_at_signals
from tracer.wiring.whole_file import default_signals, into_file
from tracer.wiring.windows import in_window, window_options
from tracer.wiring.zones import time_option

if TYPE_CHECKING:
    from tracer.recording.source import RecordedSource
    from tracer.views.timeline import Page

_USES = (
    *("tracer.views.timeline", "tracer.past.timeline"),
    *("tracer.recording.filtered", "tracer.recording.multiple_runs"),
)


@click.command("timeline")
@click.argument("arguments", nargs=-1, metavar="FILE... [TARGET]...", shell_complete=complete_file)
@click.option(
    "-w",
    "--write",
    "out",
    metavar="OUT",
    shell_complete=complete_file,
    help="Output file; - is stdout. Default: FILE with the extension .html, or a new one named after the TARGETs.",
)
@window_options()
@click.option("--force", is_flag=True, help="Replace OUT if it is there.")
@click.option("-q", "--quiet", is_flag=True, help="No warnings, and no line that says what was written.")
@time_option
def command(
    arguments: tuple[str, ...], out: str | None, force: bool, quiet: bool, since: str | None, until: str | None
) -> int:
    """Write a recording as a page that shows all its processes on a line of time.

    The page is one file: it opens from a disk, in any browser of 2023 or newer, and asks no network. Lanes are
    containers and PID namespaces; in them bars are processes, each below its parent, and ticks in the bars execs.
    Color and sign say how a process ended; where events were lost the page is shaded. Wheel and drag zoom and move;
    / searches for PIDs of any level, commands and containers; a click shows all of a process; ? lists the keys.
    The page's address, with what stands behind #, leads back to the same view.

    FILEs, TARGETs and TIMEs are those of nstrace replay, what nstrace agent has recorded too; the files are of one run
    of nstrace.

    \b
    nstrace timeline web.arrows -w web.html
    nstrace timeline all.arrows web --since 14:03 --until +5m -w - >web.html
    """
    from tracer.commands.progress import is_wanted, progress
    from tracer.wiring.kept import files_or_kept, name_beside
    from tracer.wiring.open_recordings import check_kept, open_later, sayer, targets_of

    say = sayer(quiet)
    kept, targets = files_or_kept(arguments, since, until, say)
    since, until = kept.begin, kept.end
    if out is None:
        out = name_beside(kept, targets, ".html")
    if out == "-" and sys.stdout.isatty():
        raise click.UsageError("a page is not written to a terminal: -w web.html")
    check_kept(out, kept.files)
    page, shows = _page(), is_wanted(quiet, to_stdout=out == "-")
    parse = open_later(kept.files, _USES, targets_of(targets), say, kept)
    command_pid = os.getpid()

    def write(file: IO[bytes]) -> str:
        if os.getpid() != command_pid:
            default_signals()
        sources = parse()
        chosen = in_window(sources, since, until, with_living=True)
        with progress(chosen, shows):
            rendered, processes = _rendered(chosen, page)
            file.write(rendered)
        file.flush()
        return counted(processes, "process", "es")

    if out != "-":
        interrupt_at_signals()
        note(f"nstrace: {into_file(write, Path(out), force)}", quiet)
    else:
        from tracer.system.privileges import drop

        drop()
        write(sys.stdout.buffer)
    return 0


def _page() -> Page:
    """What all pages have in common. Read before privileges are given up."""
    from importlib.resources import files

    from tracer.views.timeline import PARTS, Page

    folder = files("tracer.views") / "page"
    return Page(*((folder / name).read_text("utf-8") for name in PARTS))


def _rendered(sources: list[RecordedSource], page: Page) -> tuple[bytes, int]:
    """The page of the one run, and how many processes it shows. Raises NstraceError where there are several, or not all
    events are in it."""
    from tracer.past.timeline import Collector
    from tracer.recording.filtered import LIVES, check_complete
    from tracer.recording.multiple_runs import check_found, run_of
    from tracer.text import zone
    from tracer.version import VERSION
    from tracer.views.timeline import About, render

    source = run_of(sources)
    check_complete([source], LIVES)
    collector = Collector()
    for batch in source.batches(lambda: 0.0):
        collector.take(batch, source.attribution)
    check_found([source])
    timeline = collector.finish(source.until_ns)
    about = About(
        Path(source.name).name, source.recordings[0].facts.host, source.wall_offset_ns, zone.is_utc(), VERSION
    )
    return render(timeline, about, page), len(timeline.processes)
