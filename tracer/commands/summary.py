"""nstrace summary: what happened, counted instead of shown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from tracer.errors import ExitCode
from tracer.wiring.completing import complete_target
from tracer.wiring.options import StreamOptions, stream, summary_options
from tracer.wiring.windows import in_window, window_options

if TYPE_CHECKING:
    from tracer.recording.source import RecordedSource
    from tracer.stream.tally import Tallies


@click.command("summary")
@click.argument("arguments", nargs=-1, metavar="[FILE]... [TARGET]...", shell_complete=complete_target)
@window_options()
@summary_options
def command(arguments: tuple[str, ...], since: str | None, until: str | None, **values: Any) -> int:
    """Count what happens until Ctrl-C, or what happened in recordings: for each container, and in all.

    Processes that began and ended, how many lived at once at most, how many failed, were killed by a signal or for lack
    of memory; the commands that ran most, failed most and lived longest; events a second; and what was lost.

    A FILE is a recording whose name ends in .arrows, a folder of recordings, or - for stdin. Without any, the TARGETs
    are those of nstrace follow, and are counted live; with a TIME, in what nstrace agent has recorded. TIMEs are those
    of nstrace replay.

    \b
    sudo nstrace summary                      all containers, until Ctrl-C
    sudo nstrace summary --duration 1m web
    nstrace summary web.arrows
    sudo nstrace summary --since 1h
    nstrace summary --json --since 14:03 --until +5m all.arrows web
    """
    options = stream(values)
    files = [text for text in arguments if _is_file(text)]
    targets = tuple(text for text in arguments if text not in files)
    if files or since or until:
        if options.duration is not None:
            raise click.UsageError("--duration is for what happens now: recordings have --since and --until")
        return _of_files(files, targets, since, until, options)
    return _of_now(targets, options)


def _is_file(text: str) -> bool:
    from tracer.wiring.open_recordings import SUFFIX, is_folder

    return text == "-" or text.endswith(SUFFIX) or is_folder(text)


def _of_now(targets: tuple[str, ...], options: StreamOptions) -> int:
    from tracer.views.nothing import Nothing
    from tracer.wiring.following import follow_live
    from tracer.wiring.summarizing import Summarizing

    summarizing = Summarizing(options)
    code = follow_live(targets, options, lambda offset: summarizing.of(Nothing(), offset), None)
    summarizing.write(sys.stdout)
    return code


def _of_files(
    files: list[str], targets: tuple[str, ...], since: str | None, until: str | None, options: StreamOptions
) -> int:
    from tracer.commands.progress import is_wanted, progress
    from tracer.recording.filtered import is_filtered, say_incomplete
    from tracer.recording.multiple_runs import check_found
    from tracer.wiring.kept import given_or_kept
    from tracer.wiring.open_recordings import open_sources, sayer, targets_of
    from tracer.wiring.summarizing import USES, Summarizing

    shows, say = is_wanted(options.quiet, to_stdout=False), sayer(options.quiet)
    missing = "--since and --until are for recordings: a FILE is missing"
    given = given_or_kept(files, since, until, say, ahead=0, missing=missing)
    summarizing = Summarizing(options)
    sources = open_sources(given.files, USES, targets_of(targets), say, given)
    say_incomplete(sources, say)
    chosen = in_window(sources, given.begin, given.end, with_living=True)
    with progress(chosen, shows):
        tallies = [_tallies_of(source) for source in chosen]
    check_found(sources)
    for source, found in zip(chosen, tallies, strict=True):
        title, host = str(source) if len(chosen) > 1 else "", source.recordings[0].facts.host
        summarizing.write(sys.stdout, found, source.wall_offset_ns, host, title, is_filtered=is_filtered(source))
    is_whole = all(source.is_complete and not source.lost for source in chosen)
    return int(ExitCode.EVENTS_LOST) if options.require_complete and not is_whole else 0


def _tallies_of(source: RecordedSource) -> Tallies:
    from tracer.stream.tally import Tallies

    tallies = Tallies()
    for batch in source.batches(lambda: 0.0):
        tallies.take(batch, source.attribution)
    return tallies
