"""An option that is typed twice: click takes the last value. What the first one asked for is not dropped unsaid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from tracer.errors import ExitCode, NstraceError
from tracer.settings import SETTINGS

_PREFERENCES = {"output", *(setting.param for setting in SETTINGS)}
"""How something is shown: the last one counts, so that an alias can have one."""
_LISTS = {"events", "fields"}


def refuse_repeated(command: click.Command) -> None:
    """Let a command raise NstraceError (usage) where an option that has one value has two."""
    make = command.make_parser

    def make_parser(ctx: click.Context) -> Any:  # of a class that is click's own
        parser = make(ctx)
        parse = parser.parse_args

        def parse_args(args: list[str]) -> tuple[dict[str, object], list[str], list[click.Parameter]]:
            values, rest, order = parse(args)
            _check(order)
            return values, rest, order

        vars(parser)["parse_args"] = parse_args
        return parser

    command.make_parser = make_parser  # type: ignore[method-assign]


def _check(order: Sequence[click.Parameter]) -> None:
    """order: the parameters, as they were typed."""
    seen: set[str] = set()
    for param in order:
        if not isinstance(param, click.Option) or param.multiple or param.is_flag or param.name in _PREFERENCES:
            continue
        name = next(name for name in param.opts if name.startswith("--"))
        if name in seen:
            hint = f"several in one list: {name} A,B" if param.name in _LISTS else "give it once"
            raise NstraceError(f"{name} is given twice", hint, ExitCode.USAGE)
        seen.add(name)
