"""A condition in SQL on rows: checked and prepared once, evaluated for a whole batch at a time."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.ask.database import At, check_names, connect, errors_of, nodes, require_text, tree
from tracer.ask.functions import check_functions
from tracer.ask.lists import with_lists_as_text
from tracer.ask.offsets import check_times
from tracer.errors import ExitCode, NstraceError

_CHECK = "explain select 1 from rows where (\n"
_ALONE = "select 1 from rows where\n"
_MISSING = "something is missing, at its end"
_PREPARE = "prepare condition as select coalesce((\n"


class Condition:
    """A condition on rows of this schema, as it was typed. needs: the columns that it names.

    It begins no thread and opens no file. Raises NstraceError (usage) where it is wrong, with the place.
    """

    def __init__(self, text: str, schema: pa.Schema) -> None:
        self._text, self._names = text, schema.names
        self._typed: At = lambda place: place
        require_text(text)
        self._database = connect()
        self._database.execute("pragma disable_optimizer").fetchall()  # it takes longer than a batch of 200 rows
        self._rows = Rows(schema.empty_table())
        self._database.register("rows", self._rows)
        statement = self._checked(schema)
        self._prepare(statement, schema)

    def mask(self, rows: pa.RecordBatch) -> NDArray[np.bool_]:
        """For which rows it is true, shape (n,); what is not known is not true. rows: of the columns that it needs, in
        the order of the schema. Raises NstraceError where it cannot be evaluated for one of them."""
        self._rows.batch = rows
        with self._errors(_PREPARE):
            found: NDArray[np.bool_] = self._database.execute("execute condition").fetchnumpy()["is_true"]
        return np.asarray(found)

    def _checked(self, schema: pa.Schema) -> str:
        """The condition as DuckDB takes it: a list is text where a function of text has it."""
        before = _CHECK.removeprefix("explain ")
        found = self._parsed(before) if self._text.strip() else None
        if found is None:
            raise NstraceError("there is no condition", "for example \"comm = 'sh'\"", ExitCode.USAGE)
        if any(one.get("class") == "SUBQUERY" for one in nodes(found)):
            raise NstraceError("a condition has no query in it", "nstrace sql answers queries", ExitCode.USAGE)
        check_names(found, self._names, self._text, lambda place: place - len(before))
        check_times(found, self._text, lambda place: place - len(before))
        texts = {field.name for field in schema if field.type == pa.list_(pa.string())}
        check_functions(found, self._names, texts, self._text, len(before))
        words = {word.lower() for one in nodes(found) for word in one.get("column_names", ())}
        self.needs = [name for name in schema.names if name in words] or schema.names[:1]
        lists = {field.name for field in schema if pa.types.is_list(field.type)}
        statement, self._typed = with_lists_as_text(self._database, self._text, found, lists, len(before))
        with self._errors(_CHECK):
            self._database.execute(f"{_CHECK}{statement}\n)").fetchall()
        return statement

    def _parsed(self, before: str) -> dict[str, Any] | None:
        """Its syntax tree, in brackets behind this text. Raises NstraceError for wrong syntax: also where a bracket of
        its own would close ours."""

        found, inside = self._tree(before, ")")
        _found, alone = self._tree(_ALONE, "")
        has_too_many = alone and 'near ")"' in alone.message  # the parser may take a bracket too many for ours
        if inside and not (has_too_many and inside.message == _MISSING):
            raise inside
        if alone:
            raise alone
        return found

    def _tree(self, ahead: str, behind: str) -> tuple[dict[str, Any] | None, NstraceError | None]:
        """The syntax tree of the condition between these texts; else what is wrong."""
        statement = f"{ahead}{self._text}\n{behind}"
        try:
            return tree(self._database, statement, self._text, lambda place: place - len(ahead)), None
        except NstraceError as error:
            return None, error

    def _prepare(self, statement: str, schema: pa.Schema) -> None:
        """Prepare it for rows of the columns that it needs, and try it on one: a constant may be wrong, too."""
        self._rows.batch = pa.RecordBatch.from_pylist([{}], pa.schema([schema.field(name) for name in self.needs]))
        ((_name, kind, *_more),) = self._database.execute(f"describe select (\n{statement}\n) from rows").fetchall()
        if kind not in ("BOOLEAN", '"NULL"'):
            raise NstraceError(f"a condition is true or false, and this is {kind}", "compare it", ExitCode.USAGE)
        with self._errors(_PREPARE):
            self._database.execute(f"{_PREPARE}{statement}\n), false) as is_true from rows").fetchall()
        self.mask(self._rows.batch)

    def _errors(self, before: str) -> AbstractContextManager[None]:
        """before: what stands ahead of the condition in the statement."""

        return errors_of(self._text, self._names, lambda place: self._typed(place - len(before)))


class Rows:
    """The table of the statement: another batch each time that it is run."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch

    def __arrow_c_schema__(self) -> object:
        """As PyCapsules of Arrow define it."""
        return self.batch.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """As PyCapsules of Arrow define it."""
        return pa.RecordBatchReader.from_batches(self.batch.schema, [self.batch]).__arrow_c_stream__()
