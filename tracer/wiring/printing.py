"""What commands that print once share: their options, notes on stderr, the width of lines."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tracer.errors import ExitCode, NstraceError
from tracer.text.escape import safe_text

if TYPE_CHECKING:
    from tracer.typed.processes import Proc
    from tracer.views.columns import TextColumns

F = TypeVar("F", bound=Callable[..., Any])


def table_options(ids: str) -> Callable[[F], F]:
    """Add to a command that prints a table: --no-header, --no-trunc, and what `output_options` adds. ids: what -q
    prints, a line each."""

    def add(function: F) -> F:
        for option in (
            click.option("--no-trunc", is_flag=True, help="Do not cut lines at the width of the terminal."),
            click.option("--no-header", is_flag=True, help="Leave out the header line."),
        ):
            function = option(function)
        return output_options(function, f"Print {ids} only, one per line, and no notes.")

    return add


def output_options(function: F, quiet: str = "Print results only, no notes on stderr.") -> F:
    """Add -o, --json and -q to a command that prints once. quiet: help of -q."""
    for option in (
        click.option("-q", "--quiet", is_flag=True, help=quiet),
        click.option("--json", "as_json", is_flag=True, help="Short for -o json."),
        click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Output format."),
    ):
        function = option(function)
    return function


def note(text: str, quiet: bool) -> None:
    """Write a line to stderr, safe for a terminal."""
    if not quiet:
        print(safe_text(text), file=sys.stderr, flush=True)


def write_table(table: TextColumns, no_header: bool = False) -> None:
    """Write a table to stdout. Its header is the first line there, as of docker ps and ps: it stays with the rows in
    less, in a file and in a column that is cut out."""
    sys.stdout.write(table.text if no_header else f"{table.header}\n{table.text}")


def line_width(no_trunc: bool = False) -> int | None:
    """The width of a line: the terminal's; None where stdout is none, or with --no-trunc: lines are not cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() and not no_trunc else None


@cache
def user_name(uid: int) -> str:
    """The host's name of a user, else the number."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def answer_each(procs: tuple[str, ...], ask: Callable[[Proc], str]) -> None:
    """Print the answers to all PROCs that have one; then raise the errors of those that have none."""
    from tracer.typed.processes import parse_proc

    missing: list[NstraceError] = []
    for proc in [parse_proc(text) for text in procs]:
        try:
            sys.stdout.write(ask(proc))
        except NstraceError as error:
            if error.exit_code not in (ExitCode.NO_TARGET, ExitCode.FAILURE):
                raise
            missing.append(error)
    if missing:
        worst = min(missing, key=lambda error: error.exit_code)
        raise NstraceError("; ".join(error.message for error in missing), missing[0].hint, worst.exit_code)
