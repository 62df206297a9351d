"""The live source: the kernel's events with their containers, reduced to the targets. Combines the edges.

What comes goes one way: the first batch, or what was read of the ring (`comparing`), or what an engine has said
(`hearing`, `late_names`), then what the targets mean of it (`choosing`), then the facts that are needed ahead of it and
the sessions that it belongs to, then the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator

from tracer.containers.cgroups import Cgroups
from tracer.host.proc_operations import Proc
from tracer.kernel.trace import Trace, now_ns
from tracer.stream.account import Account
from tracer.stream.attribution import MAX_FACTS, Attribution
from tracer.stream.batch import Batch
from tracer.stream.decoding import Decoded
from tracer.stream.exit_commands import ExitCommands
from tracer.stream.first_processes import FirstProcesses
from tracer.stream.life_hints import LifeHints
from tracer.stream.lives import Lives
from tracer.stream.needed_facts import NeededFacts
from tracer.stream.selection import Selection
from tracer.stream.session_execs import SessionExecs
from tracer.stream.sessions import Sessions
from tracer.stream.table import Table
from tracer.typed.targets import Target
from tracer.wiring.choosing import Choosing
from tracer.wiring.comparing import Comparing, listed_rows
from tracer.wiring.entering import Entering
from tracer.wiring.first_batch import FirstBatch, Inits
from tracer.wiring.hearing import Hearing
from tracer.wiring.late_events import LateEvents
from tracer.wiring.late_names import LateNames
from tracer.wiring.listed_commands import ListedCommands
from tracer.wiring.naming import Background, Naming

_KEEP_AFTER = MAX_FACTS // 8  # namespaces that have begun
_LOOK_NS = 10_000_000  # so often at the most it is looked whether the end of a session can be said


class LiveSource:
    """Batches of a running trace, in order of time: first the processes that exist already.

    reported_until_ns: until when everything was reported (boottime); 0 before the end. redact: what every batch goes
    through, before anyone else sees it. only_failed_commands: of exits, those alone that failed need their command.
    on_removed: called with the ids of cgroups that were removed, when nothing more will be said of them.
    """

    def __init__(
        self,
        trace: Trace,
        proc: Proc,
        wall_offset_ns: int,
        targets: tuple[Target, ...],
        cgroups: Cgroups,
        firsts: FirstProcesses,
        early: Decoded,
        table: Table,
        inits: Inits = lambda _but: {},
        say: Callable[[str], None] = lambda _line: None,
        background: Background | None = None,
    ) -> None:
        """proc: what /proc reports. wall_offset_ns: wall clock minus boottime. firsts: what `cgroups` asks. early: what
        the trace has reported before, during the self-check. table: receives the batches that are yielded; after a gap
        it is compared with the kernel's list. say: writes a line for people. background: what `cgroups` asks, where
        its answers come later."""
        self.trace, self.table, self.wall_offset_ns = trace, table, wall_offset_ns
        self.attribution, self._early = Attribution(), early
        self._needed = NeededFacts(self.attribution)
        self._sessions = Sessions(self.attribution, table)
        self._lives = Lives(self.attribution, table, trace.began_ns)
        self._naming, late = Naming(background), LateEvents(self.attribution, say)
        selection = Selection(targets, self.attribution)
        self._first_batch = FirstBatch(trace, proc, cgroups, firsts, selection, inits, say)
        commands = ListedCommands(proc, trace.options.max_args_bytes)
        choosing = Choosing(trace, selection, table, self._lives, commands, late.note)
        self._held, self._entering = choosing.held, Entering()
        self._selection, self._ended, self._kept_at = selection, choosing.ended, 0
        self._cgroups, self._removed = cgroups, choosing.removed
        self._comparing = Comparing(trace, table, cgroups, firsts, selection, choosing)
        self._late_names = LateNames(self._naming, cgroups, choosing, self._comparing, late, say)
        means, state = selection.means_container, self._naming.state
        hints = LifeHints(self._lives, means, cgroups.described, wall_offset_ns, state, cgroups.to_come)
        self._execs = SessionExecs(self._sessions, self._naming.exec, wall_offset_ns, self._redacted)
        parts = (self._naming, cgroups, selection, choosing, self._comparing, hints, self._execs)
        self._hearing = Hearing(*parts, wall_offset_ns)
        self.reported_until_ns = self._taken_ns = 0
        self.redact: Callable[[Batch], Batch] = lambda batch: batch
        self.only_failed_commands = False
        self.on_removed: Callable[[Collection[int]], None] = lambda _ids: None

    @property
    def lost(self) -> int:
        """How many events the ring refused, as far as found, and how many could not be decided about."""
        return self.trace.lost + self._held.lost

    @property
    def settled_ns(self) -> int:
        """Until when everything was yielded and taken (boottime), as of the last empty batch; 0: something is held
        back for a moment, or not repaired yet."""
        if math.isfinite(min(self._comparing.due_in(), self._entering.due_in())) or self._naming.holds:
            return 0
        undecided_ns = self._held.oldest_ns  # which may be held for seconds, until an engine has answered
        return min(self._taken_ns, undecided_ns - 1) if undecided_ns else self._taken_ns

    def batches(self, timeout_s: Callable[[], float | None]) -> Iterator[Batch]:
        """The events that the targets mean; the table has received them when they are yielded. timeout_s: how long the
        next wait may take, None: stop now. Yields an empty batch behind all that came of a wait."""
        needed = map(self._needed.take, self._batches(timeout_s))
        for batch in map(self._sessions.take, map(self._redacted, needed)):
            for part in self.attribution.sessions.split_and_learn(batch):
                commands = ExitCommands(part, self.table, self.only_failed_commands)
                self.table.apply(part)
                commands.remember(self.table)
                yield from commands.pieces()

    def _forget(self) -> None:
        """What is known of namespaces that are over; and see to it that those which live are not forgotten for them."""
        for ended in self._ended.due(self.settled_ns, self.table.is_alive):
            self.attribution.forget(ended.pidns)
            self._needed.forget(ended.pidns)
            self._selection.forget(ended.pidns, ended.cgroup_id)
        if self._removed.may_be_due(self.settled_ns) and not self.table.unsure:
            self._forget_cgroups()
        if self.attribution.begun - self._kept_at > _KEEP_AFTER:
            self._kept_at = self.attribution.begun
            self.attribution.keep(self.table.spaces())

    def _forget_cgroups(self) -> None:
        """What is known of cgroups that are removed, and of their containers."""
        attribution, living = self.attribution, {process.cgroup_id for process in self.table.living()}
        in_use = living | self._cgroups.with_those_above(attribution.cgroups_of_spaces())
        over = self._removed.due(self.settled_ns, in_use)
        self._naming.forget(self._cgroups.forget(over))
        self._needed.forget_cgroups(over)
        self._selection.forget_cgroups(over)
        for container in attribution.forget_cgroups(over):
            self._sessions.forget(container)
        self.on_removed(over)

    @property
    def _passed_on_ns(self) -> int:
        """Until when all that was read has been passed on (boottime); 0: something is held back for a moment."""
        return 0 if self._naming.holds or math.isfinite(self._entering.due_in()) else self.trace.read_ns

    def _redacted(self, batch: Batch) -> Batch:
        return self.redact(batch)  # which is set after the source is made

    def _batches(self, timeout_s: Callable[[], float | None]) -> Iterator[Batch]:
        comparing, naming, entering = self._comparing, self._naming, self._entering
        yield from self._first()
        while (wait := timeout_s()) is not None:
            said_ns = min(self._execs.due_in_ns(now_ns()), max(_LOOK_NS, self._sessions.due_in_ns(now_ns())))
            due_s = min(wait, comparing.due_in(), naming.due_in(), said_ns / 1e9)
            decoded, news = self.trace.poll(min(due_s, entering.due_in())), naming.news()
            entered = [part for known in entering.take(decoded) for part in naming.take(known)]
            yield from comparing.events_of_all(entered)
            if comparing.due_in() == 0:
                yield from comparing.events_of_all([*naming.release(), *entering.release()])
                yield from comparing.repair()
            yield from self._late_names.take(news)
            yield from self._hearing.take()
            yield from self._sessions.due(self._passed_on_ns)
            self._forget()
            self._taken_ns = self.trace.read_ns  # a batch may have been yielded in parts: of all the last is taken
            yield Batch.concat([])
        until_ns = now_ns()
        rest = [*naming.release(), *entering.take(self.trace.finish()), *entering.release()]
        yield from comparing.events_of_all(rest)
        if self.table.unsure:
            yield from comparing.repair()
        yield from self._late_names.renew()
        yield from self._late_names.last()
        yield from self._hearing.take()
        yield from self._late_names.give_up()
        yield from self._sessions.due(math.inf)
        self.reported_until_ns = until_ns

    def _first(self) -> Iterator[Batch]:
        first = self._first_batch.read(self._early)
        self._removed.note(self._first_batch.removed, now_ns())
        listed = listed_rows(first)
        self._lives.listed_ns = int(listed["ts_ns"].max()) if len(listed) else 0
        yield from self._comparing.first(first)

    def account(self) -> Account:
        """What the programs have counted compared with what arrived; ends the trace."""
        self.trace.finish()
        return self.trace.account()
