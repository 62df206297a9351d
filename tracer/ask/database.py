"""DuckDB as nstrace uses it: in memory, without files, network, extensions or threads of its own; and its errors in
nstrace's words.

The one place that imports it, and only where somebody asks.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from tracer.errors import ExitCode, NstraceError
from tracer.text.hints import near

if TYPE_CHECKING:
    import duckdb

# Without the last it would begin 8 threads for input and output of files, which there is none of.
_CONFIG: dict[str, Any] = {"enable_external_access": False, "threads": 1, "async_threads": 0}
_SETTINGS = (
    *("TimeZone = 'UTC'", "errors_as_json = true", "python_enable_replacements = false"),
    "enable_progress_bar = false",  # which goes to stdout, among the rows, after two seconds
)
At = Callable[[int], int]
_HERE_CHARS, _MAX_NEAR = 30, 3
_OF_SESSION = {"user", "current_user", "session_user", "current_role", "current_catalog", "current_schema"}
_ALSO_CALLED = {"user": "uid is the number of the user; --user NAME"}
_AT_END = ", at its end"
_NO_NUMBER = re.compile(r"Could not convert string '(.*[^-+.0-9eE].*)' to (?:U?INT|FLOAT|DOUBLE)\d*")
_A_TIME = "a time is '2026-11-30 22:05', in UTC; --since and --until take 22:05 and -10m, too"
_OF_LISTS = (
    "args and pids are lists: args like '%--debug%' is about the command line, list_contains(args, 'x') about one"
)


class Room(NamedTuple):
    """How much memory a database takes, in bytes or as a share of the machine's. spill: where what has no room there
    goes to files, by its absolute path when a query runs; "": nowhere."""

    memory: int | str = "25%"
    spill: str = ""


DEFAULT_ROOM = Room()


def connect(room: Room = DEFAULT_ROOM) -> duckdb.DuckDBPyConnection:
    """An empty database in memory, in this thread alone: SQL reaches nothing but the tables that are put in."""
    import duckdb

    memory = f"{room.memory}B" if isinstance(room.memory, int) else room.memory
    of_room = {"memory_limit": memory, "temp_directory": room.spill}
    database = duckdb.connect(":memory:", config=_CONFIG | of_room)
    for setting in _SETTINGS:
        database.execute(f"set {setting}").fetchall()
    return database


def use_all_cpus(database: duckdb.DuckDBPyConnection) -> None:
    """Let it begin a thread for each CPU."""
    database.execute(f"set threads = {len(os.sched_getaffinity(0))}").fetchall()


def require_text(query: str) -> None:
    """Raises NstraceError (usage) where what was typed is not text."""
    try:
        query.encode()
    except UnicodeEncodeError as error:
        message = f"what is asked is not valid UTF-8, at character {error.start + 1}"
        raise NstraceError(message, "write other bytes as '\\xNN'", ExitCode.USAGE) from error


def tree(
    database: duckdb.DuckDBPyConnection, statement: str, query: str = "", typed_at: At = lambda place: place
) -> dict[str, Any] | None:
    """The syntax tree of a SELECT statement; None: it is something else. query and typed_at: as for `errors_of`, where
    the statement is not what the user typed. Raises NstraceError for wrong syntax."""
    ((answer,),) = database.execute("select json_serialize_sql(?)", [statement]).fetchall()
    found: dict[str, Any] = json.loads(answer)
    if found.get("error_type") == "parser":
        raise _error(found | {"exception_message": found["error_message"]}, query or statement, (), typed_at)
    return None if found.get("error") else found


def nodes(found: Any) -> Iterator[dict[str, Any]]:
    """All objects in a syntax tree, outermost first."""
    if isinstance(found, dict):
        yield found
    for child in found.values() if isinstance(found, dict) else found if isinstance(found, list) else ():
        yield from nodes(child)


def check_names(found: Any, names: Iterable[str], query: str, typed_at: At = lambda place: place) -> None:
    """Raises NstraceError (usage) where a syntax tree has a name that DuckDB would take for its own: `user` is who runs
    the query there, and no column. names, query and typed_at: as for `errors_of`."""
    for one in nodes(found):
        words = one.get("column_names", ())
        if one.get("class") == "COLUMN_REF" and len(words) == 1 and words[0].lower() in _OF_SESSION - set(names):
            facts = {"error_subtype": "COLUMN_NOT_FOUND", "name": words[0], "position": str(one["query_location"])}
            raise _error(facts, query, names, typed_at)


@contextmanager
def errors_of(query: str, names: Iterable[str] = (), typed_at: At = lambda place: place) -> Iterator[None]:
    """Convert an error of DuckDB meanwhile into an NstraceError. query: what the user typed. names: those that it may
    use. typed_at: which byte of the query a byte of the statement is."""
    import duckdb

    try:
        yield
    except (duckdb.Error, OSError) as error:  # Arrow makes an OSError of what ends a stream of rows
        facts = _facts(str(error))
        if isinstance(error, OSError) and "exception_type" not in facts:
            raise
        if facts.get("exception_type") == "Out of Memory":
            hint = "--memory SIZE gives it more; or ask for fewer columns or rows: a WHERE, --since and --until"
            raise NstraceError("the answer needs more memory than the query may take", hint) from error
        raise _error(facts, query, names, typed_at) from error


def _facts(text: str) -> dict[str, Any]:
    """What an error says of itself."""
    with suppress(ValueError):
        found = json.loads(text[text.index("{") :])
        if isinstance(found, dict):
            return found
    return {"exception_message": text}


def _error(facts: dict[str, Any], query: str, names: Iterable[str], typed_at: At) -> NstraceError:
    message = str(facts.get("exception_message", "")).partition("\n")[0].rstrip("!.")
    name, kind = str(facts.get("name", "")), facts.get("error_subtype")
    hint = ""
    if facts.get("exception_type") == "Permission":
        message = "a query reads the recordings alone"
    if kind == "COLUMN_NOT_FOUND":
        message = f"there is no column {name}"
        quotes = f"text is in single quotes: '{name}'"
        hint = quotes if f'"{name}"' in query else near(name, names) or f"{_candidates(facts)}{quotes}"
        hint = _ALSO_CALLED.get(name.lower(), hint)
    elif kind == "MISSING_ENTRY":
        message = f"there is no {str(facts.get('type', '')).lower().removeprefix('scalar ')} {name}"
        hint = near(name, str(facts.get("candidates", "")).split(","))
    elif kind == "NO_MATCHING_FUNCTION":
        message = f"no such function for these types: {facts.get('call', name)}"
    elif no_number := _NO_NUMBER.match(message):  # which for DuckDB a time is
        message = f"'{no_number[1]}' is no number, and no time"
        hint = _A_TIME if ":" in no_number[1] else ""
    place = place_of(facts, query, typed_at)
    if "[]" in message:
        hint = hint or _OF_LISTS
    if kind == "SYNTAX_ERROR" and place == _AT_END:  # near a bracket of ours, or nothing
        message = "something is missing"
    return NstraceError(f"{message}{place}", hint.rstrip(), ExitCode.USAGE)


def _candidates(facts: dict[str, Any]) -> str:
    """The names that DuckDB thinks of."""
    names = str(facts.get("candidates", "")).replace('"', "")
    return f"did you mean {' or '.join(names.split(',')[:_MAX_NEAR])}? " if names else ""


def place_of(facts: Mapping[str, Any], query: str, typed_at: At) -> str:
    """Where in the query something is, by `position` in facts: counted in characters from 1, and what stands there."""
    if not str(facts.get("position", "")).isdecimal():
        return ""
    before = query.encode()[: max(0, typed_at(int(facts["position"])))].decode(errors="replace")
    here = " ".join(query[len(before) :].split())
    here = here if len(here) <= _HERE_CHARS else f"{here[:_HERE_CHARS]}…"
    return f", at character {len(before) + 1}: {here}" if here else _AT_END
