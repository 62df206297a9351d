"""Lists where SQL wants text: `args like '%--debug%'` is about the command line, the arguments joined by blanks.

Worked out on what the user typed, not on its syntax tree: DuckDB then says where a mistake is. Whether a name is a list
there, or what a query calls so itself, DuckDB decides by its type.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tracer.ask.database import At, nodes

if TYPE_CHECKING:
    import duckdb

_LIKE = ("~~", "!~~", "~~*", "!~~*", "like_escape", "not_like_escape", "ilike_escape", "not_ilike_escape", "~~~")
_REGEXPS = ("regexp_matches", "regexp_full_match", "regexp_extract", "regexp_extract_all", "regexp_replace")
_ENDS = ("starts_with", "prefix", "suffix", "ends_with", "^@", "strpos", "instr", "position")
_CASES = ("lower", "upper", "lcase", "ucase", "strip_accents", "reverse")
_PARTS = ("substring", "substr", "left", "right", "trim", "ltrim", "rtrim", "lpad", "rpad", "replace", "translate")
_SPLITS = ("split", "split_part", "str_split", "string_split", "string_to_array", "regexp_split_to_array")
_OF_TEXT = {*_LIKE, *_REGEXPS, *_ENDS, *_CASES, *_PARTS, *_SPLITS, "str_split_regex", "string_split_regex"}
"""Functions and operators of text, and of no list, as syntax trees name them."""
_TEXT_OF = "_nstrace_text_of"
_LISTS = tuple(f"{type_}[]" for type_ in ("varchar", "integer", "uinteger", "bigint", "ubigint"))
_DEFINE = f"create or replace temp macro {_TEXT_OF}(x) as x" + "".join(
    f", (x {type_}) as array_to_string(x, ' ')" for type_ in _LISTS
)
_OPEN, _CLOSE = f"{_TEXT_OF}(", ")"
_INSERTED = re.compile(rf"{_TEXT_OF}\(((?:\"[^\"]*\"|[^()])*)\)")


def with_lists_as_text(
    database: duckdb.DuckDBPyConnection, text: str, found: Any, lists: Collection[str], before: int = 0
) -> tuple[str, At]:
    """The text, in which columns that are lists are text where a function of text has them, for this database; and
    which of its bytes a byte of the result was. found: its syntax tree, of a statement in which it begins behind so
    many bytes."""
    insertions = sorted((place - before, inserted) for place, inserted in _insertions(found, lists))
    if insertions:
        database.execute(_DEFINE).fetchall()
    raw, last, parts = text.encode(), 0, []
    for at, inserted in insertions:
        parts += [raw[last:at], inserted.encode()]
        last = at

    def typed_at(place: int) -> int:
        for at, inserted in insertions:
            place -= len(inserted) if place > at else 0
        return place

    return b"".join([*parts, raw[last:]]).decode(), typed_at


def as_typed(schema: pa.Schema) -> pa.Schema:
    """The columns of a result, with the titles that they have without what was put into the text."""
    return pa.schema([field.with_name(_INSERTED.sub(r"\1", field.name)) for field in schema])


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
