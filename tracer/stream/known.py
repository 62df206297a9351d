"""Which values of a row are known: the one place that every output and every answer uses. Pure.

A record has a member for each field, whatever its kind; most kinds have no use for some of them, and some values of
what no event reported cannot be known. Those are null in JSON and in Arrow, "-" or nothing in text, and no evidence for
an answer. What the member holds then means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracer.stream.batch import EVENT
from tracer.stream.schema import RULES, Flag, Kind, Rule

Mask = NDArray[np.bool_]
_FIELDS: Mapping[str, Any] = EVENT.fields or {}
_KIND_AND_FLAGS = np.dtype("<u2"), _FIELDS["kind"][1]  # one stands behind the other: read as one number
_INFERRED = int(Flag.INFERRED) << 8
_FORM = _INFERRED | 0xFF
_HALF = 32  # bits: of kinds that were reported, and of those that were inferred; the last one: that there are not
_BIT_OF_FORM = np.array(
    [1 << min(form & 0xFF, 31) + _HALF * (form >= _INFERRED) for form in range(_FORM + 1)], np.uint64
)


class Known:
    """Called with the name of a column: in which of these rows (array of EVENT, shape (n,)) its value is known."""

    def __init__(self, rows: NDArray[np.void]) -> None:
        self._rows = rows
        self._forms = (rows.getfield(*_KIND_AND_FLAGS) & _FORM).astype(np.intp)  # as numpy takes indices
        self._there = int(np.bitwise_or.reduce(_BIT_OF_FORM.take(self._forms)))
        self._masks: dict[Rule, Mask] = {}

    def __call__(self, field: str) -> Mask:
        """Which rows have a value, shape (n,). field: the name of a column that can be null (RULES)."""
        rule = RULES[field]
        if rule not in self._masks:
            self._masks[rule] = self._mask(rule)
        return self._masks[rule]

    def _mask(self, rule: Rule) -> Mask:
        """Most rules are about all kinds that there are, or about none of them: then no row is looked at."""
        bits = _bits_of(rule.reported, rule.inferred)
        if not self._there & bits:
            return np.zeros(len(self._forms), bool)
        if rule.where is None and not self._there & ~bits:
            return np.ones(len(self._forms), bool)
        mask = _by_form(rule.reported, rule.inferred).take(self._forms)
        return mask & rule.where(self._rows) if rule.where else mask


@cache
def _bits_of(reported: frozenset[Kind], inferred: frozenset[Kind]) -> int:
    return sum(1 << kind for kind in reported) | sum(1 << kind + _HALF for kind in inferred)


@cache
def _by_form(reported: frozenset[Kind], inferred: frozenset[Kind]) -> Mask:
    """For each combination of kind and INFERRED, whether its kind is one of these."""
    result = np.zeros(_FORM + 1, bool)
    result[list(reported)] = True
    result[[kind | _INFERRED for kind in inferred]] = True
    return result
