"""nstrace export: a recording for other tools."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from tracer.errors import ExitCode, NstraceError
from tracer.stream.schema import EVENT_NAMES, Kind, Output, columns_in
from tracer.text.counted import counted
from tracer.wiring.completing import complete_file
from tracer.wiring.conditions import filter_of, let_pass
from tracer.wiring.options import chosen_names, which_events_options
from tracer.wiring.printing import note
from tracer.wiring.signals import interrupt_at_signals
from tracer.wiring.whole_file import default_signals, into_file
from tracer.wiring.windows import in_window, window_options
from tracer.wiring.zones import time_option

if TYPE_CHECKING:
    from tracer.recording.source import RecordedSource

_FORMATS = ("parquet", "jsonl", "csv", "perfetto")
_SUFFIXES = {"perfetto": "pftrace"}
_USES: dict[str, tuple[str, ...]] = {"jsonl": ("tracer.views.fields",), "perfetto": ("tracer.recording.perfetto",)}
_FLAT = ("parquet", "csv")
_EVENTS = "events"
Convert = Callable[[Callable[["list[RecordedSource]"], str]], str]
"""Calls what writes the sources, and gives what that does: what was written, in words."""


def _fields(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """The names in --fields: columns of the table that is written. Raises NstraceError (usage)."""
    return chosen_names(ctx, value, _columns_of(ctx.params.get("what") or _EVENTS))


def _columns_of(what: str) -> dict[str, str]:
    """The names that --fields may have, with a line about each: columns of the table, of events members of JSON too."""
    if what == _EVENTS:
        outputs = Output.JSON | Output.THREADS | Output.MARK | Output.EXPORT
        return {column.name: column.doc for column in columns_in(outputs)}
    from tracer.ask.relations import RELATIONS

    return {name: fact.doc for name, fact in RELATIONS[what].facts.items()}


@click.command("export")
@click.argument("arguments", nargs=-1, metavar="FILE... [TARGET]...", shell_complete=complete_file)
@click.option("--to", "form", type=click.Choice(_FORMATS), required=True, help="Output format.")
@click.option(
    "--what",
    type=click.Choice((_EVENTS, "processes", "containers", "gaps")),
    default="events",
    show_default=True,
    is_eager=True,
    help="The table to write: those of nstrace sql.",
)
@click.option(
    "-w",
    "--write",
    "out",
    metavar="OUT",
    shell_complete=complete_file,
    help="Output file; - is stdout. Default: FILE with another extension, or a new one named after the TARGETs.",
)
@which_events_options
@click.option(
    "--fields",
    callback=_fields,
    metavar="LIST",
    help="Of csv and jsonl write these columns, in this order: time,pid,args. --fields help lists them.",
)
@window_options()
@click.option("--partition", is_flag=True, help="OUT is a folder: OUT/date=2026-11-24/host=web1/0.parquet.")
@click.option("--force", is_flag=True, help="Replace OUT if it is there.")
@click.option("-q", "--quiet", is_flag=True, help="No warnings, and no line that says what was written.")
@time_option
def command(
    arguments: tuple[str, ...], form: str, what: str, where: tuple[str, ...], fields: tuple[str, ...],
    out: str | None, partition: bool, force: bool, quiet: bool, since: str | None, until: str | None,
) -> int:  # fmt: skip
    """Write recordings in a format that DuckDB, Polars, pandas, Spark, a spreadsheet or Perfetto reads.

    FILEs, TARGETs and TIMEs are those of nstrace replay, what nstrace agent has recorded too. parquet and csv hold all
    that was recorded, one row per event, in order of time, several runs one after the other, columns named as in the
    JSON, with the container in each row. jsonl holds the lines of replay --json. perfetto is a trace for
    ui.perfetto.dev: containers and PID namespaces are tracks, processes are slices, forks are arrows; the files are of
    one run of nstrace.
    --what writes another table: a row for each process, container or gap.

    \b
    nstrace export web.arrows --to parquet
    duckdb -c "select comm, count(*) from 'web.parquet' group by comm"
    nstrace export --to jsonl -w - web.arrows | jq .args
    nstrace export --to perfetto web.arrows
    nstrace export --to csv --since 14:03 --until +5m all.arrows web
    sudo nstrace export --to csv --since 1h -w -
    nstrace export --what processes --to csv all.arrows
    """
    from tracer.commands.progress import is_wanted, progress
    from tracer.recording.filtered import say_incomplete
    from tracer.recording.multiple_runs import check_found
    from tracer.recording.once import give_each_once
    from tracer.wiring.kept import files_or_kept, name_beside
    from tracer.wiring.open_recordings import check_kept, open_later, sayer, targets_of

    say = sayer(quiet)
    kept, targets = files_or_kept(arguments, since, until, say)
    since, until = kept.begin, kept.end
    if out is None:
        out = name_beside(kept, targets, f".{_SUFFIXES.get(form, form)}")
    if partition and (form not in _FLAT or out == "-"):
        raise click.UsageError("--partition needs --to parquet or csv, and a folder as OUT")
    _check_what(form, what, where, partition)
    _check_fields(fields, form, what, partition)
    _check_library(form)
    check_kept(out, kept.files)
    table = Table(form, what, where, fields)
    shows = is_wanted(quiet, to_stdout=out == "-")
    parse = open_later(kept.files, table.uses, targets_of(targets), say, kept)

    command_pid = os.getpid()

    def convert(write: Callable[[list[RecordedSource]], str]) -> str:
        if os.getpid() != command_pid:
            default_signals()
        sources = parse()
        chosen = in_window(sources, since, until, with_living=form == "perfetto")
        let_pass(table.where, chosen)
        if what == _EVENTS and form != "perfetto":
            say_incomplete(chosen, say)
            give_each_once(chosen)
        with progress(chosen, shows):
            wrote = write(chosen)
        if not any(source.found for source in chosen):
            in_window(chosen, since, until)  # when a stream ended is known now
        check_found(sources)
        return wrote

    if out != "-":
        interrupt_at_signals()
    if partition:
        _into_folder(convert, form, Path(out))
    elif out == "-":
        _into_stdout(convert, table)
    else:
        wrote = into_file(lambda file: convert(lambda sources: table.write(sources, file)), Path(out), force)
        note(f"nstrace: {wrote}", quiet)
    return 0


def _check_what(form: str, what: str, where: tuple[str, ...], partition: bool) -> None:
    """Raises UsageError where options about events meet what is none."""
    if form == "perfetto" and what != _EVENTS:
        raise click.UsageError("--what and --to perfetto exclude each other: a trace is of events")
    if form == "perfetto" and where:
        raise click.UsageError("--where and --to perfetto exclude each other: a trace shows whole processes")
    if partition and what != _EVENTS:
        raise click.UsageError("--partition is for events")
    if where and what != _EVENTS:
        raise click.UsageError("--where and --failed are for events: nstrace sql asks for processes")


def _check_fields(fields: Sequence[str], form: str, what: str, partition: bool) -> None:
    """Raises UsageError where there is no choice of columns, or one is not in the format."""
    if fields and (form not in ("csv", "jsonl") or partition):
        why = {"parquet": "Parquet is read by column", "perfetto": "a trace shows whole processes"}.get(form)
        raise click.UsageError("--fields is for csv and jsonl" + (f": {why}" if why else ""))
    if what != _EVENTS:
        return
    has, other = (Output.EXPORT, "in JSON alone: use --to jsonl") if form == "csv" else (_IN_JSON, _IN_TABLES)
    if missing := set(fields) - {column.name for column in columns_in(has)}:
        raise click.UsageError(f"--fields: {', '.join(sorted(missing))} is {other}")


def _check_library(form: str) -> None:
    """Raises NstraceError where what writes this format is not installed."""
    from importlib.util import find_spec

    if form == "perfetto" and not find_spec("perfetto"):
        raise NstraceError("--to perfetto needs the library perfetto", "pip install 'nstrace[perfetto]'")


_IN_JSON, _IN_TABLES = Output.JSON | Output.THREADS | Output.MARK, "in tables alone: use --to csv"
_ORDERS = {"processes": "began, proc_id", "containers": "first_seen", "gaps": "time"}


class Table:
    """Which table is written, and how. Made before privileges are given up."""

    def __init__(self, form: str, what: str, where: tuple[str, ...], fields: tuple[str, ...]) -> None:
        self.form, self.query, self.where, self._fields = form, None, filter_of(where), fields
        self.uses = _USES.get(form, ("tracer.recording.export",))
        if what != _EVENTS:
            from tracer.ask.query import USES, Query

            self.query, self.uses = (
                Query(f"select {', '.join(fields) or '*'} from {what} order by {_ORDERS[what]}"),
                ("tracer.ask.answer", *USES),
            )

    def write(self, sources: list[RecordedSource], file: IO[bytes]) -> str:
        """Write what the sources have of it. Gives how much that is, in words."""
        if self.query is None:
            return _write(sources, self.form, self._fields, file)
        from tracer.ask.answer import FORMS
        from tracer.ask.tables import readings

        rows = FORMS[self.form](*self.query.answer(readings(sources, lambda found: found)), file)
        file.flush()
        return counted(rows, "row")


def _into_stdout(convert: Convert, table: Table) -> None:
    from tracer.system.privileges import drop

    if (form := table.form) in ("parquet", "perfetto") and sys.stdout.isatty():
        name = f"-w web.{_SUFFIXES.get(form, form)}"
        raise NstraceError(
            f"{form.capitalize()} is binary and not written to a terminal", f"name a file: {name}", ExitCode.USAGE
        )
    drop()
    convert(lambda sources: table.write(sources, sys.stdout.buffer))


def _into_folder(convert: Convert, form: str, out: Path) -> None:
    from tracer.recording.files import errors_of, folder_of
    from tracer.system.privileges import caller, in_child, lesser_user

    parent = folder_of(out)
    with errors_of(out), parent.created_folder(out.name) as folder:
        uid, gid = lesser_user()
        os.fchown(folder, uid, gid)
        in_child(lambda: convert(lambda sources: _partition(sources, form)), folder)
        if not caller():
            _own(folder, uid)


def _own(folder: int, uid: int) -> None:
    """Make our own user the owner of what the child made. It is not trusted: a process that it has left behind may put
    links to other files there, so only its user's own files, which have no other name, are taken.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    for _path, _folders, files, fd in os.fwalk(".", dir_fd=folder):
        os.fchown(fd, os.geteuid(), os.getegid())
        for name in files:
            with contextlib.suppress(OSError), os.fdopen(os.open(name, flags, dir_fd=fd)) as file:
                found = os.fstat(file.fileno())
                if stat.S_ISREG(found.st_mode) and (found.st_uid, found.st_nlink) == (uid, 1):
                    os.fchown(file.fileno(), os.geteuid(), os.getegid())


