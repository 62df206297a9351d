"""Sizes in bytes as users type them, in any case. Pure.

64000  100k  100M  1.5G  100MB (powers of 1000)    16MiB  16Mi (powers of 1024)
"""

from __future__ import annotations

import re

from tracer.errors import ExitCode, NstraceError
from tracer.typed.durations import billionths

_BILLION = 10**9
EXAMPLES = "for example 500k, 100M, 1.5GB or 16MiB, in any case"
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?([kmgt]?)(i?)(b?)")


def parse_size(text: str, plain_bytes: int = 1) -> int:
    """The size in bytes, rounded down. plain_bytes: what a number without a unit counts. Raises NstraceError
    (usage)."""
    match = _SIZE.fullmatch(text.strip().lower())
    if not match or (match[3] and not match[2]):
        raise NstraceError(f"{text!r} is not a valid size", EXAMPLES, ExitCode.USAGE)
    number, prefix, binary, unit = match.groups()
    length = (1024 if binary else 1000) ** _POWERS[prefix] if prefix or unit else plain_bytes
    return billionths(number) * length // _BILLION
