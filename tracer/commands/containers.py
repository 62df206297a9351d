"""nstrace containers: what runs, found by cgroup and PID namespace, named by the engine."""

from __future__ import annotations

import sys

import click

from tracer.wiring.completing import complete_target
from tracer.wiring.printing import table_options
from tracer.wiring.process_lists import gather, moment_options
from tracer.wiring.zones import time_option


@click.command("containers")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@moment_options
@table_options("container IDs")
@time_option
def command(
    targets: tuple[str, ...],
    file: str | None,
    at: str | None,
    output: str,
    as_json: bool,
    quiet: bool,
    no_header: bool,
    no_trunc: bool,
) -> None:
    """List running containers of every runtime, and PID namespaces that belong to no container.

    They are found by the cgroups and PID namespaces of running processes; a container engine adds names and images.
    -q prints pidns:INUM for a PID namespace that belongs to no container.

    \b
    ENGINE the engine that knows its name, where it is a user's: podman:1000 is
           that of user 1000
    INIT   host PID of the container's PID 1; of its first process, where it has
           no PID namespace of its own
    PIDNS  inode number of its PID namespace, as in nstrace follow pidns:INUM
    LEVEL  nesting depth of that namespace: 2 is a container in a container
    PROCS  number of processes

    \b
    nstrace containers
    nstrace containers -q | xargs -n 1 nstrace tree
    """
    from tracer.answers.inventory import running
    from tracer.views.containers import container_json, container_table, identifier
    from tracer.views.objects import json_line
    from tracer.wiring.printing import line_width, write_table

    found = gather(targets, file, at, quiet)
    everyone = running(found.census, found.init_of)
    shown = [one for one in everyone if any(one.init.is_meant(target) for target in found.targets)]
    if as_json or output == "json":
        sys.stdout.writelines(json_line(container_json(one)) for one in shown)
    elif quiet:
        sys.stdout.writelines(f"{identifier(one)}\n" for one in shown)
    else:
        write_table(container_table(shown, found.moment_ns, line_width(no_trunc)), no_header)
    found.say_the_rest()
