"""The option for the time zone of text, for every command that shows times or takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tracer.text import zone

F = TypeVar("F", bound=Callable[..., Any])


def time_option(function: F) -> F:
    """Add --time to a command. It counts before any time is read."""
    return click.option(
        "--time",
        type=click.Choice(zone.ZONES),
        default="local",
        is_eager=True,
        expose_value=False,
        callback=lambda _ctx, _param, value: zone.use(value),
        help="Show times, and read those without a zone, in this host's zone or in UTC. JSON is always in UTC.",
    )(function)
