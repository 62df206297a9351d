"""A trace of the whole host that builds a table beside something else. Combines the edges."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

from tracer.containers.enquiry import Enquiry
from tracer.containers.names import Names
from tracer.kernel.options import LoadOptions
from tracer.stream.table import MAX_PROCESSES
from tracer.typed.targets import parse_target
from tracer.wiring.tracing import Tracing

_WAIT_S, _CATCH_UP_S = 0.05, 1.0


class Watch:
    """A table of all processes, from the moment that this is made, as far as `run` has read. Gives up the privileges of
    the process, but for looking around (`tracer.system.privileges.drop_but_look`): no thread may run yet."""

    def __init__(self, names: Names, uses: Sequence[str]) -> None:
        """uses: modules that the caller needs from then on."""
        with ExitStack() as stack:
            tracing = stack.enter_context(Tracing(LoadOptions()))
            names.start()
            enquiry = Enquiry(names.engines())
            tracing.load(uses)
            tracing.confine(may_look=True)
            tracing.check()
            targets = (parse_target("all"), parse_target("host"))
            self._source = tracing.source(targets, enquiry.describe, MAX_PROCESSES, background=enquiry)
            self._opened = stack.pop_all()
        self.table = self._source.table
        self._stopping = False
        self._batches = self._source.batches(lambda: None if self._stopping else _WAIT_S)

    @property
    def lost(self) -> int:
        """How many events the ring has refused so far."""
        return self._source.lost

    def run(self, seconds: float) -> None:
        """Read events for some time, and then on until there is none, or they do not end."""
        until = time.monotonic() + seconds
        for batch in self._batches:
            now = time.monotonic()
            if now >= until and (not len(batch) or now >= until + _CATCH_UP_S):
                return

    def close(self) -> None:
        """Read what is left, detach, and close everything. The table remains."""
        self._stopping = True
        with self._opened:
            for _batch in self._batches:
                pass
