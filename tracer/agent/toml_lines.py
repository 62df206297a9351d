"""In which line of a TOML text a key is given: tomllib says that of syntax errors alone. Pure.

The text is read by tomllib itself, line after line: a value begins behind the longest part of the text that is valid
and does not have it.
"""

from __future__ import annotations

import tomllib
from typing import Any


def line_of(text: str, place: tuple[str | int, ...]) -> int:
    """The line, from 1, in which the value at a place begins: ("record", "keep"), or ("trigger", 1, "where") for the
    second [[trigger]]. text: valid TOML that has it."""
    lines = text.splitlines(keepends=True)
    before = 0
    for count in range(1, len(lines) + 1):
        try:
            document = tomllib.loads("".join(lines[:count]))
        except tomllib.TOMLDecodeError:  # in the middle of a value
            continue
        if _has(document, place):
            return before + 1
        before = count
    return before + 1


def _has(document: Any, place: tuple[str | int, ...]) -> bool:
    for step in place:
        if isinstance(step, int):
            if not isinstance(document, list) or len(document) <= step:
                return False
        elif not isinstance(document, dict) or step not in document:
            return False
        document = document[step]
    return True
