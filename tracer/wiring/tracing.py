"""How a trace is begun and closed, in one place: loader child, self-check, live source. Combines the edges."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from tracer.kernel.loader_client import Loading, check_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracer.containers.cgroups import Describe
    from tracer.kernel.options import LoadOptions
    from tracer.kernel.trace import Trace
    from tracer.typed.targets import Target
    from tracer.wiring.live import Inits, LiveSource
    from tracer.wiring.naming import Background


class Tracing:
    """A trace that is being opened. As a context it leaves neither a loader child nor a descriptor behind.

    In this order: make it, and the programs are compiled and loaded while the caller imports and looks up what it
    needs; `begin`; `source`. trace: valid from `begin` on.
    """

    trace: Trace

    def __init__(self, options: LoadOptions) -> None:
        """Raises NstraceError where this host cannot be traced."""
        check_host()
        self._options = options
        self._loading = Loading(options)
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self) -> None:
        """Wait for the programs and check what they report. Raises NstraceError.

        Events are collected from now on. No thread of ours may run yet: the self-check forks, and an import or a lock
        that another thread holds then stays held in the child for ever.
        """
        from tracer.kernel.selfcheck import checked_trace
        from tracer.wiring import live  # noqa: F401 - `source` needs it; costs nothing while the programs are loaded

        self.trace, self._early = checked_trace(self._loading.wait(), self._options)
        self._opened.callback(self.trace.close)
        self._loading.abandon()

    def source(
        self,
        targets: tuple[Target, ...],
        describe: Describe,
        max_processes: int,
        inits: Inits = lambda _but: {},
        say: Callable[[str], None] = lambda _line: None,
        background: Background | None = None,
    ) -> LiveSource:
        """The events of these targets, with a table of their processes. The parameters are those of `LiveSource`,
        `Cgroups` (describe) and `Table` (max_processes)."""
        from tracer.containers.cgroups import Cgroups
        from tracer.stream.table import Table
        from tracer.wiring.live import LiveSource

        table, cgroups = Table(max_processes), Cgroups(describe)
        return LiveSource(self.trace, targets, cgroups, self._early, table, inits, say, background)

    def close(self) -> None:
        """Detach, and close everything. What was read remains."""
        self._loading.abandon()
        self._opened.close()
