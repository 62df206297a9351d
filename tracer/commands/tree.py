"""nstrace tree: processes below their parents, containers and nested namespaces as branches."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tracer.wiring.completing import complete_target
from tracer.wiring.options import which_options
from tracer.wiring.printing import table_options
from tracer.wiring.process_lists import gather, moment_options
from tracer.wiring.zones import time_option

if TYPE_CHECKING:
    from tracer.views.tree import Marks


@click.command("tree")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@click.option("--no-fold", is_flag=True, help="Show every process on a line of its own.")
@which_options
@moment_options
@table_options("host PIDs")
@time_option
def command(
    targets: tuple[str, ...],
    no_fold: bool,
    file: str | None,
    at: str | None,
    where: tuple[str, ...],
    output: str,
    as_json: bool,
    quiet: bool,
    no_header: bool,
    no_trunc: bool,
) -> None:
    """Show the processes of the TARGETs as a tree; of all containers without a TARGET.

    Each process is shown with all its PIDs, the host's first: 4711>15>3 has PID 4711 on the host, 15 in the container
    and 3 in a PID namespace nested in it. TARGET is as for follow.

    Three or more siblings with the same command and no children share a line: 420>7..439>26 20*[sleep 600], with the
    PIDs of the first and of the last. JSON has a line for each process; depth is the number of its ancestors shown.

    \b
    nstrace tree web
    nstrace tree host all    the whole host
    """
    from tracer.wiring.printing import line_width

    found = gather(targets, file, at, quiet, where)
    if as_json or output == "json":
        from tracer.views.objects import json_line, process_object
        from tracer.views.tree import processes

        sys.stdout.writelines(
            json_line({"depth": depth} | process_object(entry, found.name_of))
            for depth, entry in processes(found.entries)
        )
    elif quiet:
        from tracer.views.tree import processes

        sys.stdout.writelines(f"{entry.numbers[0]}\n" for _depth, entry in processes(found.entries))
    else:
        from tracer.views.tree import HEADER, tree

        text = tree(found.census, found.entries, line_width(no_trunc), _marks(), fold=not no_fold)
        sys.stdout.write(text if no_header else f"{HEADER}\n{text}")
    found.say_the_rest()


def _marks() -> Marks:
    """The marks that the encoding of stdout can show."""
    from tracer.views.tree import ASCII, UNICODE

    try:
        "".join(UNICODE).encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return ASCII
    return UNICODE
