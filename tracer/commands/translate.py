"""nstrace translate: from a PID in a container to the PID on the host and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from tracer.wiring.completing import complete_file, complete_proc
from tracer.wiring.log_options import LogOptions, log_options
from tracer.wiring.printing import answer_each, output_options
from tracer.wiring.zones import time_option

if TYPE_CHECKING:
    from tracer.answers.translation import Translation
    from tracer.typed.processes import Proc


@click.command("translate")
@click.argument("procs", nargs=-1, required=True, metavar="PROC...", shell_complete=complete_proc)
@click.option(
    "--from", "file", metavar="FILE", shell_complete=complete_file, help="Read a recording instead of the running host."
)
@click.option(
    "--at", metavar="TIME", help="The process that had the PID at TIME, of --from FILE or as nstrace agent knows."
)
@click.option("--during", metavar="A..B", help="All processes that had the PID between two times (14:03..+5m).")
@click.option("--to-container", is_flag=True, help="With -: annotate host PIDs with the container and the PID in it.")
@click.option("--to-host", is_flag=True, help="With -: annotate PIDs of one container with host PIDs.")
@click.option(
    "--in", "where", metavar="CONTAINER", help="With --to-host: the container or PID namespace (web, pidns:INUM)."
)
@click.option("--replace", is_flag=True, help="With -: replace PIDs instead of annotating them.")
@log_options
@output_options
@time_option
def command(
    procs: tuple[str, ...],
    file: str | None,
    at: str | None,
    during: str | None,
    to_container: bool,
    to_host: bool,
    where: str | None,
    replace: bool,
    quiet: bool,
    output: str,
    as_json: bool,
    log: LogOptions,
) -> None:
    """Translate a PID in a container to the PID on the host and back, and show all PIDs of the process.

    \b
    PROC is one of
      40123            a PID on the host
      web/15           PID 15 in container web (its name, or a prefix of its ID)
      pidns:INUM/15    PID 15 in the PID namespace with this inode number
      pid:40123/15     PID 15 in the PID namespace of host process 40123
      pod:web-0/15     PID 15 in the only container of a Kubernetes pod

    -q prints one PID for each PROC: the host's for a PID inside, the innermost one for a PID on the host.

    --from FILE reads a recording: a PID that several processes had one after the other has several answers, each with
    its time. TIME is as for nstrace replay: 14:03:05.250, 2026-11-24T14:03:05Z, +90s after its beginning, -10s before
    its end. Where lost events leave the answer open, nstrace says that it is not known. Without --from, --at and
    --during ask what nstrace agent has recorded.

    As a filter (-) it annotates the PIDs of running processes and threads in text from stdin, line by line, and leaves
    everything else unchanged; control characters are removed on a terminal (| less -R shows colors). Numbers that are
    part of a word, version, time, address or amount are not taken for PIDs. With --from each number is translated as of
    the time of its line, in whichever of the usual forms that is; where two processes had it about then, or it is not
    known, it stays as it is. JSON lines get a member process; the keys say where their PID, container and time are.

    \b
    nstrace translate web/15
    kill -USR1 $(nstrace translate -q web/15)
    nstrace translate --from web.arrows --at 14:03:05 web/15
    dmesg -w | nstrace translate --to-container -
    docker logs -f web | nstrace translate --to-host --in web -
    docker logs -t web | nstrace translate --to-host --in web --from web.arrows -
    journalctl -o short-iso | nstrace translate --to-container --from web.arrows -
    nstrace translate --from web.arrows --pid-key pid --time-key at - < app.jsonl
    """
    from tracer.system.host_pidns import require_initial_pidns

    is_filter = procs == ("-",) if log.has_keys else _is_filter(procs, to_container, to_host, where, replace)
    if is_filter and file:
        if at or during:
            raise click.UsageError("- has a time in each line: it cannot be combined with --at or --during")
        from tracer.wiring.log_filter import LogQuestion, filter_log

        filter_log(file, LogQuestion(where or "", log.keys(where), replace, log.explain, log.lag_ns, quiet))
        return
    if log.are_given:
        raise click.UsageError("--explain, --lag and the keys of JSON lines need - as the only PROC, and --from FILE")
    if is_filter:
        from tracer.wiring import filtering

        if at or during:
            raise click.UsageError("--at and --during need a recording: --from FILE")
        require_initial_pidns()
        filtering.to_host(where, replace) if where else filtering.to_container(replace)
        return
    show = _shower(quiet, as_json or output == "json", is_living=not (file or at or during))
    if not (file or at or during):
        answer_each(procs, _asking_the_host(show, quiet))
        return
    if at and during:
        raise click.UsageError("--at and --during cannot be combined")
    from tracer.wiring.recorded_translation import asking_a_recording

    answer_each(procs, asking_a_recording(file, procs, at, during, show, quiet))


def _asking_the_host(show: Callable[[Translation], str], quiet: bool) -> Callable[[Proc], str]:
    from tracer.host.translation import translate
    from tracer.wiring.looking import look
    from tracer.wiring.process_lists import noting, say_what_is_hidden

    lookup = look(("tracer.views.objects", "tracer.views.translation", "tracer.typed.processes"))

    def ask(proc: Proc) -> str:
        found = translate(lookup, proc)
        say_what_is_hidden([found.entry], lookup.names, noting(quiet))
        return show(found)

    return ask


def _shower(quiet: bool, json: bool, is_living: bool) -> Callable[[Translation], str]:
    """How an answer is printed. Users of a recorded host are shown by number: their names are not known here."""
    if quiet:
        return lambda translation: f"{translation.result}\n"
    from tracer.views.objects import json_line
    from tracer.views.translation import block, json_object
    from tracer.wiring.printing import line_width, user_name

    name_of = user_name if is_living else str
    if json:
        return lambda translation: json_line(json_object(translation, name_of))
    return lambda translation: block(translation, name_of, line_width())


def _is_filter(procs: tuple[str, ...], to_container: bool, to_host: bool, where: str | None, replace: bool) -> bool:
    """Whether to read a stream. Raises UsageError for options that exclude each other."""
    if procs != ("-",):
        if "-" in procs or to_container or to_host or where or replace:
            raise click.UsageError(
                "--to-container, --to-host, --in and --replace need - as the only PROC: they annotate text from stdin"
            )
        return False
    if to_container == to_host:
        raise click.UsageError("- needs either --to-container or --to-host")
    if to_host != bool(where):
        raise click.UsageError("--to-host needs --in CONTAINER" if to_host else "--in needs --to-host")
    return True
