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
from tracer.recording.frames import Damaged
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, of_kind
from tracer.stream.schema import NOTE_KINDS
from tracer.stream.selection import Selection
from tracer.typed.targets import Target, TargetKind, parse_target


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
    """Rows of one host that follow each other, to be shown. run: which run of its recorder they are of."""

    host: str
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
    """Receives messages. targets: what is shown; (): everything. delay_s: how long a message waits at the most."""

    def __init__(self, targets: Sequence[HostTarget], delay_s: float) -> None:
        self._targets, self._delay_s = targets, delay_s
        self._hosts: dict[str, _Host] = {}
        self._held: list[_Held] = []

    def means(self, host: str) -> bool:
        """Whether anything of this host is shown."""
        return not self._targets or any(fnmatchcase(host, one.host) for one in self._targets)

    def take(self, cluster: str, host: str, payload: bytes, now: float) -> Iterator[str]:
        """A message that has come now. Gives lines for people: what is wrong with it, what is missing before it."""
        if not self.means(host):
            return
        try:
            found = opened(payload, host)
            if (found.origin.cluster, found.origin.host) != (cluster, host):
                raise Damaged("it is of another host than its subject says")
            facts, rows = content(found)
        except Damaged as error:
            yield f"{host}: a message cannot be read: {error}"
            return
        run, sequence = found.origin.run, found.origin.sequence
        before = self._hosts.get(host)
        if before is None or before.run != run:
            mine = [one.target for one in self._targets if fnmatchcase(host, one.host)]
            is_all = not mine or None in mine
            before = _Host(run, () if is_all else tuple(one for one in mine if one is not None))
            self._hosts[host] = before
        elif sequence <= before.sequence:
            return  # it was there already
        elif sequence > before.sequence + 1:
            count = sequence - before.sequence - 1
            yield f"{host}: {count} message{'s are' if count > 1 else ' is'} missing"
        before.sequence = sequence
        offset_ns = found.recording.facts.wall_offset_ns
        for batch in before.shown(facts, rows):
            shown = Shown(host, run, batch, before.attribution, offset_ns)
            self._held.append(_Held(now + self._delay_s, shown, int(batch.rows["ts_ns"].max()) + offset_ns))

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
    """One run of a host. sequence: of its latest message."""

    def __init__(self, run: str, targets: tuple[Target, ...]) -> None:
        self.run, self.sequence = run, 0
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
