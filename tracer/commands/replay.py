"""nstrace replay: show the events of recordings."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from tracer.errors import ExitCode
from tracer.wiring.amounts import Duration
from tracer.wiring.completing import complete_file
from tracer.wiring.options import StreamOptions, replay_options, stream
from tracer.wiring.windows import in_window, window_options

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
@click.argument("arguments", nargs=-1, metavar="FILE... [TARGET]...", shell_complete=complete_file)
@window_options("--from", "--to")
@click.option(
    "--speed",
    callback=_speed,
    default="max",
    show_default=True,
    metavar="N",
    help="1 = real time, 10 = ten times as fast, max = without pauses.",
)
@click.option("--max-idle", type=Duration(0), metavar="TIME", help="With --speed: cut pauses to TIME (2s, 500ms).")
@replay_options
def command(arguments: tuple[str, ...], since: str | None, until: str | None, **values: Any) -> int:
    """Show the events of recordings as nstrace follow would have shown them. Needs no root, eBPF or Docker.

    A FILE is a recording, - for stdin, a folder of recordings (other files in it are ignored), or the name of a rotated
    recording. The names of further FILEs must end in .arrows. TARGETs are those of nstrace follow; without any, all
    events are shown. With a TIME and without a FILE it shows what nstrace agent has recorded. Times are local in text
    and UTC in JSON.

    \b
    TIME is one of
      14:03, 14:03:05.250        on the day of the recording, in this host's zone
      2026-11-24T14:03:05Z       with or without zone; 2026-11-24 is midnight
      5m, 5m ago, 5 minutes ago  before now; now
      +90s, +1h5m                after the recording's beginning; in --until, after
                                 --since
      -10s                       before its end

    \b
    nstrace replay web.arrows
    nstrace replay --json --events exec all.arrows web | jq .args
    nstrace replay --speed 10 --max-idle 1s --since 14:03 --until +5m web.arrows
    sudo nstrace replay --since 14:03 --until +5m web
    """
    from tracer.commands.progress import is_wanted, progress
    from tracer.recording.filtered import say_incomplete
    from tracer.recording.multiple_runs import Runs, RunsView, check_found
    from tracer.recording.once import give_each_once
    from tracer.recording.replay_speed import Paced
    from tracer.wiring.conditions import let_pass, make_filter
    from tracer.wiring.ending import Ending
    from tracer.wiring.kept import files_or_kept
    from tracer.wiring.open_recordings import open_sources, sayer, targets_of
    from tracer.wiring.session import Limits
    from tracer.wiring.streaming import exit_code, expected_width, make_view, stream_to, view_modules, writer_to

    options, speed = stream(values), values["speed"]
    where = make_filter(options)
    shows = is_wanted(options.quiet, to_stdout=True) and speed is None
    with Ending() as ending:
        say = sayer(options.quiet)
        kept, targets = files_or_kept(arguments, since, until, say)
        since, until = kept.begin, kept.end
        sources = open_sources(kept.files, view_modules(options), targets_of(targets), say, kept)
        say_incomplete(sources, say)
        chosen = in_window(sources, since, until)
        for source in chosen:  # live, rows wait for a name only where a TARGET needs it
            source.knows_what_follows = any(target.needs_names for target in source.targets)
        let_pass(where, chosen)
        give_each_once(chosen)
        width = expected_width(targets)
        view = RunsView({one.attribution: make_view(options, one.wall_offset_ns, sys.stdout, width) for one in chosen})
        played = Runs([Paced(source, speed, values["max_idle"]) if speed else source for source in chosen])
        write = writer_to(sys.stdout, ending)
        ending.hold()
        for source in chosen:
            source.read_while(lambda: not ending.is_asked_for)
        with progress(chosen, shows):
            summary = stream_to(
                played, view, options, Limits(count=options.count, only_failed=options.failed), write, ending
            )
        if not any(source.found for source in chosen) and not ending.is_asked_for:
            in_window(chosen, since, until)  # when a stream ended is known now
            check_found(sources)
        return exit_code(summary, options) or _incomplete(chosen, options) or int(ending.is_cut_off)


def _incomplete(sources: list[RecordedSource], options: StreamOptions) -> int:
    is_incomplete = options.require_complete and not all(source.is_complete for source in sources)
    return int(ExitCode.EVENTS_LOST) if is_incomplete else 0
