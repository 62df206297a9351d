"""In which line of a TOML text a key is given: tomllib says that of syntax errors alone. Pure.

The text is read by tomllib itself, a part of it at a time: a value begins behind the longest part that is valid and
does not have it. Parts are halved: a text that is long has many lines.
"""

from __future__ import annotations

import tomllib
from typing import Any

Place = tuple[str | int, ...]
"""Where a value is: ("record", "keep"), or ("trigger", 1, "where") of the second [[trigger]]."""


def line_of(text: str, place: Place) -> int:
    """The line, from 1, in which the value at a place begins. text: valid TOML that has it."""
    lines = text.splitlines(keepends=True)
    before, last = 0, len(lines)  # so many do not have it; so many, and whichever more are valid, do
    while last - before > 1:
        count = middle = (before + last) // 2
        while (document := _read("".join(lines[:count]))) is None:  # in the middle of a value
            count += 1
        if _has(document, place):
            last = middle
        else:
            before = count
    return before + 1


def _read(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _has(document: Any, place: tuple[str | int, ...]) -> bool:
    for step in place:
        if isinstance(step, int):
            if not isinstance(document, list) or len(document) <= step:
                return False
        elif not isinstance(document, dict) or step not in document:
            return False
        document = document[step]
    return True
