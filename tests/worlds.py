"""Small worlds: processes of a host and of containers that come and go, with few numbers that are soon given away
again, containers that start again, and events that are lost. What happened is known, and so is what was recorded."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from builders import PIDNS, SECOND_NS, WEB, Row, batch, cgroup, exits, fork, gap, repair, row

from tracer.stream.batch import Batch
from tracer.stream.metadata import Container
from tracer.stream.schema import Flag, Kind

DB = Container("b" * 64, "docker", "db")
STEP_NS = 250_000_000
_MAX_HOST, _MAX_INSIDE = 14, 7


@dataclass
class Being:
    """A process. inside: its numbers, outermost first, as (inode number, number, generation)."""

    tgid: int
    inside: list[tuple[int, int, int]]
    start_ns: int
    cgroup_id: int
    parent: Being | None
    end_ns: int | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """What every row of it has."""
        parent = self.parent
        named = {"parent_tgid": parent.tgid, "parent_start_ns": parent.start_ns} if parent else {}
        return {"start_ns": self.start_ns, "cgroup_id": self.cgroup_id, **named}


@dataclass
class World:
    """What happens, at random; beings: all who ever lived; batches: what was recorded."""

    seed: int
    losses: bool = True
    beings: list[Being] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random, self.now_ns, self._gen = random.Random(self.seed), SECOND_NS, 0
        self._rows: list[Row] = [cgroup(7, WEB), cgroup(8, DB)]
        self._lost: tuple[int, int] | None = None  # since when, how many
        self._begin(None, [], 0, snapshot=True)
        for _turn in range(self._random.randrange(20, 120)):
            self._turn()
        self._flush()

    @property
    def living(self) -> list[Being]:
        """Who lives now."""
        return [being for being in self.beings if being.end_ns is None]

    def _turn(self) -> None:
        self.now_ns += self._random.randrange(1, STEP_NS)
        happens = self._random.choices(
            (self._fork, self._exec, self._end, self._start, self._flush, self._lose, self._repair),
            (6, 3, 5, 1, 2, self.losses, self.losses),
        )
        happens[0]()

    def _tell(self, told: Row) -> None:
        """Report a row, unless events are just being lost."""
        if self._lost:
            self._lost = self._lost[0], self._lost[1] + 1
        else:
            self._rows.append(told)

    def _free(self, space: tuple[int, int] | None) -> int | None:
        """A number that nobody has there; None: there is none."""
        if space is None:
            used, most = {being.tgid for being in self.living}, _MAX_HOST
        else:
            used, most = {nr for being in self.living for i, nr, g in being.inside if (i, g) == space}, _MAX_INSIDE
        free = [nr for nr in range(2, most) if nr not in used]
        return self._random.choice(free) if free else None

    def _begin(
        self, parent: Being | None, inside: list[tuple[int, int, int]], cgroup_id: int, snapshot: bool = False
    ) -> None:
        tgid = self._free(None)
        if tgid is None:
            return
        being = Being(tgid, inside, self.now_ns, cgroup_id, parent)
        self.beings.append(being)
        if snapshot:
            self._tell(row(Kind.SNAPSHOT, tgid, inside, ts_ns=self.now_ns, **being.fields))
        else:
            self._tell(fork(tgid, inside, ts_ns=self.now_ns, **being.fields))

    def _fork(self) -> None:
        if not self.living:
            return self._begin(None, [], 0)
        parent, inside = self._random.choice(self.living), []
        for inum, _nr, gen in parent.inside:
            number = self._free((inum, gen))
            if number is None:
                return None
            inside.append((inum, number, gen))
        return self._begin(parent, inside, parent.cgroup_id)

    def _start(self) -> None:
        """A container starts: its namespace may have the inode number of one that is gone."""
        cgroup_id = self._random.choice((7, 8))
        taken = {inum for being in self.living for inum, _nr, _gen in being.inside}
        if any(being.cgroup_id == cgroup_id for being in self.living):
            return
        inum = self._random.choice([one for one in range(PIDNS, PIDNS + 3) if one not in taken])
        self._gen += 1
        self._begin(None, [(inum, 1, self._gen)], cgroup_id)

    def _exec(self) -> None:
        if self.living:
            being = self._random.choice(self.living)
            args = [b"job", b"%d" % self._random.randrange(100)]
            self._tell(row(Kind.EXEC, being.tgid, being.inside, args=args, comm=b"job", exe=b"/bin/job",
                           ts_ns=self.now_ns, **being.fields))  # fmt: skip

    def _end(self) -> None:
        """A process ends; with the first one of a namespace, all that are in it."""
        if not self.living:
            return
        being = self._random.choice(self.living)
        first = {(inum, gen) for inum, nr, gen in being.inside if nr == 1}
        dying = [one for one in self.living if first & {(inum, gen) for inum, _nr, gen in one.inside}]
        for one in [*[other for other in dying if other is not being], being]:
            one.end_ns = self.now_ns
            self._tell(exits(one.tgid, one.inside, ts_ns=self.now_ns, status=self._random.choice((0, 256, 9)),
                             comm=b"job", **one.fields))  # fmt: skip
            self.now_ns += 1

    def _lose(self) -> None:
        if self._lost is None:
            self._lost = self.now_ns, 0
            return
        since_ns, count = self._lost
        self._lost = None
        if count:
            self._rows.append(gap(count, since_ns, self.now_ns))

    def _repair(self) -> None:
        """The list of processes is read: who is in it and was not told of is told of now."""
        if self._lost is not None:
            self._lose()
        listed_ns = self.now_ns
        self.now_ns += 1000
        for being in self.living:
            self._rows.append(row(Kind.FORK, being.tgid, being.inside, flags=Flag.INFERRED, ts_ns=listed_ns,
                                  exe=b"/bin/job", args=[b"job"], comm=b"job", **being.fields))  # fmt: skip
        for being in self.beings:
            if being.end_ns is not None and self._random.random() < 0.5:
                self._rows.append(exits(being.tgid, being.inside, flags=Flag.INFERRED, ts_ns=self.now_ns,
                                        **being.fields))  # fmt: skip
        self._rows.append(repair(listed_ns))

    def _flush(self) -> None:
        if self._rows:
            self.batches.append(batch(*self._rows))
            self._rows = []
