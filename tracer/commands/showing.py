"""What commands share that print once: their options, notes on stderr, how wide lines may be."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def output_options(function: F) -> F:
    """Add -o, --json and -q to a command that prints once."""
    for option in (
        click.option("-q", "--quiet", is_flag=True, help="No header, no notes."),
        click.option("--json", "as_json", is_flag=True, help="Short for -o json."),
        click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Or JSON lines."),
    ):
        function = option(function)
    return function


def note(text: str, quiet: bool) -> None:
    """A line on stderr."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def line_width() -> int | None:
    """What a line may take: the terminal's width; None where stdout is none: what is piped is never cut."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


@cache
def user_name(uid: int) -> str:
    """The host's name of a user, else the number."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)
