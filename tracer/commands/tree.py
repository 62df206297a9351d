"""nstrace tree: processes below their parents, containers and nested namespaces as branches."""

from __future__ import annotations

import sys

import click

from tracer.commands.completing import complete_target
from tracer.commands.showing import output_options


@click.command("tree")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@output_options
def command(targets: tuple[str, ...], output: str, as_json: bool, quiet: bool) -> None:
    """Print the processes of the TARGETs as a tree; of all containers without a TARGET.

    Every process stands with all its PIDs, the host's first: 4711>15>3 is 3 in the innermost of two PID namespaces.
    TARGET is as for follow; `nstrace tree host all` shows the whole host.
    """
    from tracer.commands.showing import chosen, line_width, living_targets, note, say_what_is_hidden, user_name
    from tracer.initial import require_initial_pidns
    from tracer.lookup import Lookup
    from tracer.taking import take_census
    from tracer.views.tree import HEADER, branches, tree

    require_initial_pidns()
    lookup = Lookup()
    meant = living_targets(targets, lookup)
    census = take_census(lookup.host)
    entries = chosen(census, meant, quiet)
    if as_json or output == "json":
        from tracer.views.objects import json_line, process_object

        for branch in branches(entries):
            if branch.entry:
                sys.stdout.write(json_line({"depth": branch.depth} | process_object(branch.entry, user_name)))
    else:
        note(HEADER, quiet or not entries)
        sys.stdout.write(tree(census, entries, line_width()))
    say_what_is_hidden(entries, lookup.names, quiet)
