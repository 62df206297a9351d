"""nstrace ps: the processes of containers with all their PIDs."""

from __future__ import annotations

import sys

import click

from tracer.commands.completing import complete_target
from tracer.commands.showing import output_options


@click.command("ps")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@click.option("--pids", is_flag=True, help="All PIDs of each process, host first; nested namespaces show them anyway.")
@output_options
def command(targets: tuple[str, ...], pids: bool, output: str, as_json: bool, quiet: bool) -> None:
    """Print the processes of the TARGETs with their PIDs on the host and inside; of all containers without a TARGET.

    TARGET is as for follow: a container's name or id, 'web-*', label:K=V, image:NAME, compose:SERVICE, pid:N,
    pidns:INUM, host or all.

    \b
    NSPID, NSPPID   the numbers of the process and of its parent in its PID namespace (0: the parent is not in there)
    STATE           zombie: it has exited and keeps its numbers until its parent reaps it
    """
    import time

    from tracer.commands.showing import chosen, line_width, living_targets, note, say_what_is_hidden, user_name
    from tracer.initial import require_initial_pidns
    from tracer.lookup import Lookup
    from tracer.taking import take_census

    require_initial_pidns()
    lookup = Lookup()
    meant = living_targets(targets, lookup)
    census = take_census(lookup.host)
    entries = chosen(census, meant, quiet)
    if as_json or output == "json":
        from tracer.views.objects import json_line, process_object

        sys.stdout.writelines(json_line(process_object(entry, user_name)) for entry in entries)
    else:
        from tracer.views.table import place, process_table

        several = len({place(entry) for entry in entries}) > 1
        table = process_table(
            census, entries, user_name, time.time_ns(), containers=several, pids=pids, line_width=line_width()
        )
        note(table.header, quiet or not entries)
        sys.stdout.write(table.text)
    say_what_is_hidden(entries, lookup.names, quiet)
