"""nstrace join: a log that is a table, joined with the processes of its moments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING

import click

from tracer.errors import ExitCode, NstraceError
from tracer.system import imports
from tracer.wiring.completing import complete_file
from tracer.wiring.joining import check_columns, lag_option, summary, time_option, write_pieces
from tracer.wiring.result_options import Result, result_options
from tracer.wiring.spill import spill_folder
from tracer.wiring.windows import window_options

if TYPE_CHECKING:
    from tracer.ask.answer import Form
    from tracer.ask.database import Room
    from tracer.ask.join import On
    from tracer.recording.source import RecordedSource


@click.command("join")
@click.argument("log", metavar="LOG", shell_complete=complete_file)
@click.option(
    "--from", "files", multiple=True, metavar="FILE", shell_complete=complete_file,
    help="The recordings: a file or a folder; may be repeated. Default: what nstrace agent has recorded.",
)  # fmt: skip
@click.option(
    "--on", "on", required=True, metavar="COLUMNS",
    help="The column with a PID of the host; or two: a container's name or ID, and a PID in it (CONTAINER,NS_PID).",
)  # fmt: skip
@time_option
@click.option(
    "--in", "where", metavar="CONTAINER", help="The numbers are those of this container or PID namespace (pidns:INUM)."
)
@lag_option
@window_options()
@result_options
@click.option("-q", "--quiet", is_flag=True, help="No notes on stderr.")
def command(
    log: str, files: tuple[str, ...], on: str, time_column: str, where: str | None, lag_s: float, since: str | None,
    until: str | None, result: Result, quiet: bool,
) -> int:  # fmt: skip
    """Add to each line of LOG, a CSV or Parquet file, the process that it is about: who had the number when the line
    was written.

    Columns are added with names that begin with process_: all its PIDs, name, command line, container, parent, begin
    and end, and whether these are sure. Where no process had the number then, several had, or events are missing, they
    are empty, and process_unknown says why. The rules are those of nstrace translate --from FILE - for lines of text.

    Without --from it is joined with what nstrace agent has recorded; TIMEs say of when, so that no more is read. They
    are those of nstrace replay.

    Times are RFC 3339, seconds, milliseconds, microseconds or nanoseconds since 1970, or timestamps of Parquet; without
    a zone they are local. Lines stay in their order. "-" as LOG reads CSV from stdin.

    \b
    nstrace join access.csv --from web.arrows --on pid --time-column time
    nstrace join --json app.csv --from FOLDER --on container,ns_pid --time-column ts
    sudo nstrace join access.csv --since 2h --on pid --time-column time
    nstrace join app.parquet --from FOLDER --on ns_pid --in web --time-column ts -w joined.parquet
    """
    from tracer.ask import log_file
    from tracer.ask.join import On
    from tracer.wiring.kept import given_or_kept
    from tracer.wiring.open_recordings import check_kept, open_later, sayer

    names = [name.strip() for name in on.split(",")]
    if not all(names) or len(names) > 2 or not time_column:
        raise click.UsageError("--on is the name of one column, or of two: CONTAINER,NS_PID")
    if len(names) == 2 and where:
        raise click.UsageError("--in CONTAINER goes with a single column: --on NS_PID")
    if names == ["ns_pid"] and not where:
        raise click.UsageError("ns_pid is a number inside a container: --in CONTAINER, or --on CONTAINER,ns_pid")
    meant = On(names[-1], time_column, names[0] if len(names) == 2 else "", where or "", round(lag_s * 1e9))
    if files and (since or until):
        raise click.UsageError("--since and --until are for what nstrace agent has recorded: without --from")
    form, say = result.form(), sayer(quiet)
    fd = log_file.open_log(log)
    found = given_or_kept(files, since, until, say, ahead=1, missing="--from FILE is missing", less="--since TIME")
    check_kept(result.out, [log, *found.files])
    parse = open_later(found.files, _USED, (), say, found)
    with spill_folder() as spill:
        threads = _Threads(result.room(spill))
        result.give(lambda file: _write(parse(), fd, log, meant, form, file, say, threads), threads.begin, spill, quiet)
    return 0


_USED = (
    *("tracer.ask.join", "tracer.ask.lives", "tracer.ask.tables"),
    *("tracer.ask.log_file", "tracer.ask.log_numbers", "tracer.ask.log_times"),
    *(
        "tracer.recording.some_columns",
        "tracer.recording.questions",
        "tracer.recording.filtered",
        "tracer.text.counted",
        "tracer.text.times",
    ),
    *imports.OF_READERS,
    "pyarrow.parquet",
)


class _Threads:
    """The database, and what reads recordings and joins pieces of the log ahead: their threads begin when there are no
    privileges that they could keep."""

    def __init__(self, room: Room) -> None:
        from tracer.ask.ahead import Ahead
        from tracer.ask.database import connect

        self.database, self.reading, self.joining = connect(room), Ahead(), Ahead()

    def begin(self) -> None:
        """Begin them."""
        from tracer.ask.database import use_all_cpus

        use_all_cpus(self.database)
        self.reading.begin()
        self.joining.begin()


def _write(
    sources: Sequence[RecordedSource],
    fd: int,
    name: str,
    on: On,
    form: Form,
    file: IO[bytes],
    say: Callable[[str], None],
    threads: _Threads,
) -> str:
    """Write the joined lines. Gives how many there are, in words."""
    from tracer.ask.join import NEEDED, PREFIX, Join
    from tracer.ask.lives import build
    from tracer.ask.log_file import read_log
    from tracer.ask.tables import Tables, readings
    from tracer.recording.filtered import check_complete
    from tracer.text.counted import counted
    from tracer.text.times import year

    if any(source.is_stream for source in sources):
        hint = "save it to a file first"
        raise NstraceError("a join reads recordings twice, and a pipe can be read once", hint, ExitCode.USAGE)
    check_complete(sources)
    log = read_log(fd, name)
    check_columns(log.schema.names, filter(None, (on.container, on.number, on.time)), PREFIX)
    for source in sources:
        source.decode_ahead(threads.reading.pool)
    runs = build(threads.database, sources)
    Tables(threads.database, readings(sources, lambda found: found), frozenset(NEEDED))
    spans = [source.span() for source in sources]
    years = range(year(min(span.begin_ns for span in spans)), year(max(span.end_ns for span in spans)) + 1)
    join = Join(threads.database, runs, on, years)
    pieces = threads.joining.of(join.joined(piece) for piece in log.pieces)
    first = next(pieces, None)
    first = join.joined(log.schema.empty_table()) if first is None else first
    rows = write_pieces(first, pieces, form, file)
    say(summary(join.counts))
    return counted(rows, "row")
