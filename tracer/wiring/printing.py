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

F = TypeVar("F", bound=Callable[..., Any])


def output_options(function: F) -> F:
    """Add -o, --json and -q to a command that prints once."""
    for option in (
        click.option("-q", "--quiet", is_flag=True, help="Results only: no header, no notes."),
        click.option("--json", "as_json", is_flag=True, help="Short for -o json."),
        click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Output format."),
    ):
        function = option(function)
    return function


def note(text: str, quiet: bool) -> None:
    """Write a line to stderr, safe for a terminal."""
    if not quiet:
        print(safe_text(text), file=sys.stderr, flush=True)


def line_width() -> int | None:
    """The width of a line: the terminal's; None where stdout is none: piped output is never cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


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
