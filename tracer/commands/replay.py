"""nstrace replay: as follow, from a file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from tracer.errors import ExitCode
from tracer.wiring.options import Number, StreamOptions, replay_options, stream

if TYPE_CHECKING:
    from tracer.recording.source import RecordedSource


def _speed(ctx: click.Context, param: click.Parameter, value: str) -> float | None:
    """The value of --speed as a factor; None: as fast as possible."""
    if value == "max":
        return None
    try:
        speed = float(value.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0.001 <= speed <= 1e6:
        raise click.BadParameter(f"{value!r} is not a valid speed: use 1, 10, 0.5 or max")
    return speed


@click.command("replay")
@click.argument("arguments", nargs=-1, required=True, metavar="FILE... [TARGET]...")
@click.option("--from", "begin", metavar="TIME", help="Begin at TIME.")
@click.option("--to", "end", metavar="TIME", help="End at TIME; +5m is 5 minutes after --from.")
@click.option(
    "--speed",
    callback=_speed,
    default="max",
    show_default=True,
    metavar="N",
    help="1 = real time, 10 = ten times as fast, max = without pauses.",
)
@click.option("--max-idle", type=Number(0), metavar="S", help="With --speed: cut pauses to S seconds.")
@replay_options
def command(arguments: tuple[str, ...], begin: str | None, end: str | None, **values: Any) -> int:
    """Show what recordings hold as nstrace follow would have shown it: anywhere, without root, eBPF or Docker.

    A FILE is a recording, - for stdin, a folder of recordings (what else is in it is left out), or the name of one that
    was rotated. Further FILEs end in .arrows. TARGETs are those of nstrace follow; without any, all that was recorded
    is shown. Text shows times of this host's zone, JSON UTC.

    \b
    TIME is one of
      14:03, 14:03:05.250           on the day of the recording, in this host's zone
      2026-11-24T14:03:05Z          with or without zone
      +90s, +1h5m                   after the recording's beginning; in --to, after --from
      -10s                          before its end
      3m ago                        before now

    \b
    nstrace replay web.arrows
    nstrace replay --json --events exec all.arrows web | jq .args
    nstrace replay --speed 10 --max-idle 1 --from 14:03 --to +5m web.arrows
    """
    from tracer.commands.progress import is_wanted, progress
    from tracer.recording.multiple_runs import Runs, RunsView, check_found
    from tracer.recording.replay_speed import Paced
    from tracer.wiring.ending import Ending
    from tracer.wiring.open_recordings import open_sources, sayer, split_files, targets_of
    from tracer.wiring.session import Limits
    from tracer.wiring.streaming import exit_code, make_view, stream_to, view_module, writer_to

    options, speed = stream(values), values["speed"]
    files, targets = split_files(arguments)
    shows = is_wanted(options.quiet, to_stdout=True) and speed is None
    with Ending() as ending:
        sources = open_sources(files, [view_module(options)], targets_of(targets), sayer(options.quiet))
        chosen = _in_window(sources, begin, end)
        view = RunsView({source.attribution: make_view(options, source.wall_offset_ns) for source in chosen})
        played = Runs([Paced(source, speed, values["max_idle"]) if speed else source for source in chosen])
        write = writer_to(sys.stdout, ending)
        ending.hold()
        for source in chosen:
            source.read_while(lambda: not ending.is_asked_for)
        with progress(chosen, shows):
            summary = stream_to(played, view, options, Limits(count=options.count), write, ending)
        if not any(source.found for source in chosen) and not ending.is_asked_for:
            _in_window(chosen, begin, end)  # when a stream ended is known now
            check_found(sources)
        return exit_code(summary, options) or _incomplete(chosen, options) or int(ending.is_cut_off)


def _in_window(sources: list[RecordedSource], begin: str | None, end: str | None) -> list[RecordedSource]:
    """The sources that have events in the window, set to show it alone. Raises NstraceError (usage) where none has."""
    from tracer.typed.moments import parse_windows

    if begin is None and end is None:
        return sources
    windows = parse_windows(begin, end, [source.span() for source in sources])
    for source, window in zip(sources, windows, strict=True):
        if window:
            source.show(window)
    return [source for source, window in zip(sources, windows, strict=True) if window]


def _incomplete(sources: list[RecordedSource], options: StreamOptions) -> int:
    is_incomplete = options.require_complete and not all(source.is_complete for source in sources)
    return int(ExitCode.EVENTS_LOST) if is_incomplete else 0
