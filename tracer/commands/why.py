"""nstrace why: how the last life of a container ended, or a process, and what led to it."""

from __future__ import annotations

import sys

import click

from tracer.wiring.completing import complete_ended, complete_file
from tracer.wiring.printing import output_options
from tracer.wiring.zones import time_option


@click.command("why")
@click.argument("arguments", nargs=-1, metavar="CONTAINER|PROC [FILE]...", shell_complete=complete_ended)
@click.option(
    "--from",
    "files",
    metavar="FILE",
    multiple=True,
    shell_complete=complete_file,
    help="Read a recording; further FILEs must end in .arrows. Default: what nstrace agent has recorded.",
)
@click.option("--at", metavar="TIME", help="Of a recording: the last end until TIME.")
@click.option("--all", "is_all", is_flag=True, help="Of a recording: all ends, by cause; of one CONTAINER, or of all.")
@output_options
@time_option
def command(
    arguments: tuple[str, ...],
    files: tuple[str, ...],
    at: str | None,
    is_all: bool,
    output: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show why the last life of a container ended, or a process: how, who sent the signal, what happened before, which
    processes ended last, and what died with it.

    CONTAINER is a name, web#2 for one life of it, or the beginning of an id; name:4711 is a name that looks like a PID;
    label:, image:, compose: and pod: as for follow. PROC is as for translate: 40123, web/15.

    Without --from it is read in what nstrace agent has recorded. Where no agent has, the container's engine is asked,
    which knows the exit code of the last life and whether memory ran out. Exit code 3: there is nothing to say.

    \b
    nstrace why web
    nstrace why web --from web.arrows
    nstrace why web/15 --from web.arrows --at 14:03
    nstrace why --all --from all.arrows
    """
    names = [text for text in arguments if not text.endswith(".arrows")]
    files = (*files, *(text for text in arguments if text.endswith(".arrows")))
    if len(names) > 1 or not (names or is_all):
        raise click.UsageError("why needs one CONTAINER or PROC; or --all")
    as_json = as_json or output == "json"
    from tracer.wiring.kept import has_kept

    if not (files or at or is_all or has_kept()):
        from tracer.wiring.last_word import answer_now

        sys.stdout.write(answer_now(names[0], as_json))
        return
    from tracer.commands.progress import is_wanted, progress
    from tracer.wiring.recorded_why import answer

    shows, name = is_wanted(quiet, to_stdout=False), names[0] if names else None
    read = lambda sources: progress(sources, shows)  # noqa: E731
    sys.stdout.write(answer(files, name, at, is_all, as_json, quiet, read))
