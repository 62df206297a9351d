"""Text as a cell of a spreadsheet: never a formula, nothing unseen, and what it was before can be restored.

What a spreadsheet would take for the beginning of a formula (=, +, -, @ and their full-width forms, at the beginning of
a cell or behind a semicolon, which separates cells where the comma is the decimal point), quotes and blanks ahead of it
or not, and every character that is not shown, is written as its number: \\xNN, \\uNNNN or \\UNNNNNNNN. So is a
backslash that would otherwise be read as one of these. docs/security.md has the function that undoes it. Pure.
"""

from __future__ import annotations

import re

from tracer.text.escape import escaped, is_shown

_STARTS = "=+\\-@\uff0b\uff0d\uff1d\uff20"
_NUMBERS = r"x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}"
SUSPECT = rf"""^[\s'"]*[{_STARTS}]|;[\s'"]*[{_STARTS}]|\\(?:{_NUMBERS})|[^ -~]"""
"""A regular expression, for Python and RE2 alike, that finds something in all texts that `cell` changes."""
_ESCAPED = re.compile(rf"""(?:^|;)[\s'"]*([{_STARTS}])|(\\)(?={_NUMBERS})""")


def cell(text: str) -> str:
    """The text as it stands in a cell."""
    text = _ESCAPED.sub(_with_number, text)
    return text if is_shown(text) else "".join(char if is_shown(char) else escaped(char) for char in text)


def _with_number(match: re.Match[str]) -> str:
    return match[0][:-1] + escaped(match[0][-1])
