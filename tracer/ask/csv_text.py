"""Batches -> lines of CSV, a column at a time: a row at a time takes ten times as long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from tracer.recording.columns import _data
from tracer.text.cells import SUSPECT, cell

_QUOTED = '[",\r\n]'
_NS_DIGITS = {"s": ".000000000Z", "ms": "000000Z", "us": "000Z", "ns": "Z"}

Values = Callable[[pa.Array], list[Any]]
"""Gives the values of an array of any type, as JSON has them."""


def header(names: list[str]) -> bytes:
    """The line of the names."""
    return lines([pa.array([name], pa.string()) for name in names], lambda array: array.to_pylist())


def lines(columns: list[pa.Array], values: Values) -> bytes:
    """A line for each row. Null is nothing; lists and structures are JSON; text is as `tracer.text.cells.cell` writes
    it; numbers and times, which are RFC 3339, are nothing that a spreadsheet could take for a formula."""
    if not columns or not len(columns[0]):
        return b""
    texts = [_quoted(_text(column, values)) for column in columns]
    if len(texts) == 1:  # an empty line would be none
        texts = [pc.if_else(pc.equal(pc.fill_null(texts[0], ""), ""), '""', texts[0])]
    last = pc.binary_join_element_wise(texts[-1], "", "\n", null_handling="replace", null_replacement="")
    rows = pc.binary_join_element_wise(*texts[:-1], last, ",", null_handling="replace", null_replacement="")
    return bytes(_data(rows))  # of all texts, one after the other


def _text(column: pa.Array, values: Values) -> pa.Array:
    type_ = column.type
    if pa.types.is_integer(type_) or pa.types.is_boolean(type_):
        return column.cast(pa.string())
    if pa.types.is_timestamp(type_):
        return _times(column)
    if pa.types.is_string(type_):
        return _cells(column)
    if pa.types.is_list(type_) and (pa.types.is_integer(type_.value_type) or pa.types.is_string(type_.value_type)):
        return _cells(_lists(column))
    texts = pa.array([None if one is None else _json(one) for one in values(column)], pa.string())
    return texts if pa.types.is_floating(type_) or pa.types.is_decimal(type_) else _cells(texts)


def _json(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _times(column: pa.Array) -> pa.Array:
    """RFC 3339, with nanoseconds."""
    clock = column.cast(pa.timestamp(column.type.unit)).cast(pa.string())
    text = pc.replace_substring(clock, " ", "T")
    return pc.binary_join_element_wise(text, _NS_DIGITS[column.type.unit], "")


def _lists(column: pa.ListArray) -> pa.Array:
    """Lists as JSON."""
    elements = column.flatten()
    if pa.types.is_string(elements.type):
        different = elements.dictionary_encode()
        texts = pa.array([_quoted_json(text) for text in different.dictionary.to_pylist()], pa.string())
        elements = texts.take(different.indices)
    elements = pc.fill_null(elements.cast(pa.string()), "null")
    offsets = pc.subtract(column.offsets, column.offsets[0])
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, elements), ",")
    text = pc.binary_join_element_wise("[", joined, "]", "")
    return pc.if_else(column.is_valid(), text, pa.scalar(None, pa.string())) if column.null_count else text


def _quoted_json(text: str | None) -> str | None:
    return None if text is None else msgspec.json.encode(text).decode()


def _cells(texts: pa.Array) -> pa.Array:
    """Texts as cells of a spreadsheet."""
    odd = pc.fill_null(pc.match_substring_regex(texts, SUSPECT), False)
    if not pc.any(odd).as_py():
        return texts
    return pc.replace_with_mask(texts, odd, pa.array(map(cell, texts.filter(odd).to_pylist()), pa.string()))


def _quoted(texts: pa.Array) -> pa.Array:
    """In quotes where a comma, a quote or the end of a line is in it."""
    odd = pc.fill_null(pc.match_substring_regex(texts, _QUOTED), False)
    if not pc.any(odd).as_py():
        return texts
    inside = pc.replace_substring(texts.filter(odd), '"', '""')
    return pc.replace_with_mask(texts, odd, pc.binary_join_element_wise('"', inside, '"', ""))
