"""nstrace containers: what runs, found by cgroup and PID namespace, named by the engine."""

from __future__ import annotations

import sys

import click

from tracer.wiring.completing import complete_target
from tracer.wiring.printing import output_options
from tracer.wiring.process_lists import gather, moment_options


@click.command("containers")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@moment_options
@output_options
def command(
    targets: tuple[str, ...], file: str | None, at: str | None, output: str, as_json: bool, quiet: bool
) -> None:
    """List running containers, of every runtime, and PID namespaces that belong to none.

    They are found by the cgroups and PID namespaces of living processes; a container engine adds names and images.

    \b
    INIT   host PID of number 1 inside, or of the first process where the PID
           namespace is another's
    PIDNS  inode number of its PID namespace, as in nstrace follow pidns:INUM
    LEVEL  how deep that is nested: 2 is a container in a container
    """
    from tracer.answers.inventory import running
    from tracer.views.containers import container_json, container_table
    from tracer.views.objects import json_line
    from tracer.wiring.printing import line_width, note

    found = gather(targets, file, at, quiet)
    everyone = running(found.census, found.init_of)
    shown = [one for one in everyone if any(one.init.is_meant(target) for target in found.targets)]
    if as_json or output == "json":
        sys.stdout.writelines(json_line(container_json(one)) for one in shown)
    else:
        table = container_table(shown, found.moment_ns, line_width())
        note(table.header, quiet or not shown)
        sys.stdout.write(table.text)
    found.say_the_rest()
