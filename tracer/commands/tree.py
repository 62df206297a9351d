"""nstrace tree: processes below their parents, containers and nested namespaces as branches."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tracer.wiring.completing import complete_target
from tracer.wiring.printing import output_options
from tracer.wiring.process_lists import gather, moment_options

if TYPE_CHECKING:
    from tracer.views.tree import Marks


@click.command("tree")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@moment_options
@output_options
def command(
    targets: tuple[str, ...], file: str | None, at: str | None, output: str, as_json: bool, quiet: bool
) -> None:
    """Print the processes of the TARGETs as a tree; of all containers without a TARGET.

    Every process stands with all its PIDs, the host's first: 4711>15>3 is 3 in the innermost of two PID namespaces.
    TARGET is as for follow; `nstrace tree host all` shows the whole host. JSON has a line for each process, with the
    number of its ancestors that are shown as depth.
    """
    from tracer.wiring.printing import line_width, note

    found = gather(targets, file, at, quiet)
    if as_json or output == "json":
        from tracer.views.objects import json_line, process_object
        from tracer.views.tree import processes

        sys.stdout.writelines(
            json_line({"depth": depth} | process_object(entry, found.name_of))
            for depth, entry in processes(found.entries)
        )
    else:
        from tracer.views.tree import HEADER, tree

        note(HEADER, quiet or not found.entries)
        sys.stdout.write(tree(found.census, found.entries, line_width(), _marks()))
    found.say_the_rest()


def _marks() -> Marks:
    """The marks that the encoding of stdout can show."""
    from tracer.views.tree import ASCII, UNICODE

    try:
        "".join(UNICODE).encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return ASCII
    return UNICODE
