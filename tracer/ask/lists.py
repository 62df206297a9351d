"""Lists where SQL wants text: `args like '%--debug%'` is about the command line, the arguments joined by blanks.

Worked out on what the user typed, not on its syntax tree: DuckDB then says where a mistake is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from tracer.ask.database import At, nodes

_LIKE = ("~~", "!~~", "~~*", "!~~*", "like_escape", "not_like_escape", "ilike_escape", "not_ilike_escape")
_REGEXPS, _ENDS = ("regexp_matches", "regexp_full_match", "regexp_extract"), ("starts_with", "prefix", "suffix")
_OF_TEXT = {*_LIKE, *_REGEXPS, *_ENDS, "ends_with", "lower", "upper", "strpos", "instr", "position"}
"""Functions and operators of text, as syntax trees name them."""
_OPEN, _CLOSE = "array_to_string(", ", ' ')"


def with_lists_as_text(text: str, found: Any, lists: Collection[str], before: int = 0) -> tuple[str, At]:
    """The text, in which columns that are lists are text where a function of text has them; and which of its bytes a
    byte of the result was. found: its syntax tree, of a statement in which it begins behind so many bytes."""
    insertions = sorted((place - before, inserted) for place, inserted in _insertions(found, lists))
    raw, last, parts = text.encode(), 0, []
    for at, inserted in insertions:
        parts += [raw[last:at], inserted.encode()]
        last = at

    def typed_at(place: int) -> int:
        for at, inserted in insertions:
            place -= len(inserted) if place > at else 0
        return place

    return b"".join([*parts, raw[last:]]).decode(), typed_at


def _insertions(found: Any, lists: Collection[str]) -> Iterator[tuple[int, str]]:
    """What has to be put into the statement, and ahead of which of its bytes."""
    for one in nodes(found):
        if one.get("class") != "FUNCTION" or one.get("function_name") not in _OF_TEXT:
            continue
        for argument in (each["expression"] for each in one.get("arguments", ())):
            if argument.get("class") == "COLUMN_REF" and str(argument["column_names"][-1]).lower() in lists:
                begin = int(argument["query_location"])
                yield begin, _OPEN
                yield begin + int(argument["query_location_length"]), _CLOSE
