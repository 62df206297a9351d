"""Imports in time: after privileges were dropped a module may be unreadable (in a checkout in /root)."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

OF_ARROW = ("numpy.ma", "numpy.strings")
"""What pyarrow imports with the first conversion of something."""
OF_READERS = (*OF_ARROW, "tokenize", "difflib")
"""And what shows a fault, or finds a name that is like another one."""


def load(*modules: str) -> None:
    """Import these modules now."""
    for module in modules:
        importlib.import_module(module)


def seal() -> None:
    """From now on warn of every import that reads a file: an ImportWarning, which Python ignores by default and our
    tests turn into an error. The user that this process runs as may not be permitted to read the module's folder, so
    import what is needed before."""
    sys.meta_path[:] = [_Late(list(sys.meta_path))]


class _Late:
    """The earlier finders, with the warning ahead of what they find."""

    def __init__(self, finders: list[object]) -> None:
        self._finders = finders

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Called by the import system (sys.meta_path)."""
        found = (finder.find_spec(name, path, target) for finder in self._finders)  # type: ignore[attr-defined]
        spec: ModuleSpec | None = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.has_location:
            warnings.warn(f"{name} is imported after privileges were dropped", ImportWarning, stacklevel=2)
        return spec
