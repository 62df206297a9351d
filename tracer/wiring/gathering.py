"""Options that go together, which a command receives as one argument."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def gathered(options: Sequence[Decorator], made: type, name: str) -> Callable[[F], F]:
    """What adds these options of click to a command, which receives them as one argument of this name. made: its class,
    a dataclass whose fields are the options' parameters."""
    parameters = [field.name for field in fields(made)]

    def add(function: F) -> F:
        @functools.wraps(function)
        def with_one(*args: Any, **values: Any) -> Any:
            typed = {parameter: values.pop(parameter) for parameter in parameters}
            return function(*args, **values, **{name: made(**typed)})

        command: Callable[..., Any] = with_one
        for option in reversed(options):
            command = option(command)
        return command  # type: ignore[return-value]

    return add
