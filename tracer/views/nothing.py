"""The view of who only records."""

from __future__ import annotations

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch


class Nothing:
    """Shows nothing."""

    header = ""

    def render(self, batch: Batch, containers: Attribution) -> bytes:
        """Nothing."""
        return b""
