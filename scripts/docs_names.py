"""What griffe, which reads the docstrings, has to be told: tracer.containers is a function for users. The package of
that name, which takes its place in griffe's tree, is internal."""

from __future__ import annotations

from typing import Any

import griffe


class Functions(griffe.Extension):
    """Puts the function back when the package was loaded."""

    def __init__(self) -> None:
        self._function: griffe.Function | None = None

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Called for each function while a module is read."""
        if func.path == "tracer.containers":
            self._function = func

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Called when all modules are read."""
        if self._function and pkg.name == "tracer":
            pkg.members["containers"] = self._function
