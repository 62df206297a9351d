"""The view of commands that only record."""

from __future__ import annotations

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch


class Nothing:
    """A view that shows nothing."""

    header = ""

    def render(self, batch: Batch, containers: Attribution) -> bytes:
        """No text, whatever the batch."""
        return b""

    def rest(self) -> bytes:
        """As `View.rest`."""
        return b""
