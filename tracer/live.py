"""The live source: the kernel's events with their containers, reduced to the targets. Combines the edges."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec
import numpy as np

from tracer.account import Account
from tracer.attribution import Attribution, reduce
from tracer.containers.cgroups import Cgroups
from tracer.errors import ExitCode, NstraceError
from tracer.events import EVENT, Batch, Flag, Kind, of_kind
from tracer.facts import CgroupFact, CgroupName
from tracer.host import procfs
from tracer.kernel.trace import Trace, now_ns
from tracer.kernel.wire import Decoded
from tracer.pidns import PidnsId
from tracer.repair import Echoes, Schedule, born, changed, exit_rows, identities, repair_row, vanished
from tracer.selection import Selection
from tracer.table import Table
from tracer.targets import Target, TargetKind

_NAMES_EVERY_S = 1.0
_PIECE_ROWS = 2048


class LiveSource:
    """Batches of a running trace, until `stopped` says so. Snapshot rows come first.

    told_until_ns: until when everything was told (boottime); 0 before the end.
    """

    def __init__(
        self, trace: Trace, targets: tuple[Target, ...], cgroups: Cgroups, early: Decoded, table: Table
    ) -> None:
        """early: what the trace has told before (the self-check's by-catch). table: whoever takes the batches keeps it
        up to date before it asks for the next one; after a gap it is compared with the kernel's list."""
        self.trace = trace
        self._early = early
        self.attribution, self.table = Attribution(), table
        self.wall_offset_ns = time.time_ns() - now_ns()
        self._cgroups = cgroups
        self._selection = Selection(targets, self.attribution)
        self._max_args_bytes = trace.options.max_args_bytes
        self._repairs, self._echoes = Schedule(), Echoes()
        self._names_due = time.monotonic() + _NAMES_EVERY_S
        self.told_until_ns = 0

    @property
    def lost(self) -> int:
        """Events that the ring refused, as far as found."""
        return self.trace.lost

    def batches(self, timeout_s: Callable[[], float | None]) -> Iterator[Batch]:
        """The events that the targets mean. timeout_s: how long the next wait may take, None: stop now. Yields an
        empty batch when a wait ends without an event."""
        for part in self._choose(self._first()):
            yield from map(self._with_commands, _pieces(part))
        while (wait := timeout_s()) is not None:
            yield from self._told(self.trace.poll(min(wait, self._repairs.due_in(time.monotonic()))))
            if self._repairs.due_in(time.monotonic()) == 0:
                yield from self._repair()
            yield from self._late_names()
        until_ns = now_ns()
        yield from self._told(self.trace.finish())
        if self.table.unsure:
            yield from self._repair()
        self.told_until_ns = until_ns

    def account(self) -> Account:
        """What the programs have counted against what came; ends the trace."""
        self.trace.finish()
        return self.trace.account()

    def _first(self) -> Batch:
        """The processes that are there. Probes were attached before the list was read, so a process may be in both:
        its fork tells more."""
        snapshot = self.trace.snapshot()
        early = Decoded.concat([self._early, self.trace.drain()])
        born = identities(early.batch.rows[early.batch.rows["kind"] == Kind.FORK])
        older = snapshot.batch.select(~np.isin(identities(snapshot.batch.rows), born))
        self._echoes.expect(older.rows, now_ns())
        ending = older.rows["flags"] & (Flag.ENDING | Flag.ENDED) == Flag.ENDING
        if ending.any() or _has_gap(early.batch):  # an exit may have been told before the probes were attached
            self._repairs.want(time.monotonic())
        self._bind(snapshot.batch)
        facts = self._facts([*snapshot.cgroups, *early.cgroups])
        return Batch.concat([facts, older, early.batch])

    def _bind(self, snapshot: Batch) -> None:
        """A target pidns:INUM means the namespace that has this number now, not a later one."""
        self._selection.targets = tuple(
            _bound(target, snapshot) if target.kind == TargetKind.PIDNS else target
            for target in self._selection.targets
        )

    def _told(self, decoded: Decoded) -> Iterator[Batch]:
        if _has_gap(decoded.batch):
            self._repairs.want(time.monotonic())
        batch = self._echoes.drop(decoded.batch, now_ns())
        return self._choose(Batch.concat([self._facts(decoded.cgroups), batch]))

    def _repair(self) -> Iterator[Batch]:
        """The three steps of `tracer.repair`, and what they have shown."""
        began_ns, began_s = now_ns(), time.monotonic()
        living = list(self.table.living())
        listed = self.trace.snapshot()
        self._repairs.done(began_s, time.monotonic())
        told = self.trace.drain()
        yield from self._told(Decoded(told.batch, [*listed.cgroups, *told.cgroups]))
        gone = vanished(living, listed.batch, self.table, procfs.has_process)
        new = born(listed.batch.select(self._selection.may_mean(listed.batch)), self.table, told.batch)
        found = Batch.concat([new, changed(listed.batch, self.table)])
        self._echoes.expect(found.rows, now_ns())
        yield from map(self._with_commands, self._choose(Batch.concat([exit_rows(gone, now_ns()), found])))
        if self.table.unsure:
            yield repair_row(began_ns, now_ns())

    def _choose(self, batch: Batch) -> Iterator[Batch]:
        """The rows that the targets mean, in parts as containers become known; one empty part where nothing came."""
        if not len(batch):
            yield batch
        for part in self.attribution.take(batch):
            mask = self._selection.mask(part)
            self.trace.maps.decide(self._selection.take_fresh())
            part.rows["flags"] &= ~np.uint8(Flag.UNDECIDED)  # told us alone
            yield reduce(part, mask)

    def _facts(self, names: list[CgroupName]) -> Batch:
        if not names:
            return Batch(np.empty(0, EVENT))
        return _fact_rows(self._cgroups.learn(names), now_ns())

    def _late_names(self) -> Iterator[Batch]:
        """Names that the engine did not tell in time, told now."""
        if time.monotonic() >= self._names_due and self._cgroups.nameless:
            self._names_due = time.monotonic() + _NAMES_EVERY_S
            if facts := self._cgroups.renew():
                yield from self._choose(_fact_rows(facts, now_ns()))

    def _with_commands(self, batch: Batch) -> Batch:
        """The rows of a list with what each process runs, from /proc."""
        rows, heap, at, most = batch.rows.copy(), [], 0, self._max_args_bytes
        inferred = of_kind(rows, Kind.FORK, Kind.EXEC) & (rows["flags"] & Flag.INFERRED != 0)
        asked = np.flatnonzero((rows["kind"] == Kind.SNAPSHOT) | inferred)
        processes = zip(rows["tgid"][asked].tolist(), rows["start_ns"][asked].tolist(), strict=True)
        commands = [procfs.command(tgid, start_ns, most + 1) for tgid, start_ns in processes]
        lengths = np.array([(len(exe), len(args)) for exe, args in commands], np.uint32).reshape(-1, 2)
        rows["flags"][asked[lengths[:, 1] > most]] |= np.uint8(Flag.ARGS_TRUNCATED)
        rows["exe_len"][asked] = lengths[:, 0]
        rows["args_len"][asked] = rows["args_total"][asked] = np.minimum(lengths[:, 1], most)
        deep_ends = (batch.starts[asked] + rows["deep_len"][asked]).tolist()
        for (exe, args), deep_end in zip(commands, deep_ends, strict=True):
            heap += [batch.heap[at:deep_end], exe, args[:most]]
            at = deep_end
        return Batch(rows, b"".join(heap) + batch.heap[at:])


def _pieces(batch: Batch) -> Iterator[Batch]:
    """The batch, which may hold a hundred thousand processes, a few at a time: what is made of each takes memory."""
    for start in range(0, max(1, len(batch)), _PIECE_ROWS):
        yield batch.part(start, min(len(batch), start + _PIECE_ROWS))


def _has_gap(batch: Batch) -> bool:
    return bool((batch.rows["kind"] == Kind.GAP).any())


def _bound(target: Target, snapshot: Batch) -> Target:
    inum = int(target.value)
    chains = snapshot.rows["chain"].reshape(-1)
    found = chains[chains["inum"] == inum]
    if not len(found):
        raise NstraceError(
            f"no process is in a PID namespace {inum}", "lsns -t pid lists those that there are", ExitCode.NO_TARGET
        )
    pidns = PidnsId(inum, int(found["gen"][0]))
    return Target(target.kind, target.value, target.text, pidns.gen)


def _fact_rows(facts: list[tuple[int, CgroupFact]], ts_ns: int) -> Batch:
    rows = np.zeros(len(facts), EVENT)
    payloads = [msgspec.json.encode(fact) for _cgroup_id, fact in facts]
    rows["kind"], rows["ts_ns"] = Kind.CGROUP, ts_ns
    rows["cgroup_id"] = [cgroup_id for cgroup_id, _fact in facts]
    rows["args_len"] = rows["args_total"] = [len(payload) for payload in payloads]
    return Batch(rows, b"".join(payloads))
