"""Times with an offset or a zone, which DuckDB drops: they are refused, with the same in UTC."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from tracer.ask.database import At, nodes, place_of
from tracer.errors import ExitCode, NstraceError
from tracer.recording.schema import FLAT

_TIME = re.compile(
    r"\s*(\d{4}-\d\d-\d\d)[T ]+(\d\d:\d\d(?::\d\d)?)(\.\d+)?\s*([+-]\d\d(?::?\d\d)?|[A-Z][A-Z0-9_/+-]*)\s*", re.I
)
_IN_UTC = re.compile(r"[+-][0:]+|Z|UTC|GMT", re.I)
_NOWHERE = 1 << 32  # what DuckDB has no place for is behind it
_COMPARING = ("COMPARISON", "BETWEEN", "OPERATOR", "FUNCTION")
_NO_TIMES = {"commands", "user", "state", *(field.name for field in FLAT if not pa.types.is_timestamp(field.type))}
"""Columns that are compared with any text."""


def check_times(found: Any, query: str, typed_at: At = lambda place: place) -> None:
    """Raises NstraceError (usage) where a syntax tree makes or compares a time of text that has an offset. query and
    typed_at: as for `tracer.ask.database.errors_of`."""
    for one in nodes(found):
        for literal in _compared(one):
            places = [int(each.get("query_location", _NOWHERE)) for each in (literal, one)]
            known = [place_of({"position": str(at)}, query, typed_at) for at in places if at < _NOWHERE]
            place = known[0] if known else ""
            hint = f"times are in UTC{_in_utc(literal['literal']['text'])}"
            raise NstraceError(f"a time in SQL has no offset or zone{place}", hint, ExitCode.USAGE)


def _compared(one: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The times with an offset that an object of a syntax tree compares with what may be a time, or makes times of."""
    kind, children = one.get("class"), list(_children(one))
    if kind == "CAST":
        type_ = str((one.get("type_expr") or {}).get("type_name", "")).lower()
        is_naive = type_.startswith(("timestamp", "datetime")) and "tz" not in type_ and "with time zone" not in type_
        yield from filter(_has_offset, children if is_naive else ())
    if kind in _COMPARING:
        columns = (each for each in nodes(children) if each.get("class") == "COLUMN_REF")
        if {str(each["column_names"][-1]).lower() for each in columns} - _NO_TIMES:
            yield from filter(_has_offset, children)


def _children(one: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The expressions of which an object is made."""
    for value in one.values():
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, dict):
                yield child.get("expression", child)


def _has_offset(expression: dict[str, Any]) -> bool:
    literal = expression.get("literal")
    match = _TIME.fullmatch(str(literal.get("text"))) if isinstance(literal, dict) else None
    return bool(match and not _IN_UTC.fullmatch(match[4]))


def _in_utc(text: str) -> str:
    """The same moment as a hint has it; "": the zone is a name."""
    match = _TIME.fullmatch(text)
    with suppress(ValueError, OverflowError, TypeError):
        day, clock, fraction, offset = match.groups() if match else ()
        moment = datetime.fromisoformat(f"{day}T{clock}{offset}").astimezone(UTC)
        return f": '{moment:%Y-%m-%d %H:%M:%S}{fraction or ''}'"
    return ""
