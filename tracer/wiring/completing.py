"""Candidates for TARGET and PROC, for the shell's completion: fast, and without ever an error."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from tracer.text.escape import safe_text

if TYPE_CHECKING:
    from tracer.containers.names import Names

_LIMIT_S, _AGAIN_S = 0.3, 0.02  # a user who has pressed a key does not wait longer
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@+=-]*")  # a label is untrusted, and becomes part of a command line


def complete_verb(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The commands that begin with incomplete."""
    group = ctx.find_root().command
    assert isinstance(group, click.Group)
    return [CompletionItem(name) for name in group.list_commands(ctx) if name.startswith(incomplete)]


def complete_file(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Leaves names of files to the shell."""
    return [CompletionItem(incomplete, type="file")]


def complete_events(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The lists that are one kind of event longer: fork,ex -> fork,exec."""
    from tracer.stream.schema import EVENT_NAMES

    before, comma, last = incomplete.rpartition(",")
    missing = [name for name in EVENT_NAMES if name not in before.split(",")]
    return [CompletionItem(f"{before}{comma}{name}") for name in missing if name.startswith(last)]


def complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Programs of PATH for the command that is run, and files for its arguments."""
    if ctx.params.get(param.name or "") or "/" in incomplete:
        return complete_file(ctx, param, incomplete)
    found: set[str] = set()
    for folder in os.get_exec_path():
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            found.update(entry.name for entry in entries if entry.name.startswith(incomplete))
    return [CompletionItem(name) for name in sorted(found) if WORD.fullmatch(name)]


def complete_target(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The TARGETs that begin with incomplete, running containers first."""
    from tracer.host import completions

    return _in_time(completions.targets, incomplete)


def complete_proc(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The PROCs that begin with incomplete: containers, and after the slash the numbers inside."""
    from tracer.host import completions

    return _in_time(completions.procs, incomplete)


def complete_ended(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The containers that begin with incomplete, those that do not run first; after a slash PROCs."""
    from tracer.host import completions

    return _in_time(completions.ended, incomplete)


def _in_time(
    offer: Callable[[Names, str], Iterator[CompletionItem[str]]], incomplete: str
) -> list[CompletionItem[str]]:
    """The candidates that were found before the time was over, or something failed. Root's privileges but that of
    looking are given up."""
    from tracer.containers.names import Names
    from tracer.system.privileges import drop_but_look

    found: list[CompletionItem[str]] = []
    with in_time(_LIMIT_S), contextlib.closing(Names()) as names:
        names.prepare()
        drop_but_look()
        for item in offer(names, incomplete):
            if item.value.startswith(incomplete) and WORD.fullmatch(item.value):
                item.help = safe_text(item.help or "") or None  # an image's name, in a protocol of lines
                found.append(item)
    return found


@contextlib.contextmanager
def in_time(seconds: float) -> Iterator[None]:
    """Ends what is done in it when the time is over, or something fails: what was found by then counts."""

    def late(_number: int, _frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_S)
    with contextlib.suppress(Exception):
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
