"""nstrace inspect: everything known about a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tracer.wiring.completing import complete_proc
from tracer.wiring.printing import output_options
from tracer.wiring.zones import time_option

if TYPE_CHECKING:
    from tracer.answers.census import Entry
    from tracer.answers.inspection import Inspection
    from tracer.host.lookup import Lookup
    from tracer.host.process_details import EnvironOf
    from tracer.typed.processes import Proc


_MAX_VARIABLES = 1 << 14
_GONE = "nstrace ps lists running processes"
_USED = ("tracer.answers.inspection", "tracer.secrets.redactor", "tracer.typed.processes")


@click.command("inspect")
@click.argument("procs", nargs=-1, required=True, metavar="PROC...", shell_complete=complete_proc)
@click.option(
    "--env", is_flag=True, help="Also show its environment at the last exec; values that look secret are masked."
)
@click.option("--show-secrets", is_flag=True, help="Do not mask secrets in arguments and environment.")
@output_options
@time_option
def command(procs: tuple[str, ...], env: bool, show_secrets: bool, output: str, as_json: bool, quiet: bool) -> None:
    """Show everything known about a process: PIDs, namespaces, container, user, command line, and its parents up to
    PID 1 of the host. Secrets in its arguments are masked.

    PROC is as for translate: 40123, web/15, pidns:INUM/15, pid:40123/15. Lines are not cut.

    \b
    nstrace inspect web/15
    nstrace inspect --env --json 40123
    """
    from tracer.host.process_details import environ_by, environ_operations
    from tracer.secrets.values import load
    from tracer.system.broker import Broker
    from tracer.system.privileges import drop_but_look
    from tracer.views.inspection import inspection_object, inspection_text
    from tracer.views.objects import json_line
    from tracer.wiring.looking import prepared
    from tracer.wiring.printing import answer_each, user_name

    load()
    lookup = prepared(_USED)
    environ_of = environ_by(Broker(environ_operations())) if env else None
    drop_but_look()

    def show(proc: Proc) -> str:
        found = _inspect(lookup, proc, environ_of)
        found = found if show_secrets else with_masked_args(found)
        if as_json or output == "json":
            return json_line(inspection_object(found, user_name, show_secrets))
        block = inspection_text(found, user_name, show_secrets)
        return block + "\n" if len(procs) > 1 else block

    answer_each(procs, show)


def _inspect(lookup: Lookup, proc: Proc, environ_of: EnvironOf | None) -> Inspection:
    import time
    from dataclasses import replace

    from tracer.answers.inspection import Inspection
    from tracer.errors import ExitCode, NstraceError
    from tracer.host.process_details import details, shared_with_host, with_more_args
    from tracer.host.translation import translate
    from tracer.stream.metadata import first_args

    translation = translate(lookup, proc)
    process = lookup.host.process(translation.entry.proc_id.tgid)
    if process is None or process.proc_id != translation.entry.proc_id:
        raise NstraceError(f"{proc.text} has just exited", _GONE, ExitCode.NO_TARGET)
    try:
        found = details(process, environ_of)
    except ProcessLookupError as error:
        raise NstraceError(f"{proc.text} has just exited", _GONE, ExitCode.NO_TARGET) from error
    variables, has_more = first_args(found.environ or b"", _MAX_VARIABLES)
    return Inspection(
        translation=replace(translation, entry=with_more_args(translation.entry)),
        age_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME) - process.proc_id.start_ns,
        details=found,
        parents=_parents(lookup, translation.entry),
        cgroups=process.cgroups,
        shared=shared_with_host(found.namespaces),
        env=None if environ_of is None or found.environ is None else variables,
        env_unreadable=found.environ is None,
        env_truncated=has_more or found.environ_truncated,
    )


def with_masked_args(found: Inspection) -> Inspection:
    """The process with the secrets in its arguments masked."""
    from dataclasses import replace

    from tracer.secrets.redactor import masked_args

    args, count = masked_args(found.entry.args or b"", found.entry.args_truncated)
    entry = replace(found.entry, args=args) if count else found.entry
    return replace(found, translation=replace(found.translation, entry=entry), masked_args=count)


def _parents(lookup: Lookup, entry: Entry) -> list[Entry]:
    """The parents, nearest first, as far as they are known."""
    from tracer.host.census import entry_of

    found: list[Entry] = []
    while entry.parent and (process := lookup.host.process(entry.parent.tgid)) and process.proc_id == entry.parent:
        entry = entry_of(lookup.host, process)
        found.append(entry)
    return found
