"""Numbers of things, singular and plural."""

from __future__ import annotations


def counted(count: int, word: str, ending: str = "s") -> str:
    """A number of things: "1 event", "2 events". ending: of the plural."""
    return f"{count} {word}{'' if count == 1 else ending}"
