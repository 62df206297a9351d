"""A column of PIDs of a log, as `tracer.text.log_numbers` reads them, many at once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.recording.columns import values_of
from tracer.text.log_numbers import WHOLE
from tracer.typed.processes import MAX_PID


def numbers_in(column: pa.Array) -> NDArray[np.int64]:
    """The PIDs in a column, shape (n,); 0: there is none."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        texts = pc.utf8_trim_whitespace(column)
        is_number = pc.match_substring_regex(texts, f"^{WHOLE}$")
        column = pc.if_else(is_number, texts, pa.scalar(None, texts.type)).cast(pa.float64())
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        column = _whole(column.cast(pa.float64()))
    elif not pa.types.is_integer(column.type):
        return np.zeros(len(column), np.int64)
    numbers = values_of(column).astype(np.int64)
    found: NDArray[np.int64] = np.where((numbers > 0) & (numbers <= MAX_PID), numbers, 0)
    return found


def _whole(numbers: pa.Array) -> pa.Array:
    """Those of the numbers that are whole, as integers; null for the others, and for what no PID is as large as."""
    is_whole = pc.and_(pc.equal(numbers, pc.floor(numbers)), pc.less_equal(pc.abs(numbers), float(MAX_PID)))
    return pc.if_else(is_whole, numbers, pa.scalar(None, numbers.type)).cast(pa.int64())
