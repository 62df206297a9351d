"""What hosts publish, merged by time: a message waits a moment for those of others, and no longer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.errors import ExitCode, NstraceError
from tracer.fleet.envelope import content, opened
from tracer.fleet.names import Labels
from tracer.recording.frames import Damaged
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, of_kind
from tracer.stream.schema import NOTE_KINDS
from tracer.stream.selection import Selection
from tracer.typed.targets import Target, TargetKind, parse_target

_MAX_RUNS = 4  # of a host that are known


class HostTarget(NamedTuple):
    """HOST:TARGET as typed. host: a pattern; target: None: all of the host."""

    host: str
    target: Target | None


def host_target(text: str) -> HostTarget:
    """The parsed text: web1, 'web*', 'web*:api-*', web1:label:tier=db. Raises NstraceError (usage)."""
    host, colon, rest = text.partition(":")
    if not host:
        raise NstraceError(f"{text!r} names no host", "HOST or HOST:TARGET, for example 'web*:api-*'", ExitCode.USAGE)
    target = parse_target(rest) if colon else None
    if target is not None and target.kind is TargetKind.PID:
        hint = "use its PID namespace: HOST:pidns:INUM"
        raise NstraceError(f"{text!r}: a PID cannot be looked up on other hosts", hint, ExitCode.USAGE)
    return HostTarget(host, target)


class Shown(NamedTuple):
    """Rows of one host that follow each other, to be shown. label: what it is called for people. run: which run of its
    recorder they are of."""

    cluster: str
    host: str
    label: str
    run: str
    batch: Batch
    containers: Attribution
    wall_offset_ns: int

    @property
    def times_ns(self) -> NDArray[np.int64]:
        """When each row was (wall clock), shape (n,)."""
        return self.batch.rows["ts_ns"].astype(np.int64) + self.wall_offset_ns


class _Held(NamedTuple):
    due_at: float
    shown: Shown
    last_ns: int  # wall clock


class Merging:
    """Receives messages. targets: what is shown; (): everything. delay_s: how long a message waits at the most.
    cluster: whose hosts are shown; "*": those of all. labels: what hosts are called for people."""

    def __init__(self, targets: Sequence[HostTarget], delay_s: float, cluster: str = "*") -> None:
        self._targets, self._delay_s, self._cluster = targets, delay_s, cluster
        self._hosts: dict[tuple[str, str], _Host] = {}
        self._held: list[_Held] = []
        self.labels = Labels()

    def means(self, cluster: str, host: str) -> bool:
        """Whether anything of this host is shown."""
        is_mine = self._cluster in ("*", cluster)
        return is_mine and (not self._targets or any(fnmatchcase(host, one.host) for one in self._targets))

    def take(self, cluster: str, host: str, payload: bytes, now: float) -> Iterator[str]:
        """A message that has come now. Gives lines for people: what is wrong with it, what is missing before it, and
        that another machine has the same name."""
        if not self.means(cluster, host):
            return
        label = self.labels.of(cluster, host)
        try:
            found = opened(payload, label)
            if (found.origin.cluster, found.origin.host) != (cluster, host):
                raise Damaged("it is of another host than its subject says")
            facts, rows = content(found)
        except Damaged as error:
            yield f"{label}: a message cannot be read: {error}"
            return
        if (cluster, host) not in self._hosts:
            self._hosts[cluster, host] = _Host(self._targets_of(host))
        publisher = self._hosts[cluster, host]
        run, sequence = publisher.run(found.origin.run, found.origin.boot), found.origin.sequence
        is_new = run.sequence == 0
        if sequence <= run.sequence:
            return  # it was there already
        if not is_new and sequence > run.sequence + 1:
            count = sequence - run.sequence - 1
            yield f"{label}: {count} message{'s are' if count > 1 else ' is'} missing"
        run.sequence = sequence
        if why := publisher.namesake(run, is_new):
            yield f"{label}: {why}"
        offset_ns = found.recording.facts.wall_offset_ns
        for batch in run.shown(facts, rows):
            shown = Shown(cluster, host, label, found.origin.run, batch, run.attribution, offset_ns)
            self._held.append(_Held(now + self._delay_s, shown, int(batch.rows["ts_ns"].max()) + offset_ns))

    def _targets_of(self, host: str) -> tuple[Target, ...]:
        """What is shown of a host; (): all."""
        mine = [one.target for one in self._targets if fnmatchcase(host, one.host)]
        return () if None in mine else tuple(one for one in mine if one is not None)

    def due(self, now: float) -> list[Shown]:
        """What is to be shown now, in the order of `in_order`: what has waited long enough, and what was before it."""
        due = [held for held in self._held if held.due_at <= now]
        if not due:
            return []
        until_ns = max(held.last_ns for held in due)
        self._held, held = [one for one in self._held if one.due_at > now], self._held
        ready = [one.shown for one in due]
        for one in [held_one for held_one in held if held_one.due_at > now]:
            early = one.shown.times_ns <= until_ns
            if early.any():
                ready.append(one.shown._replace(batch=one.shown.batch.select(early)))
                self._held.remove(one)
                if not early.all():
                    self._held.append(one._replace(shown=one.shown._replace(batch=one.shown.batch.select(~early))))
        return ready

    def due_in_s(self, now: float) -> float:
        """How long nothing is to be shown, if no message comes."""
        return max(0.0, min((held.due_at for held in self._held), default=math.inf) - now)


class _Host:
    """What publishes under one name: run after run, for a machine has one at a time. targets: what is shown."""

    def __init__(self, targets: tuple[Target, ...]) -> None:
        self._targets = targets
        self._runs: dict[str, _Run] = {}
        self._latest: _Run | None = None
        self._is_said = False

    def run(self, name: str, boot: str) -> _Run:
        """One of its runs; of those that it had before, the latest are known."""
        if name not in self._runs:
            if len(self._runs) >= _MAX_RUNS:
                del self._runs[next(iter(self._runs))]
            self._runs[name] = _Run(boot, self._targets)
        return self._runs[name]

    def namesake(self, run: _Run, is_new: bool) -> str:
        """Said once: that a run goes on though another one has begun behind it, so that there are two publishers; "":
        it is not so. run: that has a message; is_new: its first one."""
        before, self._latest = self._latest, run
        if self._is_said or before is None or before is run or is_new:
            return ""
        self._is_said = True
        who = "two publishers of this machine" if before.boot == run.boot else "two machines"
        return f"{who} publish under this name: each needs one of its own, or events are taken for those of the other"


class _Run:
    """One run of a host. sequence: of its latest message; 0: there is none yet."""

    def __init__(self, boot: str, targets: tuple[Target, ...]) -> None:
        self.boot, self.sequence = boot, 0
        self.attribution = Attribution()
        self._selection = Selection(targets, self.attribution) if targets else None

    def shown(self, facts: Sequence[Batch], rows: Sequence[Batch]) -> Iterator[Batch]:
        """What of a message is shown."""
        for batch in facts:
            for _part in self.attribution.split_and_learn(batch):
                pass
        for batch in rows:
            for part in self.attribution.split_and_learn(batch):
                if self._selection is not None:
                    part = part.select(self._selection.mask(part) | of_kind(part.rows, *NOTE_KINDS))
                if len(part):
                    yield part


def in_order(shown: Sequence[Shown]) -> NDArray[np.intp]:
    """The order of time of all their rows, counted through: of those of the same time, that in which they stand."""
    return np.argsort(np.concatenate([one.times_ns for one in shown]), kind="stable")
