"""Wiring that ps, tree, containers and verify share: from TARGETs to the processes that are meant, and how wide
lines may be."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tracer.errors import ExitCode, NstraceError

if TYPE_CHECKING:
    from tracer.census import Census, Entry
    from tracer.containers.names import Names
    from tracer.lookup import Lookup
    from tracer.targets import Target

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


def living_targets(texts: tuple[str, ...], lookup: Lookup) -> tuple[Target, ...]:
    """The TARGETs of the living host; all where none was given. Raises NstraceError for one that is not there."""
    from tracer import procfs
    from tracer.containers.resolve import resolve
    from tracer.targets import Target, TargetKind, parse_target

    def found(target: Target) -> Target:
        if target.kind != TargetKind.NAME:
            return target
        return Target(TargetKind.ID, lookup.container(target.value).id, target.text)  # of any runtime

    parsed = tuple(found(parse_target(text)) for text in texts or ("all",))
    return resolve(parsed, lookup.names.require, procfs.pidns_inum).targets


def chosen(census: Census, targets: tuple[Target, ...], quiet: bool) -> list[Entry]:
    """The processes that the targets mean, those of a container together. Notes on stderr what means nobody; where
    none of the targets that were named means anybody, that is an error."""
    from tracer.targets import TargetKind
    from tracer.views.table import place

    empty = [target for target in targets if not any(entry.is_meant(target) for entry in census)]
    if empty and len(empty) == len(targets) and empty[0].kind != TargetKind.ALL:
        names = ", ".join(target.text for target in empty)
        raise NstraceError(f"no process runs in {names}", "nstrace containers lists what does", ExitCode.NO_TARGET)
    for target in empty:
        text = "no container and no nested PID namespace" if target.kind == TargetKind.ALL else target.text
        note(f"nstrace: no process runs in {text}", quiet)
    return sorted((entry for entry in census if any(entry.is_meant(target) for target in targets)), key=place)


def say_what_is_hidden(entries: list[Entry], names: Names, quiet: bool) -> None:
    """Notes on stderr what could not be read: namespaces without root, names without an engine."""
    if any(entry.chain is None for entry in entries):
        note("nstrace: PID namespaces of other users' processes are not shown: run it with sudo", quiet)
    if names.error and any(entry.container for entry in entries):
        note(f"nstrace: no names of containers: {names.error.message}", quiet)
