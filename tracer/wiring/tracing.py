"""How a trace is begun and closed, in one place: loader child, self-check, live source. Combines the edges."""

from __future__ import annotations

from contextlib import ExitStack
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from tracer.kernel.loader_client import Loading, check_host

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from tracer.containers.answers import Describe
    from tracer.kernel.options import LoadOptions
    from tracer.kernel.trace import Trace
    from tracer.system.broker import Operations, Privileged
    from tracer.typed.targets import Target
    from tracer.wiring.first_batch import Inits
    from tracer.wiring.live import LiveSource
    from tracer.wiring.naming import Background

_USED = (
    *("tracer.kernel.selfcheck", "tracer.wiring.live", "tracer.wiring.session", "tracer.views.sheet"),
    *("tracer.containers.cgroups", "tracer.stream.table", "tracer.text.hints", "msgspec.msgpack", "numpy.ma", "heapq"),
)


class Tracing:
    """A trace that is being opened. As a context it leaves neither a child nor a descriptor behind.

    In this order: make it, and the programs are compiled and loaded while the caller imports and looks up what it
    needs; `load`; `confine`, which gives privileges up, unless the process is not ours to change; `check`; `source`.
    trace: valid from `load` on. wall_offset_ns: as in `tracer.stream.source.Source`.
    """

    trace: Trace

    def __init__(self, options: LoadOptions) -> None:
        """Raises NstraceError where this host cannot be traced."""
        from tracer.system.clock_offset import wall_offset_ns

        check_host()
        self.wall_offset_ns = wall_offset_ns()
        self._options = options
        self._loading = Loading(options)
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, uses: Sequence[str] = ()) -> None:
        """Wait for the programs. Events are collected from now on. uses: modules that the caller needs; they are
        imported meanwhile, for later no file may be within reach. Raises NstraceError."""
        from tracer.host.proc_operations import Proc
        from tracer.kernel.trace import Trace
        from tracer.system import imports
        from tracer.system.broker import Local

        imports.load(*_USED, *uses)
        self.trace = Trace(self._loading.wait(), self._options)
        self._opened.callback(self.trace.close)
        self._proc = Proc(Local(self._proc_operations()))
        self._loading.abandon()

    def _proc_operations(self) -> Operations:
        from tracer.host.proc_operations import proc_operations

        return proc_operations(self._options.max_args_bytes + 1)

    def confine(
        self,
        more: Operations = MappingProxyType({}),
        keep: Collection[int] = (),
        inlets: Mapping[int, Callable[[], None]] = MappingProxyType({}),
        begin_threads: Callable[[], None] = lambda: None,
        may_look: bool = False,
    ) -> Privileged:
        """Give privileges up: from now on a child performs what needs them, as long as this is open. No thread of ours
        may run yet. more: operations beside those of the trace; keep and inlets as for `Broker`, begin_threads as for
        `tracer.system.privileges.drop`. may_look: give up less, as for `drop_but_look` there. Raises NstraceError."""
        from tracer.system import cgroup_hierarchy
        from tracer.system.broker import Broker
        from tracer.system.privileges import drop, drop_but_look

        cgroup_hierarchy.directory()  # remembers what it reads in /proc
        operations, descriptors = self.trace.operations()
        broker = Broker({**operations, **self._proc_operations(), **more}, {*descriptors, *keep}, inlets)
        self._opened.callback(broker.close)
        self.trace.hand_over(broker)
        self._proc.privileged = broker
        if may_look:
            drop_but_look()
        else:
            drop(begin_threads=begin_threads)
        return broker

    def runs_under(self, tgid: int, uid: int) -> bool:
        """Whether a process is this user's (`tracer.system.process_owner`), also where privileges are given up."""
        return self._proc.runs_under(tgid, uid)

    def check(self) -> None:
        """Check what the programs report. Raises NstraceError."""
        from tracer.kernel.selfcheck import check

        self._early = check(self.trace)

    def source(
        self,
        targets: tuple[Target, ...],
        describe: Describe,
        max_processes: int,
        inits: Inits = lambda _but: {},
        say: Callable[[str], None] = lambda _line: None,
        background: Background | None = None,
        init_of: Callable[[str], int | None] = lambda _id: None,
    ) -> LiveSource:
        """The events of these targets, with a table of their processes. The parameters are those of `LiveSource`,
        `Cgroups` (describe, and init_of as its first_of) and `Table` (max_processes)."""
        from tracer.containers.cgroups import Cgroups
        from tracer.stream.first_processes import FirstProcesses
        from tracer.stream.table import Table
        from tracer.system.pidfd import has_process
        from tracer.wiring.live import LiveSource

        firsts = FirstProcesses(has_process)
        table, cgroups = Table(max_processes), Cgroups(describe, firsts=firsts.living)
        cgroups.first_of = init_of
        parts = (self.trace, self._proc, self.wall_offset_ns, targets, cgroups, firsts, self._early, table)
        return LiveSource(*parts, inits, say, background)

    def close(self) -> None:
        """Detach, and close everything. What was read remains."""
        self._loading.abandon()
        self._opened.close()
