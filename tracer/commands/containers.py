"""nstrace containers: what runs, found by cgroup and PID namespace, named by the engine."""

from __future__ import annotations

import sys

import click

from tracer.commands.completing import complete_target
from tracer.commands.showing import output_options


@click.command("containers")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@output_options
def command(targets: tuple[str, ...], output: str, as_json: bool, quiet: bool) -> None:
    """List running containers, of every runtime, and PID namespaces that belong to none.

    They are found by the cgroups and PID namespaces of living processes; a container engine adds names and images.

    \b
    INIT    the host PID of number 1 inside; where the PID namespace is another's, of the container's first process
    PIDNS   inode number of its PID namespace: nstrace follow pidns:INUM
    LEVEL   how deep that is nested: 1 below the host's, 2 for a container in a container
    """
    import time

    from tracer.commands.showing import line_width, living_targets, note, say_what_is_hidden
    from tracer.initial import require_initial_pidns
    from tracer.inventory import running
    from tracer.lookup import Lookup
    from tracer.taking import take_census
    from tracer.views.containers import container_json, container_table

    require_initial_pidns()
    lookup = Lookup()
    meant = living_targets(targets, lookup)
    found = running(take_census(lookup.host))
    shown = [one for one in found if any(one.init.is_meant(target) for target in meant)]
    if as_json or output == "json":
        from tracer.views.objects import json_line

        sys.stdout.writelines(json_line(container_json(one)) for one in shown)
    else:
        table = container_table(shown, time.time_ns(), line_width())
        note(table.header, quiet or not shown)
        sys.stdout.write(table.text)
    if not shown:
        note("nstrace: no container runs, and no process is in a nested PID namespace", quiet)
    say_what_is_hidden([one.init for one in shown], lookup.names, quiet)
