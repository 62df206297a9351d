"""A trace of the whole host that builds a table beside something else. Combines the edges."""

from __future__ import annotations

import time

from tracer.containers.cgroups import Cgroups, Describe
from tracer.kernel.load import Loading, check_host
from tracer.kernel.options import LoadOptions
from tracer.kernel.selfcheck import checked_trace
from tracer.live import LiveSource
from tracer.table import Table
from tracer.targets import parse_target

_WAIT_S, _CATCH_UP_S = 0.05, 1.0


class Watch:
    """table: all processes, from the moment that this is made, as far as `run` has read."""

    def __init__(self, describe: Describe) -> None:
        check_host()
        self.table = Table()
        options = LoadOptions()
        with Loading(options) as loading:
            trace, early = checked_trace(loading.wait(), options)
        self._source = LiveSource(
            trace, (parse_target("all"), parse_target("host")), Cgroups(describe), early, self.table
        )
        self._stopping = False
        self._batches = self._source.batches(lambda: None if self._stopping else _WAIT_S)

    @property
    def lost(self) -> int:
        """Events that the ring refused so far."""
        return self._source.lost

    def run(self, seconds: float) -> None:
        """Read events for some time, and then on until there is none, or they do not end."""
        until = time.monotonic() + seconds
        for batch in self._batches:
            self.table.apply(batch)
            now = time.monotonic()
            if now >= until and (not len(batch) or now >= until + _CATCH_UP_S):
                return

    def close(self) -> None:
        """Read what is left, detach, and give everything back. The table remains."""
        self._stopping = True
        try:
            for batch in self._batches:
                self.table.apply(batch)
        finally:
            self._source.trace.close()
