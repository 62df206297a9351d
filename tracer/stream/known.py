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


class Known:
    """Called with the name of a column: in which of these rows (array of EVENT, shape (n,)) its value is known."""

    def __init__(self, rows: NDArray[np.void]) -> None:
        self._rows = rows
        self._forms = rows.getfield(*_KIND_AND_FLAGS) & _FORM
        self._masks: dict[Rule, Mask] = {}

    def __call__(self, field: str) -> Mask:
        """Which rows have a value, shape (n,). field: the name of a column that can be null (RULES)."""
        rule = RULES[field]
        if rule not in self._masks:
            mask = _by_form(rule.reported, rule.inferred).take(self._forms)
            self._masks[rule] = mask & rule.where(self._rows) if rule.where else mask
        return self._masks[rule]


@cache
def _by_form(reported: frozenset[Kind], inferred: frozenset[Kind]) -> Mask:
    """For each combination of kind and INFERRED, whether its kind is one of these."""
    result = np.zeros(_FORM + 1, bool)
    result[list(reported)] = True
    result[[kind | _INFERRED for kind in inferred]] = True
    return result
