"""A view that also adds up what it is given."""

from __future__ import annotations

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.tally import Tallies
from tracer.views.view import View


class Counting:
    """What `view` shows; tallies are of all that it was given."""

    def __init__(self, view: View, tallies: Tallies) -> None:
        self.header = view.header
        self._view, self._tallies = view, tallies

    def render(self, batch: Batch, containers: Attribution) -> bytes:
        """As `View.render`."""
        self._tallies.take(batch, containers)
        return self._view.render(batch, containers)

    def rest(self) -> bytes:
        """As `View.rest`."""
        return self._view.rest()
