"""nstrace ps: the processes of containers with all their PIDs."""

from __future__ import annotations

import sys

import click

from tracer.wiring.completing import complete_target
from tracer.wiring.options import which_options
from tracer.wiring.printing import table_options
from tracer.wiring.process_lists import gather, moment_options
from tracer.wiring.zones import time_option


@click.command("ps")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@click.option("--pids", is_flag=True, help="Add a column with all PIDs of each process, host first.")
@which_options
@moment_options
@table_options("host PIDs")
@time_option
def command(
    targets: tuple[str, ...],
    pids: bool,
    file: str | None,
    at: str | None,
    where: tuple[str, ...],
    output: str,
    as_json: bool,
    quiet: bool,
    no_header: bool,
    no_trunc: bool,
) -> None:
    """List the processes of the TARGETs with their PIDs on the host and inside; of all containers without a TARGET.

    TARGET is as for follow: a container's name or id, 'web-*', label:K=V, image:NAME, compose:SERVICE, pid:N,
    pidns:INUM, host or all.

    \b
    PID     PID on the host
    NSPID   PID inside: in the process's own PID namespace. 7>1: 7 in the
            container, 1 in a PID namespace nested in it
    NSPPID  PID of the parent in the process's PID namespace; 0: the parent is
            outside of it
    STATE   zombie: exited, but not yet reaped by its parent
    ?       unknown. 0?: it was 0 at the process's last event in the recording
            and had changed by the next one

    \b
    nstrace ps web
    nstrace ps -q web | xargs ps -o pid,rss,comm -p
    nstrace ps --where "user = 'www-data' and state <> 'Z'" web
    nstrace ps --from web.arrows --at 14:03:05
    """
    from tracer.wiring.printing import line_width, write_table

    found = gather(targets, file, at, quiet, where)
    if as_json or output == "json":
        from tracer.views.objects import json_line, process_object

        sys.stdout.writelines(json_line(process_object(entry, found.name_of)) for entry in found.entries)
    elif quiet:
        sys.stdout.writelines(f"{entry.numbers[0]}\n" for entry in found.entries)
    else:
        from tracer.views.table import place, process_table

        several = len({place(entry) for entry in found.entries}) > 1
        table = process_table(
            found.census, found.entries, found.name_of, found.moment_ns,
            containers=several, pids=pids, line_width=line_width(no_trunc),
        )  # fmt: skip
        write_table(table, no_header)
    found.say_the_rest()
