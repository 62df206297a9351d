"""Parts of a text to mask, as pairs of offsets, and the text with them masked. Pure."""

from __future__ import annotations

from collections.abc import Iterable

MASK = "****"
Span = tuple[int, int]
"""Where a secret begins and ends in a text."""


def merged(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, those that overlap as one; without empty ones."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start < found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        elif start < end:
            found.append((start, end))
    return found


def covered(text: str, spans: Iterable[Span]) -> str:
    """The text with a mask in the place of each span; they are in order and do not overlap."""
    parts, at = [], 0
    for start, end in spans:
        parts += [text[at:start], MASK]
        at = end
    return "".join(parts) + text[at:]
