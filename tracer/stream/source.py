"""The seams of a stream: where batches come from, and where they go beside a view. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from tracer.stream.account import Account
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.table import Table


class Source(Protocol):
    """Where batches come from: a running trace or a recording.

    attribution: the containers of processes, as of the last batch.
    """

    attribution: Attribution

    @property
    def table(self) -> Table | None:
        """The processes as of the last batch, kept by the source; None: it keeps none, and ends by itself, whichever
        processes live then."""

    def account(self) -> Account | None:
        """The account to check a run with when it has ended; None: nothing was counted on the way."""

    @property
    def lost(self) -> int:
        """Events lost so far."""

    def batches(self, timeout_s: Callable[[], float | None]) -> Iterator[Batch]:
        """Batches in order. timeout_s: called before every wait for how long it may take, in s; None: stop."""


class BatchSink(Protocol):
    """A receiver of all batches of a session, beside its view."""

    def take(self, batch: Batch) -> None:
        """Receive the next batch; an empty one now and then where none comes."""
