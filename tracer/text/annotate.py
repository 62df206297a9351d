"""Numbers in a stream of text that are PIDs: found, and annotated or replaced. Pure; bytes in, bytes out."""

from __future__ import annotations

import re
from collections.abc import Callable

from tracer.typed.processes import MAX_PID

_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_UNIT = rb"(?:[kKMGT]i?B|[kKMGTBsS]|[mun]s|min|hours?|days?|sec(?:ond)?s?|bytes|pages|times)"

_LINE = b"".join(rb"(?<!\.\w{%d}:)" % length for length in range(1, 5))  # klog's main.go:123
_WORDS = {b"month": _MONTH, b"unit": _UNIT, b"line": _LINE}
# What cannot be a PID is left alone: parts of words and of hexadecimal numbers (a1b2, 0x1f), of versions, times,
# dates, addresses and fractions (1.2.3, 08:15:19, 2026-11-24, 10.0.0.1:80, 3/4), lines of a file (x.go:12), what
# follows - + # $ @ . or / (but /proc/), days beside a month, and amounts with a unit (100 kB). Python's lookbehinds
# have a fixed length.
_PID = re.compile(
    rb"(?=[1-9])(?:(?<=/proc/)|(?<![\w.+#$@/-])(?<![0-9][:,])%(line)s(?<!%(month)s )(?<!%(month)s  ))"
    rb"([1-9][0-9]{0,6})"
    rb"(?![\w%%]|[.:,+/-][0-9]|[.-]\w| ?(?:%(unit)s\b|%%)| %(month)s\b)" % _WORDS
)
MAX_LINE_BYTES = 1 << 20


class Annotator:
    """Receives text in any pieces, returns whole lines. translate: a number -> its translation, None: not a known PID.
    replace: put the translation in place of the number, else after it in brackets."""

    def __init__(self, translate: Callable[[int], bytes | None], replace: bool) -> None:
        self._translate, self._replace = translate, replace
        self._rest = b""

    def take(self, piece: bytes) -> bytes:
        """All lines that this piece has completed; a line beyond MAX_LINE_BYTES in parts."""
        text = self._rest + piece
        end = text.rfind(b"\n") + 1
        if len(text) - end > MAX_LINE_BYTES:
            end = max(end, _last_gap(text))
        self._rest = text[end:]
        return self._annotated(text[:end])

    def finish(self) -> bytes:
        """The rest, where the last line has no end."""
        rest, self._rest = self._rest, b""
        return self._annotated(rest)

    def _annotated(self, text: bytes) -> bytes:
        return annotated(text, self._translate, self._replace)


def annotated(text: bytes, translate: Callable[[int], bytes | None], replace: bool) -> bytes:
    """The text with the translations of the PIDs in it, as `Annotator` puts them."""

    def answer(match: re.Match[bytes]) -> bytes:
        nr = int(match[1])
        found = translate(nr) if nr <= MAX_PID else None
        if found is None:
            return match[0]
        return found if replace else b"%s[%s]" % (match[1], found)

    return _PID.sub(answer, text)


def numbers_in(text: bytes) -> set[int]:
    """The numbers in a text that may be PIDs."""
    return {nr for match in _PID.finditer(text) if (nr := int(match[1])) <= MAX_PID}


def _last_gap(text: bytes) -> int:
    """The offset of the end of the last word; the end of the text where it is one word."""
    ends = max(text.rfind(gap) for gap in (b" ", b"\t", b"\0"))
    return ends if ends > 0 else len(text)
