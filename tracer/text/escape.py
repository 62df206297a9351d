"""Bytes from strangers -> text that no terminal acts on."""

from __future__ import annotations

import re
import shlex

# DEL, C1, line separators and bidi controls: legal in JSON, and yet acted on by terminals.
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def decode(raw: bytes) -> str:
    """Always valid text: what is no UTF-8 becomes \\xNN."""
    return raw.decode("utf-8", "backslashreplace")


def safe(raw: bytes) -> str:
    """For a terminal: whatever cannot be printed (controls, bidi marks, line separators) becomes \\xNN or \\uNNNN."""
    return safe_text(decode(raw))


def safe_text(text: str) -> str:
    """As `safe`, of text."""
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def command_line(args: list[bytes]) -> str:
    """Arguments as a shell would take them, apart from what had to be escaped."""
    return " ".join(shlex.quote(safe(arg)) for arg in args)


def safe_json(line: str) -> str:
    """An encoded JSON line, those characters written as escapes that a terminal might act on."""
    if line.isascii() and "\x7f" not in line:
        return line
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", line)
