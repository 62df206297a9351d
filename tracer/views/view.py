"""The seam between a session and what it shows."""

from __future__ import annotations

from typing import Protocol

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch


class View(Protocol):
    """Turns batches into text. Receives events, returns text, opens no files."""

    header: str

    def render(self, batch: Batch, containers: Attribution) -> bytes:
        """The lines of all rows to show, in UTF-8, each ended by a newline. containers: has the batch's facts."""

    def rest(self) -> bytes:
        """The lines that were held back, because rows to come might have changed them. Call it at the end, and where
        no rows have come for `tracer.wiring.session.IDLE_S`."""
