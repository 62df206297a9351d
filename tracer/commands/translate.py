"""nstrace translate: from a PID inside to the host's and back."""

from __future__ import annotations

import sys

import click

from tracer.commands.completing import complete_proc
from tracer.commands.showing import output_options
from tracer.errors import ExitCode, NstraceError


@click.command("translate")
@click.argument("procs", nargs=-1, required=True, metavar="PROC...", shell_complete=complete_proc)
@click.option(
    "--to-container", is_flag=True, help="With - : mark the host's PIDs in a stream with container and PID inside."
)
@click.option("--to-host", is_flag=True, help="With - : mark the PIDs of one container with the host's.")
@click.option("--in", "where", metavar="CONTAINER", help="For --to-host: whose PIDs (web, pidns:INUM).")
@click.option("--replace", is_flag=True, help="Put the answer in place of the number.")
@output_options
def command(
    procs: tuple[str, ...],
    to_container: bool,
    to_host: bool,
    where: str | None,
    replace: bool,
    quiet: bool,
    output: str,
    as_json: bool,
) -> None:
    """Which process is it? From a PID inside a container to the host's and back, with all its numbers.

    \b
    PROC is one of
      40123            a PID on the host
      web/15           PID 15 in container web (its name, or the beginning of its id)
      pidns:INUM/15    PID 15 in the PID namespace with this inode number
      pid:40123/15     PID 15 in the PID namespace of host process 40123

    -q prints one number for each PROC: of a PID inside the host's, of a PID on the host the innermost one.

    As a filter (-) it marks the numbers in a stream that are PIDs of living processes or threads, and passes all else
    on as it is, line by line. A number in a word, a version, a time, an address or an amount is no PID.

    \b
    nstrace translate web/15
    kill -USR1 $(nstrace translate -q web/15)
    dmesg -w | nstrace translate --to-container -
    docker logs -f web | nstrace translate --to-host --in web -
    """
    from tracer.commands.showing import line_width, user_name
    from tracer.initial import require_initial_pidns
    from tracer.lookup import Lookup
    from tracer.proc import parse_proc
    from tracer.translating import translate
    from tracer.translation import Translation

    def show(translation: Translation) -> str:
        if quiet:
            return f"{translation.result}\n"
        if as_json or output == "json":
            from tracer.views.objects import json_line
            from tracer.views.translation import json_object

            return json_line(json_object(translation, user_name))
        from tracer.views.translation import block

        return block(translation, user_name, line_width())

    require_initial_pidns()
    if _is_filter(procs, to_container, to_host, where, replace):
        from tracer.commands import filtering

        filtering.to_host(where, replace) if where else filtering.to_container(replace)
        return
    lookup = Lookup()
    missing: list[NstraceError] = []
    for proc in [parse_proc(text) for text in procs]:
        try:
            sys.stdout.write(show(translate(lookup, proc)))
        except NstraceError as error:
            if error.exit_code != ExitCode.NO_TARGET:
                raise
            missing.append(error)
    if missing:
        raise NstraceError("; ".join(error.message for error in missing), missing[0].hint, ExitCode.NO_TARGET)


def _is_filter(procs: tuple[str, ...], to_container: bool, to_host: bool, where: str | None, replace: bool) -> bool:
    """Whether a stream is to be read. Raises UsageError for what does not go together."""
    if procs != ("-",):
        if "-" in procs or to_container or to_host or where or replace:
            raise click.UsageError("--to-container, --to-host, --in and --replace go with - alone: a stream to read")
        return False
    if to_container == to_host:
        raise click.UsageError("- wants one of --to-container and --to-host")
    if to_host != bool(where):
        raise click.UsageError("--to-host wants --in CONTAINER, and --in goes with nothing else")
    return True
