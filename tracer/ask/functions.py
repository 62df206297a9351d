"""Functions that a condition cannot have: those that give another value each time, so that a replay would show what was
not shown, and one that is not what it seems to be."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tracer.ask.database import nodes, place_of
from tracer.errors import ExitCode, NstraceError

VOLATILE = frozenset((
    *("current_connection_id", "current_query", "current_query_id", "current_transaction_id", "currval", "error"),
    *("gen_random_uuid", "nextval", "random", "setseed", "setval", "sleep_ms", "stats", "txid_current"),
    *("uuid", "uuidv4", "uuidv7", "vector_type", "write_log"),
))  # fmt: skip
CLOCKS = frozenset((
    *("current_date", "current_localtime", "current_localtimestamp", "current_time", "current_timestamp"),
    *("get_current_time", "get_current_timestamp", "localtime", "localtimestamp", "now", "today"),
    "transaction_timestamp",
))  # fmt: skip
_OF_NOW = {"age"}  # with one argument


def check_functions(found: Any, columns: Collection[str], texts: Collection[str], query: str, before: int) -> None:
    """Raises NstraceError (usage) for a function that a condition cannot have. found: its syntax tree, of a statement
    in which the query, as it was typed, begins behind so many bytes. columns: the names that it may use; texts: those
    of them that are lists of text."""
    for one in nodes(found):
        name = _called(one, columns)
        arguments = one.get("arguments", ())
        place = place_of({"position": str(one.get("query_location"))}, query, lambda at: at - before)
        if name in CLOCKS or (name in _OF_NOW and len(arguments) == 1):
            hint = "compare with a time: time > '2026-11-29 16:00:00', in UTC"
            raise NstraceError(f"{name} is another time whenever it is asked: {_REASON}{place}", hint, ExitCode.USAGE)
        if name in VOLATILE:
            hint = "a condition is about what the row has: nstrace replay --fields help lists it"
            raise NstraceError(f"{name} has another value each time: {_REASON}{place}", hint, ExitCode.USAGE)
        if name == "contains" and arguments and (of := _column_in(arguments[0]["expression"])) in texts:
            hint = f"list_contains({of}, 'x'), or {of} like '%x%' for a part of the whole line"
            message = f"contains({of}, ...) is true for a whole element alone{place}"
            raise NstraceError(message, hint, ExitCode.USAGE)


_REASON = "a replay would not show what was shown"


def _called(one: dict[str, Any], columns: Collection[str]) -> str:
    """The function that an object of a syntax tree calls, in lower case; "": none. SQL calls some without brackets."""
    if one.get("class") == "FUNCTION":
        return str(one.get("function_name", "")).lower()
    words = list(one.get("column_names", ())) if one.get("class") == "COLUMN_REF" else []
    name = str(words[0]).lower() if len(words) == 1 else ""
    return name if name in CLOCKS and name not in columns else ""


def _column_in(expression: dict[str, Any]) -> str:
    return str(expression["column_names"][-1]).lower() if expression.get("class") == "COLUMN_REF" else ""
