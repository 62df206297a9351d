"""nstrace diff: what one life of a container ran that another did not."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tracer.errors import ExitCode, NstraceError
from tracer.wiring.completing import complete_file
from tracer.wiring.printing import line_width, output_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tracer.answers.difference import Ran
    from tracer.ask.query import Query
    from tracer.recording.source import RecordedSource

_BY = {"command": "coalesce(array_to_string(args, ' '), exe)", "program": "exe"}
# A command that ran when the recording began has run. What sets a container up has no part in what it runs: its process
# comes in, and the command of its end nobody has run there.
_RAN = "event = 'exec' or event = 'snapshot' and not starts_with(comm, 'runc')"
_QUERY = """
select {key} as command,
    count(*) filter ({ran}) as runs,
    count(*) filter (event = 'exit' and exit_code <> 0) as failed,
    count(*) filter (event = 'exit' and signal is not null) as killed,
    list(distinct coalesce(signal, exit_code::varchar)) filter (event = 'exit' and (exit_code is not null or signal is
        not null)) as codes,
    median(duration_ns) filter (event = 'exit')::bigint as median_ns
from events where event in ('snapshot', 'exec', 'exit') and not carried and {key} is not null
    and not starts_with(coalesce(exe, ''), '{runtime}'){which}
group by command having count(*) filter ({ran}) > 0"""
# A life goes on when its container is renamed. lives: what a container was called, and which of its lives that was.
_NAMES = """ and (container, incarnation) in (
    with told as (
        select *, sum((action = 'started')::int) over life as life,
            coalesce(lag(incarnation) over life, 1) as before
        from events where event = 'container' and action in ('started', 'renamed')
        window life as (partition by container_id order by time)),
    called as (
        select container_id, life, container, incarnation from told
        union select container_id, life, old_name, before from told where old_name is not null)
    select other.container, other.incarnation
    from called join called other using (container_id, life)
    where called.container = '{name}' and called.incarnation = {number}
    union select '{name}', {number})"""


class Side(NamedTuple):
    """One of the two that are compared. files: where it is recorded; []: by the agent. life: a container's, as web#2;
    "": all."""

    files: list[str]
    life: str

    @property
    def name(self) -> str:
        """For people."""
        return self.life or self.files[0]


@click.command("diff")
@click.argument("arguments", nargs=-1, required=True, metavar="[FILE]... [LIFE LIFE]", shell_complete=complete_file)
@click.option(
    "--from",
    "recorded",
    multiple=True,
    metavar="FILE",
    shell_complete=complete_file,
    help="Read a recording, or a folder of them, and compare LIFE and LIFE in it.",
)
@click.option(
    "--by",
    type=click.Choice(list(_BY)),
    default="command",
    show_default=True,
    help="Compare command lines, or programs whatever their arguments.",
)
@click.option("--no-trunc", is_flag=True, help="Do not cut lines at the width of the terminal.")
@output_options
def command(
    arguments: tuple[str, ...],
    recorded: tuple[str, ...],
    by: str,
    no_trunc: bool,
    output: str,
    as_json: bool,
    quiet: bool,
) -> int:
    """Show what ran in one life of a container and not in another, or differently; or in one recording and another.

    A LIFE is a container's name, with #2 for its second life, #3 and so on, as replay shows them; a FILE is a recording
    whose name ends in .arrows, or a folder of recordings. Of each command: how often it ran, how many of its processes
    failed or were killed, the different codes and signals with which they ended, and the median of how long they lived;
    it is different from twice as long on. Exit code 1: there are differences.

    What a life has run is known from recordings alone: nstrace record -F web makes one of all lives of web. Without
    FILE two lives are looked up in what nstrace agent has recorded, in its latest run that has both.

    \b
    nstrace diff web.arrows web web#2
    nstrace diff --from recordings/ web#1 web#2
    nstrace diff yesterday.arrows today.arrows
    nstrace diff --by program --json yesterday.arrows today.arrows | jq .command
    """
    from tracer.answers.difference import differences
    from tracer.ask.query import USES, Query
    from tracer.stream.metadata import RUNTIME_EXE
    from tracer.system.privileges import drop
    from tracer.views.difference import difference_object, difference_text
    from tracer.views.objects import json_line
    from tracer.wiring.kept import given_or_kept
    from tracer.wiring.open_recordings import open_later, sayer

    sides, say = _sides(list(recorded), arguments), sayer(quiet)
    queries = [
        Query(_QUERY.format(key=_BY[by], which=_which(side.life), runtime=RUNTIME_EXE.decode(), ran=_RAN))
        for side in sides
    ]
    first = given_or_kept(sides[0].files, None, None, say)
    given = [first, first if first.are_kept else given_or_kept(sides[1].files, None, None, say)]
    parse = [open_later(one.files, (*USES, *_USED), (), say, one) for one in given]
    drop()
    opened = [one() for one in parse]
    if first.are_kept:
        opened = _latest_with_both(queries, opened, sides, say)
    found = differences(*map(_ran, queries, opened, sides))
    if as_json or output == "json":
        sys.stdout.writelines(json_line(difference_object(one)) for one in found)
    else:
        lines = difference_text(found, sides[0].name, sides[1].name, line_width(no_trunc))
        sys.stdout.writelines(f"{line}\n" for line in lines)
    return int(bool(found))


_USED = ("tracer.recording.filtered", "tracer.recording.multiple_runs", "tracer.recording.source")


def _sides(recorded: list[str], arguments: tuple[str, ...]) -> list[Side]:
    """The two sides. recorded: what --from names. Raises NstraceError (usage)."""
    files, lives = _split(arguments)
    if recorded and files:
        raise _wrong(f"--from and {files[0]} both say where the lives are recorded")
    if (recorded or files) and len(lives) == 2:
        return [Side(recorded or files, life) for life in lives]
    if len(files) == 2 and not lives:
        return [Side([file], "") for file in files]
    if not recorded and not files and len(lives) == 2:
        from tracer.wiring.kept import has_kept

        if has_kept():
            return [Side([], life) for life in lives]
        name = lives[0].partition("#")[0]
        hint = f"nstrace record -F {name} records its lives; then nstrace diff --from FILE {' '.join(lives)}"
        raise NstraceError("what ran in a life that has ended is known from a recording alone", hint, ExitCode.USAGE)
    raise _wrong("two lives of recorded containers are compared, or two recordings")


def _wrong(message: str) -> NstraceError:
    hint = "nstrace diff web.arrows web web#2, or nstrace diff a.arrows b.arrows"
    return NstraceError(message, hint, ExitCode.USAGE)


def _split(arguments: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """FILEs and LIFEs. A folder is a FILE ahead of two LIFEs or beside a FILE: a container could have its name."""
    from tracer.wiring.open_recordings import SUFFIX, is_folder

    files = [text for text in arguments if text.endswith(SUFFIX)]
    lives = [text for text in arguments if not text.endswith(SUFFIX)]
    ahead = lives[:-2] if len(lives) > 2 else lives if len(lives) + len(files) == 2 else []
    if ahead and all(map(is_folder, ahead)):
        return [text for text in arguments if text in files or text in ahead], lives[len(ahead) :]
    return files, lives


def _which(life: str) -> str:
    if not life:
        return ""
    name, mark, number = life.rpartition("#")
    if not (mark and number.isascii() and number.isdecimal() and len(number) < 10):
        name, number = life, "1"
    return _NAMES.format(name=name.replace("'", "''"), number=number)


def _one_run(sources: list[RecordedSource]) -> RecordedSource:
    """The run of nstrace in which the lives are counted. Raises NstraceError (usage) where these are several."""
    from tracer.recording.multiple_runs import run_of

    try:
        return run_of(sources)
    except NstraceError as error:
        hint = "name the files of one of them: each counts the lives of a container from 1"
        raise NstraceError(error.message, hint, error.exit_code) from error


def _latest_with_both(
    queries: Sequence[Query], opened: Sequence[list[RecordedSource]], sides: Sequence[Side], say: Callable[[str], None]
) -> list[list[RecordedSource]]:
    """Of what the agent has kept, for each side the same run: the latest in which both lives ran something. Raises
    NstraceError where there is none."""
    from tracer.recording.source import RecordedSource
    from tracer.text.times import precise

    runs = list(zip(*opened, strict=True))
    for run in reversed(runs):
        again = [[RecordedSource([one.again() for one in source.recordings])] for source in run]
        if all(_rows(query, [source]) for query, source in zip(queries, run, strict=True)):
            if len(runs) > 1:
                since = precise(run[0].span().begin_ns)
                say(f"lives of the run since {since}: each run of the agent counts them from 1")
            return again
    both = " and ".join(side.life for side in sides)
    hint = "each run counts the lives of a container from 1; nstrace sql 'from containers' lists them"
    raise NstraceError(f"no run of the agent has {both}", hint, ExitCode.NO_TARGET)


def _rows(query: Query, sources: list[RecordedSource]) -> list[dict[str, Any]]:
    from tracer.ask.tables import readings

    _schema, batches = query.answer(readings(sources, lambda found: found))
    return [row for batch in batches for row in batch.to_pylist()]


def _ran(query: Query, opened: list[RecordedSource], side: Side) -> dict[str, Ran]:
    """How each command went. Raises NstraceError where nothing ran."""
    from tracer.answers.difference import Ran
    from tracer.recording.filtered import LIVES, check_complete

    check_complete(opened, LIVES)
    if side.life:
        opened = [_one_run(opened)]
    rows = _rows(query, opened)
    if not rows:
        where = f"no life {side.life} in {side.files[0]}" if side.life else f"nothing ran in {side.files[0]}"
        hint = f"nstrace sql {side.files[0]} 'select container, incarnation from containers' lists lives"
        raise NstraceError(where, hint, ExitCode.NO_TARGET)
    return {
        row["command"]: Ran(
            row["runs"], row["failed"], row["killed"], tuple(sorted(row["codes"] or ())), row["median_ns"]
        )
        for row in rows
    }
