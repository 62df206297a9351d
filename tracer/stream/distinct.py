"""The different values in columns, and which of them each row has. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # of Fibonacci hashing: Knuth, The Art of Computer Programming 3, 6.4


class Distinct(NamedTuple):
    """first: the indices of the rows with which a new combination of values appears, rising. of_row: for each row the
    place in first of its combination, shape (n,)."""

    first: NDArray[np.intp]
    of_row: NDArray[np.intp]


def distinct(*columns: NDArray[Any]) -> Distinct:
    """The combinations of values in columns of integers, each of shape (n,). Does not sort: a few ns a row."""
    count = len(columns[0])
    if not count or all((column == column[0]).all() for column in columns):
        return Distinct(np.arange(min(count, 1)), np.zeros(count, np.intp))
    first_like = _first_like([np.ascontiguousarray(column) for column in columns], np.zeros(count, np.uint64))
    first = np.flatnonzero(first_like == np.arange(count))
    numbers = np.empty(count, np.intp)
    numbers[first] = np.arange(len(first))
    return Distinct(first, numbers[first_like])


def _first_like(columns: list[NDArray[Any]], mixed: NDArray[np.uint64]) -> NDArray[np.intp]:
    """For each row the index of the first row with the same values. mixed: a hash of each row, equal for equal rows."""
    for column in columns:
        mixed = (mixed + column.astype(np.uint64)) * _MULTIPLIER
    bits = len(mixed).bit_length() + 2  # some slots for each row
    slots = (mixed >> np.uint64(64 - bits)).astype(np.intp)
    in_slot = np.empty(1 << bits, np.intp)
    in_slot[slots[::-1]] = np.arange(len(slots))[::-1]  # equal rows meet in one slot: the first row there wins it
    found = in_slot[slots]
    other = np.zeros(len(found), bool)
    for column in columns:
        other |= column[found] != column
    if other.any():  # slots of other rows: once more for these; each round settles a row for each slot at least
        left = np.flatnonzero(other)
        found[left] = left[_first_like([column[left] for column in columns], mixed[left])]
    return found
