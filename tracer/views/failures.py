"""Failures alone, in the form of another view."""

from __future__ import annotations

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.failures import failures
from tracer.views.view import View


class Failures:
    """What `view` makes of the failures, and of gaps and repairs."""

    def __init__(self, view: View) -> None:
        self.header = view.header
        self._view = view

    def render(self, batch: Batch, containers: Attribution) -> bytes:
        """As `View.render`."""
        return self._view.render(failures(batch), containers)

    def rest(self) -> bytes:
        """As `View.rest`."""
        return self._view.rest()
