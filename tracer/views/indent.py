"""What stands ahead of a command that is shown below its ancestors."""

from __future__ import annotations

STEP = 2
"""Cells of a level."""


def indent(depth: int, most: int) -> str:
    """Blanks for each level; of more levels than there is room for, how many they are. most: that have room."""
    if depth <= most:
        return " " * (STEP * depth)
    return f"{depth} ".rjust(STEP * most)
