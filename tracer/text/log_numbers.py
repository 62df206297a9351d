"""The PID that a value of a log is. Pure.

A whole number is one in whichever form it comes: what pandas makes of a column of integers with nulls is 104.0.
"""

from __future__ import annotations

import re

from tracer.typed.processes import MAX_PID

WHOLE = r"0*[0-9]{1,9}(\.0*)?"
"""Text that is a whole number, without the blanks around it: for Python, and for Arrow."""
_WHOLE = re.compile(WHOLE)


def pid_in(value: object) -> int:
    """The PID that a value of JSON is; 0: it is none."""
    text = str(value).strip()
    number = int(text.partition(".")[0]) if _WHOLE.fullmatch(text) else 0
    return number if number <= MAX_PID else 0
