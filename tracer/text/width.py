"""The number of terminal columns of a text: wide characters have two, combining ones none. Pure."""

from __future__ import annotations

import re
from unicodedata import category, east_asian_width

_COLOR = re.compile("(\x1b\\[[0-9;]*m)")
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
    if columns < 1:
        return ""
    left = columns - 1
    if text.isascii():
        return text[:left] + "…"
    for index, char in enumerate(text):
        left -= _char_width(char)
        if left < 0:
            return text[:index] + "…"
    return text


def cut_middle(text: str, columns: int) -> str:
    """As `cut`, but what is left out is in the middle: names often differ at their ends."""
    if width(text) <= columns:
        return text
    end = ""
    left = (columns - 1) // 2
    for char in reversed(text):
        left -= _char_width(char)
        if left < 0:
            break
        end = char + end
    return cut(text, columns - width(end)) + end


def cut_line(line: str, columns: int) -> str:
    """As `cut`, for a line with escape sequences for colors, which take no room and all stay."""
    whole = _COLOR.sub("", line)
    if width(whole) <= columns:
        return line
    left, pieces = len(cut(whole, columns)) - 1, []
    for piece in _COLOR.split(line):
        if _COLOR.fullmatch(piece):
            pieces.append(piece)
        elif left >= 0:
            pieces.append(piece if len(piece) <= left else f"{piece[:left]}…")
            left = left - len(piece) if len(piece) <= left else -1
    return "".join(pieces)


def _char_width(char: str) -> int:
    if category(char) in _NO_WIDTH:
        return 0
    return 2 if east_asian_width(char) in "WF" else 1
