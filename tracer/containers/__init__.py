"""Containers: from cgroup paths, and from the names, images and labels that an engine reports.

Edge: imports no other edge. May import errors, stream, text and typed.
"""

from __future__ import annotations

import sys
from types import ModuleType


class _Callable(ModuleType):
    """Importing a package makes it an attribute of the one around it: this one takes the place of the function
    tracer.containers(). So that calls work whatever was imported, the package passes them on."""

    def __call__(self, *args: object, **options: object) -> object:
        """What the function `tracer.containers` returns."""
        import tracer

        return tracer._containers(*args, **options)  # type: ignore[arg-type]


sys.modules[__name__].__class__ = _Callable
