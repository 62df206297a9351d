"""The option for the form of times in text, for every command that shows times or takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from tracer.errors import ExitCode, NstraceError
from tracer.text import zone

F = TypeVar("F", bound=Callable[..., Any])
_OF_ROWS = "epoch, boot, relative and delta are of the rows that follow, run and replay show as text"


def time_option(function: F) -> F:
    """Add --time local|utc to a command. It counts before any time is read; what was set for all commands and has no
    meaning here does not count."""
    return _option(
        zone.ZONES, "Show times, and read those without a zone, in this host's zone or in UTC. JSON is always in UTC."
    )(function)


def row_time_option(function: F) -> F:
    """Add --time with all its forms to a command that shows rows of a stream."""
    text = (
        "What TIME shows: the time of day in this host's zone or in UTC, seconds since 1970 (epoch) or since boot, or"
        " since the first row shown (relative) or the one before (delta). JSON has time, in UTC, and ts_ns."
    )
    return _option(zone.FORMS, text)(function)


def _option(forms: tuple[str, ...], text: str) -> Callable[[F], F]:
    def use(ctx: click.Context, param: click.Parameter, form: str) -> None:
        assert param.name
        if form not in forms:
            if ctx.get_parameter_source(param.name) != ParameterSource.DEFAULT_MAP:
                raise NstraceError(f"--time {form} has no meaning here: it is local or utc", _OF_ROWS, ExitCode.USAGE)
            form = "local"
        zone.use(form)

    return click.option(
        "--time",
        type=click.Choice(zone.FORMS),
        metavar=f"[{'|'.join(forms)}]",
        default="local",
        is_eager=True,
        expose_value=False,
        callback=use,
        help=text,
    )


def check_json(is_json: bool) -> None:
    """Raises NstraceError (usage) where a form of text was typed for JSON, whose times have one form."""
    if not is_json or (form := zone.form()) in zone.ZONES:
        return
    if click.get_current_context().get_parameter_source("time") == ParameterSource.COMMANDLINE:
        hint = "it has time, in UTC, and ts_ns, in ns since boot"
        raise NstraceError(f"--time {form} is for text: times in JSON have one form", hint, ExitCode.USAGE)
