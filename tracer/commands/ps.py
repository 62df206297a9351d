"""nstrace ps: the processes of containers with all their PIDs."""

from __future__ import annotations

import sys

import click

from tracer.wiring.completing import complete_target
from tracer.wiring.printing import output_options
from tracer.wiring.process_lists import gather, moment_options


@click.command("ps")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@click.option("--pids", is_flag=True, help="A column with all PIDs of each process, host first.")
@moment_options
@output_options
def command(
    targets: tuple[str, ...], pids: bool, file: str | None, at: str | None, output: str, as_json: bool, quiet: bool
) -> None:
    """Print the processes of the TARGETs with their PIDs on the host and inside; of all containers without a TARGET.

    TARGET is as for follow: a container's name or id, 'web-*', label:K=V, image:NAME, compose:SERVICE, pid:N,
    pidns:INUM, host or all.

    \b
    NSPID   its number inside; 7>1 is 7 in the container, 1 in a namespace in it
    NSPPID  its parent's number in there, 0 where the parent is not in there
    STATE   zombie: it has exited and keeps its numbers until its parent reaps it
    ?       not known; 0? was 0 at the process's last event in the recording,
            and is something else at its next

    \b
    nstrace ps web
    nstrace ps --from web.arrows --at 14:03:05
    """
    from tracer.wiring.printing import line_width, note

    found = gather(targets, file, at, quiet)
    if as_json or output == "json":
        from tracer.views.objects import json_line, process_object

        sys.stdout.writelines(json_line(process_object(entry, found.name_of)) for entry in found.entries)
    else:
        from tracer.views.table import place, process_table

        several = len({place(entry) for entry in found.entries}) > 1
        table = process_table(
            found.census, found.entries, found.name_of, found.moment_ns,
            containers=several, pids=pids, line_width=line_width(),
        )  # fmt: skip
        note(table.header, quiet or not found.entries)
        sys.stdout.write(table.text)
    found.say_the_rest()
