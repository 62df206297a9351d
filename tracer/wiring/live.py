"""The live source: the kernel's events with their containers, reduced to the targets. Combines the edges."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracer.containers.cgroups import Cgroups
from tracer.containers.resolve_targets import indistinct, refuted
from tracer.host.proc_operations import Proc
from tracer.host.unlisted import find_unlisted
from tracer.kernel.trace import Trace, last_ns, now_ns
from tracer.stream.account import Account
from tracer.stream.attribution import Attribution
from tracer.stream.batch import EVENT, Batch, of_kind
from tracer.stream.beginning import in_order
from tracer.stream.cgroup_moves import CgroupMoves
from tracer.stream.claims import Claims, bound
from tracer.stream.decoding import Decoded
from tracer.stream.exit_commands import ExitCommands
from tracer.stream.killers import with_names
from tracer.stream.life_hints import LifeHints
from tracer.stream.lives import Lives
from tracer.stream.metadata import CgroupFact, CgroupName, EngineEvent
from tracer.stream.needed_facts import NeededFacts, fact_rows
from tracer.stream.repair import Echoes, Schedule, born, changed, exit_rows, repair_row, vanished
from tracer.stream.schema import INTERNAL_FLAGS, Flag, Kind
from tracer.stream.selection import Selection
from tracer.stream.session_execs import SessionExecs
from tracer.stream.sessions import Sessions
from tracer.stream.table import Table
from tracer.stream.undecided import Undecided
from tracer.system.pidfd import has_process
from tracer.text.hints import shown
from tracer.typed.targets import Target, TargetKind
from tracer.wiring.naming import Background, Naming

_NAMES_EVERY_S = 1.0
_LATE_NS = 1_000_000_000
_LAST_NAMES_S = 1.0
_PIECE_ROWS = 2048
_OBSERVED = np.uint8(~Flag.INFERRED & 0xFF)
_SEEN_BY_READER = np.uint8(~INTERNAL_FLAGS & 0xFF)

Inits = Callable[[Collection[str]], Mapping[int, str]]
"""Host PID -> id: first processes, as an engine reports them, of all running containers except those with these ids."""


class LiveSource:
    """Batches of a running trace, in order of time: first the processes that exist already.

    reported_until_ns: until when everything was reported (boottime); 0 before the end. redact: what every batch goes
    through, before anyone else sees it. only_failed_commands: of exits, those alone that failed need their command.
    """

    def __init__(
        self,
        trace: Trace,
        proc: Proc,
        wall_offset_ns: int,
        targets: tuple[Target, ...],
        cgroups: Cgroups,
        early: Decoded,
        table: Table,
        inits: Inits = lambda _but: {},
        say: Callable[[str], None] = lambda _line: None,
        background: Background | None = None,
    ) -> None:
        """proc: what /proc reports. wall_offset_ns: wall clock minus boottime. early: what the trace has reported
        before, during the self-check. table: receives the batches that are yielded; after a gap it is compared with the
        kernel's list. say: writes a line for people. background: what `cgroups` asks, where its answers come later."""
        self.trace, self._proc = trace, proc
        self._early = early
        self.attribution, self.table = Attribution(), table
        self.wall_offset_ns = wall_offset_ns
        self._cgroups = cgroups
        self._selection = Selection(targets, self.attribution)
        self._needed = NeededFacts(self.attribution)
        self._moves = CgroupMoves(partial(_cgroup_before, table))
        self._lives = Lives(self.attribution, table, trace.began_ns)
        self._naming = Naming(background)
        means, state = self._selection.means_container, self._naming.state
        self._hints = LifeHints(self._lives, means, cgroups.described, wall_offset_ns, state)
        self._heard: list[EngineEvent] = []
        self._sessions = Sessions(self.attribution, table)
        self._inits, self._say = inits, say
        self._execs = SessionExecs(self._sessions, self._naming.exec, wall_offset_ns, self._redacted)
        self._late: Counter[str] = Counter()
        self._late_since_ns: dict[str, int] = {}
        self._held = Undecided(self._selection, self._note_late)
        self._max_args_bytes = trace.options.max_args_bytes
        self._repairs, self._echoes = Schedule(), Echoes()
        self._names_due = time.monotonic() + _NAMES_EVERY_S
        self._has_said_silent = False
        self.reported_until_ns = 0
        self.redact: Callable[[Batch], Batch] = lambda batch: batch
        self.only_failed_commands = False

    @property
    def lost(self) -> int:
        """How many events the ring refused, as far as found, and how many could not be decided about."""
        return self.trace.lost + self._held.lost

    def batches(self, timeout_s: Callable[[], float | None]) -> Iterator[Batch]:
        """The events that the targets mean; the table has received them when they are yielded. timeout_s: how long the
        next wait may take, None: stop now. Yields an empty batch when a wait ends without an event."""
        needed = map(self._needed.take, self._batches(timeout_s))
        for batch in map(self._sessions.take, map(self._redacted, needed)):
            for part in self.attribution.sessions.split_and_learn(batch):
                commands = ExitCommands(part, self.table, self.only_failed_commands)
                self.table.apply(part)
                commands.remember(self.table)
                yield from commands.pieces()

    def _redacted(self, batch: Batch) -> Batch:
        return self.redact(batch)  # which is set after the source is made

    def _batches(self, timeout_s: Callable[[], float | None]) -> Iterator[Batch]:
        yield from self._choose(self._first())
        while (wait := timeout_s()) is not None:
            due_s = min(wait, self._repairs.due_in(time.monotonic()), self._naming.due_in())
            due_s = min(due_s, self._execs.due_in_ns(now_ns()) / 1e9)
            decoded, news = self.trace.poll(due_s), self._naming.news()
            yield from self._events_of_all(self._naming.take(decoded))
            if self._repairs.due_in(time.monotonic()) == 0:
                yield from self._events_of_all(self._naming.release())
                yield from self._repair()
            yield from self._late_names(news)
            yield from self._hear()
        until_ns = now_ns()
        yield from self._events_of_all([*self._naming.release(), self.trace.finish()])
        if self.table.unsure:
            yield from self._repair()
        yield from self._renew()
        yield from self._last_names()
        yield from self._hear()
        yield from self._give_up()
        self.reported_until_ns = until_ns

    def account(self) -> Account:
        """What the programs have counted compared with what arrived; ends the trace."""
        self.trace.finish()
        return self.trace.account()

    def _first(self) -> Batch:
        """The processes that exist, and the events since the trace began."""
        snapshot = self.trace.snapshot()
        early = Decoded.concat([self._early, self.trace.drain()])
        hidden = find_unlisted(self._proc, snapshot.batch, early.batch, self.trace.began_ns)
        if hidden.unknown:
            pids = shown(list(map(str, hidden.unknown)))
            self._say(f"the kernel does not list these processes for eBPF, so they are not in the snapshot: {pids}")
        first = in_order(Batch.concat([snapshot.batch, hidden.batch]), early.batch, self.trace.began_ns)
        listed = first.rows[first.rows["kind"] == Kind.SNAPSHOT]
        self._lives.listed_ns = int(listed["ts_ns"].max()) if len(listed) else 0
        self._echoes.expect(listed, now_ns())
        ending = listed["flags"] & (Flag.ENDING | Flag.ENDED) == Flag.ENDING
        if ending.any() or _has_gap(early.batch):  # its exit event may have been before the trace began
            self._repairs.want(time.monotonic())
        self._bind(snapshot.batch)
        facts = self._cgroups.learn([*snapshot.cgroups, *early.cgroups])
        moved = self._moved(snapshot.batch, dict(facts))
        return Batch.concat([fact_rows(facts, self.trace.began_ns), moved, first])

    def _moved(self, snapshot: Batch, facts: Mapping[int, CgroupFact]) -> Batch:
        """PIDNS rows for containers whose processes were moved out of their cgroups. Raises NstraceError for one that a
        target means and that cannot be distinguished."""
        rows = snapshot.rows
        first = (rows["level"] > 0) & (rows["chain"]["nr"][:, 0] == 1)
        cgroups = set(rows["cgroup_id"][first].tolist())  # a process that came later says nothing of the first one
        ids = {fact.container.id for cgroup_id, fact in facts.items() if fact.container and cgroup_id in cgroups}
        moved = Claims(self._inits(ids), snapshot, facts, self._cgroups.moved)
        for container, tgid in moved.refuted:
            self._say(refuted(container.label, tgid))
        for container, tgid in moved.indistinct:
            meant = [target.kind for target in self._selection.targets if target.means((container,), ())]
            error = indistinct(container.label, tgid)
            if any(kind != TargetKind.ALL for kind in meant):
                raise error
            if meant:
                self._say(error.message)
        return moved.owners(self.trace.began_ns)

    def _bind(self, snapshot: Batch) -> None:
        """Bind a target pidns:INUM to the namespace that has this number now, not a later one."""
        self._selection.targets = tuple(
            bound(target, snapshot) if target.kind == TargetKind.PIDNS else target for target in self._selection.targets
        )

    def _events_of_all(self, read: list[Decoded]) -> Iterator[Batch]:
        if not read:
            yield Batch(np.empty(0, EVENT))
        for decoded in read:
            yield from self._events_of(decoded)

    def _events_of(self, decoded: Decoded) -> Iterator[Batch]:
        """What was read, reduced to the targets, with new facts ahead of it; a gap schedules a repair."""
        if _has_gap(decoded.batch):
            self._repairs.want(time.monotonic())
        batch = self._echoes.drop(decoded.batch, now_ns())
        facts_ns = int(batch.rows["ts_ns"][0]) if len(batch) else now_ns()
        return self._choose(Batch.concat([self._facts(decoded.cgroups, facts_ns), batch]))

    def _repair(self) -> Iterator[Batch]:
        """Take the three steps of `tracer.stream.repair`, and yield what they have shown."""
        began_ns, began_s = now_ns(), time.monotonic()
        living = self.table.living()
        listed = self.trace.snapshot()
        self._repairs.done(began_s, time.monotonic())
        found_ns = now_ns()
        reported = self.trace.drain()
        found_ns = max(found_ns, last_ns(reported.batch))  # between what is drained and what comes next
        yield from self._events_of(Decoded(reported.batch, [*listed.cgroups, *reported.cgroups]))
        ended = vanished(living, listed.batch, self.table, has_process)
        found = Batch.concat([exit_rows(ended), *self._unseen(listed.batch, reported.batch)])
        found.rows["ts_ns"] = found_ns  # neither what happened is known, nor when
        self._echoes.expect(found.rows[found.rows["kind"] != Kind.EXIT], now_ns())
        yield from self._choose(found)
        if self.table.unsure:
            yield repair_row(began_ns, found_ns)

    def _newly_meant(self, facts: list[tuple[int, CgroupFact]]) -> Iterator[int]:
        """Which of these cgroups, of containers that were renamed, no target meant by the name before."""
        for cgroup_id, fact in facts:
            container = fact.container
            if container and container.earlier:
                *earlier, name = container.earlier
                before = msgspec.structs.replace(container, name=name, earlier=earlier)
                if not self._selection.means_container(before):
                    yield cgroup_id

    def _newcomers(self, cgroup_ids: set[int]) -> Iterator[Batch]:
        """The processes in these cgroups that were not reported, since no target meant them before: as the kernel lists
        them now. Their events are delivered already."""
        listed = self.trace.snapshot()
        reported = self.trace.drain()
        found_ns = max(now_ns(), last_ns(reported.batch))
        yield from self._events_of(Decoded(reported.batch, [*listed.cgroups, *reported.cgroups]))
        there = listed.batch.select(np.isin(listed.batch.rows["cgroup_id"], list(cgroup_ids)))
        found = born(there, self.table, reported.batch, 0)
        found.rows["kind"], found.rows["flags"] = Kind.SNAPSHOT, found.rows["flags"] & _OBSERVED | np.uint8(Flag.MOVED)
        found.rows["ts_ns"] = found_ns
        self._echoes.expect(found.rows, now_ns())
        yield from self._choose(found)

    def _unseen(self, listed: Batch, reported: Batch) -> Iterator[Batch]:
        if self.table.lost_since_ns is not None:
            meant = listed.select(self._selection.may_mean(listed) & ~self._held.holds(listed))
            yield born(meant, self.table, reported, self.table.lost_since_ns)
        yield changed(listed, self.table)

    def _choose(self, batch: Batch) -> Iterator[Batch]:
        """The rows that the targets mean, in parts as containers become known; one empty part where nothing came."""
        if not len(batch):
            yield batch
        for part in self.attribution.split_and_learn(batch):
            part = with_names(part, self.attribution)
            mask = self._moves.apply(part, self._selection.mask(part))
            self.trace.maps.decide(self._selection.take_fresh())
            part.rows["flags"] &= _SEEN_BY_READER
            waiting = self._selection.waiting(part) & ~mask
            for decided in self._held.take(part, mask, waiting, self._completed):
                yield from map(self._lives.take, self._with_commands(decided))

    def _hear(self) -> Iterator[Batch]:
        """What engines say of containers: behind what their processes did before, which may be held back for a moment
        to be named."""
        heard = self._naming.events()
        self._execs.hear(heard)
        yield from self._execs.due(now_ns())
        self._heard += heard
        if self._naming.holds and self._heard and not self._is_old(self._heard[0].time_ns - self.wall_offset_ns):
            return
        heard, self._heard = self._heard, []
        names = {event.container_id: event.name for event in heard if event.action == "rename" and event.name}
        renamed = [self._cgroups.rename(container_id, name) for container_id, name in names.items()]
        if facts := [fact for found in renamed for fact in found]:
            yield from self._choose(fact_rows(facts, now_ns()))
        if len(rows := self._hints.take(heard, now_ns(), self._held.oldest_ns or None)):
            yield rows
        if newly := set(self._newly_meant(facts)):
            yield from self._newcomers(newly)

    def _facts(self, names: list[CgroupName], ts_ns: int) -> Batch:
        if not names:
            return Batch(np.empty(0, EVENT))
        return fact_rows(self._cgroups.learn(names), ts_ns)

    def _late_names(self, news: set[str]) -> Iterator[Batch]:
        """Names that the engine did not report in time, reported now. news: the ids about which it has answered."""
        is_due = time.monotonic() >= self._names_due
        if (news or is_due) and self._cgroups.is_open:
            yield from self._renew(None if is_due else news)
        if is_due:
            for line in self._naming.lines():
                self._say(line)
            self._names_due = time.monotonic() + _NAMES_EVERY_S
            if self._is_old(self._held.oldest_ns) and not self._has_said_silent:
                self._has_said_silent = True
                self._say(
                    "the container engine does not answer: events of unnamed containers are held back until it does"
                )

    def _last_names(self) -> Iterator[Batch]:
        """Names that are on their way when nothing is read any more: now there is time to wait for them."""
        until_s = time.monotonic() + _LAST_NAMES_S
        while self._held.rows and (left_s := until_s - time.monotonic()) > 0:
            if (news := self._naming.wait(left_s)) is None:
                return
            yield from self._renew(news)

    def _is_old(self, since_ns: int) -> bool:
        """Whether people should know what has waited since then."""
        return 0 < since_ns < now_ns() - _LATE_NS

    def _renew(self, about: set[str] | None = None) -> Iterator[Batch]:
        lost = self._held.lost
        if facts := self._cgroups.renew(about):
            yield from self._choose(fact_rows(facts, now_ns()))
        if self._held.lost > lost:
            self._repairs.want(time.monotonic())
        for label, events in self._late.items():
            if self._is_old(self._late_since_ns[label]):
                self._has_said_silent = False
                self._say(f"{label}: {events} events are shown late: the container engine had not named it before")
        self._late.clear()
        self._late_since_ns.clear()

    def _note_late(self, batch: Batch) -> None:
        for at, pair in enumerate(batch.pairs.first):
            container = self.attribution.of_row(batch, pair)
            label, times = container.label if container else "the host", batch.rows["ts_ns"][batch.pairs.of_row == at]
            self._late[label] += len(times)
            self._late_since_ns[label] = min(self._late_since_ns.get(label, int(times.min())), int(times.min()))

    def _give_up(self) -> Iterator[Batch]:
        before = self._held.lost
        yield from self._held.give_up()
        if missing := self._held.lost - before:
            self._say(f"{missing} events are not shown: the container engine did not say whether they match a TARGET")

    def _completed(self, batch: Batch) -> Batch:
        return Batch.concat(self._with_commands(batch))

    def _with_commands(self, batch: Batch) -> Iterator[Batch]:
        """The batch, in pieces; rows that come from a list have what each process runs, from /proc."""
        rows = batch.rows
        is_listed = of_kind(rows, Kind.SNAPSHOT) | of_kind(rows, Kind.FORK, Kind.EXEC) & _is_inferred(rows)
        if not is_listed.any():
            yield batch
            return
        is_listed &= rows["comm"] != b""  # what ran before an exec is not known
        is_listed &= rows["exe_len"] + rows["args_len"] == 0  # else it was held, and has its command
        for start in range(0, len(batch), _PIECE_ROWS):
            stop = min(len(batch), start + _PIECE_ROWS)  # each needs memory for its commands
            yield self._with_commands_of(batch.part(start, stop), np.flatnonzero(is_listed[start:stop]))

    def _with_commands_of(self, batch: Batch, asked: NDArray[np.intp]) -> Batch:
        rows, heap, at, most = batch.rows.copy(), [], 0, self._max_args_bytes
        processes = zip(rows["tgid"][asked].tolist(), rows["start_ns"][asked].tolist(), strict=True)
        commands = self._proc.commands(list(processes), most + 1)
        rows["seq"][asked] = now_ns()
        lengths = np.array([(len(exe), len(args)) for exe, args in commands], np.uint32).reshape(-1, 2)
        rows["flags"][asked[lengths[:, 1] > most]] |= np.uint8(Flag.ARGS_TRUNCATED)
        rows["exe_len"][asked] = lengths[:, 0]
        rows["args_len"][asked] = rows["args_total"][asked] = np.minimum(lengths[:, 1], most)
        deep_ends = (batch.starts[asked] + rows["deep_len"][asked]).tolist()
        for (exe, args), deep_end in zip(commands, deep_ends, strict=True):
            heap += [batch.heap[at:deep_end], exe, args[:most]]
            at = deep_end
        return Batch(rows, b"".join(heap) + batch.heap[at:])


def _cgroup_before(table: Table, part: Batch, at: int) -> int:
    return table.cgroup_of(int(part.rows["tgid"][at]), int(part.rows["start_ns"][at]))


def _is_inferred(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    inferred: NDArray[np.bool_] = rows["flags"] & Flag.INFERRED != 0
    return inferred


def _has_gap(batch: Batch) -> bool:
    return bool((batch.rows["kind"] == Kind.GAP).any())
