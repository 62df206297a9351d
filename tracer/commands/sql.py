"""nstrace sql: recordings asked in SQL."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from tracer.errors import ExitCode, NstraceError
from tracer.wiring.completing import complete_file
from tracer.wiring.whole_file import default_signals, interrupt_at_signals, into_file
from tracer.wiring.windows import in_window, window_options

if TYPE_CHECKING:
    from tracer.ask.answer import Form
    from tracer.ask.query import Query
    from tracer.recording.source import RecordedSource

_FORMS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".json": "jsonl"}


@click.command("sql")
@click.argument("arguments", nargs=-1, required=True, metavar="FILE... QUERY", shell_complete=complete_file)
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines instead of columns.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of columns.")
@click.option(
    "-w",
    "--write",
    "out",
    metavar="OUT",
    shell_complete=complete_file,
    help="Write the result to a file: OUT.parquet, OUT.csv or OUT.jsonl.",
)
@window_options()
@click.option("--force", is_flag=True, help="Replace OUT if it is there.")
@click.option("--no-header", is_flag=True, help="Leave out the header line of columns.")
@click.option("--no-trunc", is_flag=True, help="Do not cut lines at the width of the terminal.")
@click.option("-q", "--quiet", is_flag=True, help="No notes on stderr.")
def command(
    arguments: tuple[str, ...], as_json: bool, as_csv: bool, out: str | None, since: str | None, until: str | None,
    force: bool, no_header: bool, no_trunc: bool, quiet: bool,
) -> int:  # fmt: skip
    """Answer a QUERY in SQL, DuckDB's, about recordings. FILEs and TIMEs are those of nstrace replay.

    \b
    Tables:
      events      one row for each event, with the names of the JSON
      processes   one row for each process: its PIDs, container, parent, the
                  commands that it ran, its begin and end, and how it ended
      containers  one row for each life of a container
      gaps        where events were lost
    "describe processes" as QUERY lists the columns of a table. Times are in UTC.

    A query reads the recordings and nothing else: no file, no network.

    \b
    nstrace sql web.arrows "select comm, count(*) from events group by comm"
    nstrace sql web.arrows "select pid, ns_pid, commands from processes
                            where exit_code <> 0 order by began"
    nstrace sql --json web.arrows db.arrows "select * from gaps"
    nstrace sql -w failed.parquet web.arrows "from processes where signal is not null"
    """
    from tracer.wiring.open_recordings import SUFFIX, open_later, sayer

    *files, text = arguments
    if not files and any(letter.isspace() for letter in text) and not Path(text).exists():
        hint = f"for example nstrace sql web.arrows {shlex.quote(text)}"
        raise NstraceError("the recording is missing: it comes before the query", hint, ExitCode.USAGE)
    if not files or text.endswith(SUFFIX):
        raise NstraceError("the query is missing", f"for example nstrace sql {arguments[0]} {_EXAMPLE}", ExitCode.USAGE)
    if as_json + as_csv + (out is not None) > 1:
        raise click.UsageError("--json, --csv and -w OUT exclude each other")
    if force and out is None:
        raise click.UsageError("--force goes with -w OUT")
    from tracer.ask.query import USES, Query

    query = Query(text)
    form = _form(as_json, as_csv, out, no_header, no_trunc)
    parse = open_later(files, USES, (), sayer(quiet))

    def write(file: IO[bytes]) -> None:
        _write(query, parse(), (since, until), form, file)

    def in_child(file: IO[bytes]) -> None:
        default_signals()
        write(file)

    if out is None:
        from tracer.system.privileges import drop

        drop(begin_threads=query.begin_threads)
        write(sys.stdout.buffer)
    else:
        interrupt_at_signals()
        into_file(in_child, Path(out), force, query.begin_threads)
    return 0


_EXAMPLE = "'select comm, count(*) from events group by comm'"


def _form(as_json: bool, as_csv: bool, out: str | None, no_header: bool, no_trunc: bool) -> Form:
    """How the result is written. Raises NstraceError (usage) where the name of the file does not say it."""
    from tracer.ask.answer import FORMS, text_writer
    from tracer.wiring.printing import line_width

    if as_json or as_csv:
        return FORMS["jsonl" if as_json else "csv"]
    if out is None:
        return text_writer(line_width(no_trunc), not no_header)
    form = _FORMS.get(Path(out).suffix)
    if form is None:
        raise NstraceError(
            f"{out}: its name does not say in which format", f"names end in {', '.join(_FORMS)}", ExitCode.USAGE
        )
    return FORMS[form]


def _write(
    query: Query,
    recordings: Sequence[RecordedSource],
    window: tuple[str | None, str | None],
    form: Form,
    file: IO[bytes],
) -> None:
    from tracer.ask.tables import readings

    sources = readings(recordings, lambda found: in_window(found, *window))
    form(*query.answer(sources), file)
    file.flush()
