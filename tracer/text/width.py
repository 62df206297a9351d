"""The number of terminal columns of a text: wide characters have two, combining ones none. Pure."""

from __future__ import annotations

from unicodedata import category, east_asian_width

_NO_WIDTH = ("Mn", "Me")  # of printable characters; all others without width were escaped before


def width(text: str) -> int:
    """How many columns the text has."""
    return len(text) if text.isascii() else sum(map(_char_width, text))


def pad(text: str, columns: int) -> str:
    """The text with spaces after it up to this many columns; longer text stays whole."""
    return text + " " * (columns - width(text))


def pad_left(text: str, columns: int) -> str:
    """As `pad`, with the spaces before it."""
    return " " * (columns - width(text)) + text


def cut(text: str, columns: int) -> str:
    """The text in at most this many columns: a text that was cut ends with …"""
    if width(text) <= columns:
        return text
    left = columns - 1
    for index, char in enumerate(text):
        left -= _char_width(char)
        if left < 0:
            return text[:index] + "…"
    return text


def _char_width(char: str) -> int:
    if category(char) in _NO_WIDTH:
        return 0
    return 2 if east_asian_width(char) in "WF" else 1