def _write(sources: list[RecordedSource], form: str, fields: Sequence[str], file: IO[bytes]) -> str:
    if form == "jsonl":
        return _write_lines(sources, fields, file)
    if form == "perfetto":
        from tracer.recording.multiple_runs import run_of
        from tracer.recording.perfetto import write_trace

        return counted(write_trace(run_of(sources), file), "process", "es")
    from tracer.recording.export import TABLES, tables

    table = TABLES[form](file)
    rows = 0
    for part in tables(sources):
        table.write(part.select(list(fields)) if fields else part)
        rows += part.num_rows
    table.close()
    file.flush()
    return counted(rows, "row")


def _partition(sources: list[RecordedSource], form: str) -> str:
    from tracer.recording.export import TABLES, Partitions, tables

    partitions = Partitions(Path(), f".{form}", TABLES[form])
    for part in tables(sources):
        partitions.write(part)
    partitions.close()
    return ""


def _write_lines(sources: list[RecordedSource], fields: Sequence[str], file: IO[bytes]) -> str:
    from tracer.views.fields import JsonFields
    from tracer.views.jsonl import JsonLines

    kinds = frozenset(Kind[name.upper()] for name in EVENT_NAMES)
    lines = 0
    for source in sources:
        threads = not {"tid", "ns_tid"}.isdisjoint(fields)
        all_of_it = JsonLines(kinds, threads=threads, wall_offset_ns=source.wall_offset_ns)
        view = JsonFields(fields, all_of_it) if fields else all_of_it
        for batch in source.batches(lambda: 0.0):
            text = view.render(batch, source.attribution)
            lines += text.count(b"\n")
            file.write(text)
    file.flush()
    return counted(lines, "line")
