"""Numbers of things, singular and plural, and of bytes."""

from __future__ import annotations


def counted(count: int, word: str, ending: str = "s") -> str:
    """A number of things: "1 event", "2 events". ending: of the plural."""
    return f"{count} {word}{'' if count == 1 else ending}"


def size_text(count: int) -> str:
    """A number of bytes with three digits: "42.7 kB"."""
    amount: float = count
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}" if unit != "bytes" else f"{count} bytes"
        amount /= 1000
    return f"{amount:.3g} GB"
