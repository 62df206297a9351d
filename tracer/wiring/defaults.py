"""From settings to the defaults of a command's options and arguments."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import click
from click.core import ParameterSource

from tracer.errors import NstraceError

_HELP = {"-h", "--help"}
_WITHOUT = {"completion", "config", "help"}
_WITH_TARGET = {"follow", "record", "ps", "tree", "verify"}


def defaults_of(verb: str, argv: Sequence[str]) -> dict[str, object]:
    """The values that the user has set once and for all, by the names of click's parameters. argv: the command line;
    where it asks for help, that is shown even if a setting is wrong. Raises NstraceError."""
    if verb in _WITHOUT:
        return {}
    from tracer import config_file

    try:
        found = config_file.read()
    except NstraceError:
        if not _HELP & set(itertools.takewhile(lambda word: word != "--", argv)):
            raise
        return {}
    values = {setting.param: value for setting, (value, source) in found.items() if source != "default"}
    if verb not in _WITH_TARGET:
        values.pop("targets", None)
    return dict(values)


def use_for_targets(command: click.Command) -> None:
    """Let TARGETs have such a default as well: click 8.1 has none for an argument that may be there many times."""
    for param in command.params:
        if param.name == "targets" and param.callback is None:
            param.callback = _typed_or_set


def _typed_or_set(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    assert param.name
    if value:
        return value
    ctx.set_parameter_source(param.name, ParameterSource.DEFAULT_MAP)
    return tuple(ctx.lookup_default(param.name) or ())
