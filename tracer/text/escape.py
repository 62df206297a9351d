"""Untrusted bytes -> text without effect on a terminal."""

from __future__ import annotations

import re
import shlex

# DEL, C1, line separators and bidi controls: legal in JSON, but terminals act on them.
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def decode(raw: bytes) -> str:
    """Always valid text: bytes that are not UTF-8 become \\xNN."""
    return raw.decode("utf-8", "backslashreplace")


def safe(raw: bytes) -> str:
    """Text for a terminal: what cannot be printed (controls, bidi marks, line separators) becomes \\xNN or \\uNNNN."""
    return safe_text(decode(raw))


def safe_text(text: str) -> str:
    """As `safe`, for a str."""
    return text if text.isprintable() else "".join(map(_printable, text))


def safe_lines(text: str) -> str:
    """As `safe_text`, for text of several lines: newlines and tabs stay."""
    return "".join(char if char in "\n\t" else _printable(char) for char in text)


def _printable(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def command_line(args: list[bytes]) -> str:
    """Arguments quoted for a shell, except for what had to be escaped."""
    return " ".join(shlex.quote(safe(arg)) for arg in args)


def safe_json(line: str) -> str:
    """An encoded JSON line in which characters that a terminal may act on are written as escapes."""
    if line.isascii() and "\x7f" not in line:
        return line
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", line)
