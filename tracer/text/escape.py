"""Untrusted bytes -> text without effect on a terminal, and without anything that a reader cannot see.

The one place that says which characters are shown. What is not: controls, line and paragraph separators, blanks other
than the space, format characters (zero-width and bidi marks, the soft hyphen, tags), what is not assigned; and what
Unicode calls default-ignorable although it counts as a letter or a mark (fillers, joiners, variation selectors).
"""

from __future__ import annotations

import re
import shlex

# Default_Ignorable_Code_Point (DerivedCoreProperties.txt) of those that str.isprintable() lets pass; and the empty
# braille pattern, a blank that counts as a symbol.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def decode(raw: bytes) -> str:
    """Always valid text: bytes that are not UTF-8 become \\xNN."""
    return raw.decode("utf-8", "backslashreplace")


def is_shown(text: str) -> bool:
    """Whether every character of the text is seen as it is, and does nothing else."""
    return text.isprintable() and (text.isascii() or not _UNSEEN.search(text))


def safe(raw: bytes) -> str:
    """Text for a terminal: what is not shown becomes \\xNN, \\uNNNN or \\UNNNNNNNN."""
    return safe_text(decode(raw))


def safe_text(text: str) -> str:
    """As `safe`, for a str."""
    return text if is_shown(text) else "".join(char if is_shown(char) else escaped(char) for char in text)


def safe_lines(text: str) -> str:
    """As `safe_text`, for text of several lines: newlines and tabs stay."""
    if is_shown(text):
        return text
    return "".join(char if char in "\n\t" or is_shown(char) else escaped(char) for char in text)


def escaped(char: str) -> str:
    """One character as a number, in the shortest form of a Python literal that can hold it."""
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def command_line(args: list[bytes]) -> str:
    """Arguments quoted for a shell, except for what had to be escaped."""
    return " ".join(shlex.quote(safe(arg)) for arg in args)


def safe_json(line: str) -> str:
    """An encoded JSON line in which what is not shown is written as escapes: the same value."""
    return line if is_shown(line) else "".join(char if is_shown(char) else json_escaped(char) for char in line)


def json_escaped(text: str) -> str:
    """All characters as JSON escapes them in ASCII: \\uNNNN, two of them for one beyond 16 bits. Worked out here: the
    codec would be a file, and a reader without privileges opens none."""
    return "".join(f"\\u{unit:04x}" for char in text for unit in _utf16(ord(char)))


def _utf16(code: int) -> tuple[int, ...]:
    return (code,) if code < 0x10000 else (0xD7C0 + (code >> 10), 0xDC00 + (code & 0x3FF))
