"""The gate of stdout and stderr: whatever anybody prints as text, click and Python too, has no effect on a terminal.

Lines of events do not come this way, and neither do exports: views and `tracer.recording.export` make them safe.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tracer.text.escape import safe_lines


class Gate:
    """Stands before a text stream, and is one for all who use it."""

    def __init__(self, stream: TextIO) -> None:
        self.ungated = stream

    def write(self, text: str) -> int:
        """As `TextIO.write`; what is not shown is escaped, but for newlines and tabs."""
        self.ungated.write(safe_lines(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """As `TextIO.writelines`."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ungated, name)


def install() -> None:
    """Put the gate before sys.stdout and sys.stderr."""
    for name in ("stdout", "stderr"):
        setattr(sys, name, Gate(ungated(getattr(sys, name))))


def ungated(stream: TextIO) -> TextIO:
    """The stream behind the gate, for text with control characters of our own: colors, a progress bar. Nothing that
    comes from elsewhere may be in it unescaped."""
    return stream.ungated if isinstance(stream, Gate) else stream
