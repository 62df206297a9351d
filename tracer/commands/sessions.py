"""nstrace sessions: who is in containers from outside, now or in recordings."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import click

from tracer.wiring.completing import complete_file, complete_target
from tracer.wiring.options import is_from_settings
from tracer.wiring.printing import table_options, user_name
from tracer.wiring.process_lists import living, moment_of, noting
from tracer.wiring.zones import time_option

if TYPE_CHECKING:
    from tracer.answers.sessions import Session
    from tracer.recording.source import RecordedSource

_USED = ("tracer.answers.sessions", "tracer.views.session_list", "tracer.views.objects", "tracer.views.table")


class _Found(NamedTuple):
    """sessions: in order of their start. name_of: uid -> the name to show. say_the_rest: gives the notes that belong
    behind the output."""

    sessions: list[Session]
    name_of: Callable[[int], str]
    now_ns: int
    say_the_rest: Callable[[], None] = lambda: None


@click.command("sessions")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@click.option(
    "--from",
    "files",
    multiple=True,
    metavar="FILE",
    shell_complete=complete_file,
    help="Read a recording instead of the running host; several times for several files.",
)
@click.option("--at", metavar="TIME", help="With --from: those of this moment alone (14:03:05, +90s, -10s).")
@table_options("host PIDs of their first processes")
@time_option
def command(
    targets: tuple[str, ...],
    files: tuple[str, ...],
    at: str | None,
    output: str,
    as_json: bool,
    quiet: bool,
    no_header: bool,
    no_trunc: bool,
) -> None:
    """List who is in the TARGETs from outside: docker exec, podman exec, kubectl exec, nsenter, health checks.

    A session begins with a process whose parent is outside of the container; all below it belong to it. Without a
    TARGET: of all containers. TARGET is as for follow.

    \b
    SESSION  the container, and of a recording the number of the session in it
    KIND     exec, or health where it is known to be a health check; enter where
             no container runtime brought it in, such as nsenter; ? not known
    ENDED    how its first process ended; - it runs
    PROCS    how many of its processes live, now or at the end or --at TIME

    \b
    nstrace sessions web
    nstrace sessions --from web.arrows --at 14:03:05
    nstrace sessions --json | jq 'select(.kind == "exec") | .command'
    """
    from tracer.wiring.printing import line_width, write_table

    if at is not None and not files:
        raise click.UsageError("--at needs --from FILE")
    found = _recorded(targets, files, at, quiet) if files else _living(targets, quiet)
    if as_json or output == "json":
        from tracer.views.objects import json_line
        from tracer.views.session_list import session_json

        sys.stdout.writelines(json_line(session_json(one)) for one in found.sessions)
    elif quiet:
        sys.stdout.writelines(f"{one.pids[0]}\n" for one in found.sessions)
    else:
        from tracer.views.session_list import session_table

        write_table(session_table(found.sessions, found.name_of, found.now_ns, line_width(no_trunc)), no_header)
    found.say_the_rest()


def _living(texts: tuple[str, ...], quiet: bool) -> _Found:
    from tracer.wiring.looking import look

    lookup = look(_USED)
    from tracer.answers.sessions import of_census

    gathered = living(lookup, texts, noting(quiet))
    ids = dict.fromkeys(entry.container.id for entry in gathered.entries if entry.container)
    execs = [said for container_id in ids for said in lookup.names.execs(container_id)]
    meant = {entry.pid for entry in gathered.entries}
    sessions = [one for one in of_census(gathered.census, execs) if one.pids[0] in meant]
    return _Found(sessions, user_name, gathered.moment_ns, gathered.say_the_rest)


def _recorded(texts: tuple[str, ...], files: tuple[str, ...], at: str | None, quiet: bool) -> _Found:
    from tracer.recording.filtered import LIVES, check_complete
    from tracer.recording.multiple_runs import check_found, run_of
    from tracer.wiring.open_recordings import open_sources, sayer, targets_of

    meant = () if is_from_settings("targets") else texts
    sources = open_sources(
        files, (*_USED, "tracer.past.sessions", "tracer.typed.moments"), targets_of(meant), sayer(quiet)
    )
    chosen = [run_of(sources, at)] if at is not None else sources
    check_complete(chosen, LIVES)
    sessions = _distinct((source, one) for source in chosen for one in _of_run(source, at))
    check_found(chosen)
    return _Found(sessions, str, time.time_ns())


def _distinct(found: Iterable[tuple[RecordedSource, Session]]) -> list[Session]:
    """The sessions, each once where several runs have recorded it at one time: of the one that knows how it ended."""
    best: dict[object, Session] = {}
    for source, one in found:
        where = one.container.id if one.container else None
        key = source.recordings[0].facts.clock, where, one.pids, one.since_ns - source.wall_offset_ns
        if key not in best or (best[key].ended_ns is None and one.ended_ns is not None):
            best[key] = one
    return list(best.values())


def _of_run(source: RecordedSource, at: str | None) -> Iterator[Session]:
    from tracer.past.sessions import SessionsSoFar
    from tracer.typed.moments import Span

    if at is not None:
        source.show(Span(0, moment_of(source, at)))
    so_far = SessionsSoFar(source.attribution, source.wall_offset_ns)
    so_far.take(source.batches(lambda: 0.0))
    yield from so_far.found(only_living=at is not None)
