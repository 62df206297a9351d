"""Who had which number when: against a plain loop over the rows, and against what really happened."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
from builders import PIDNS, Row, batch, exits, fork, gap, repair, row
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.past.gaps import NEVER_NS, Hole
from tracer.past.history import History
from tracer.past.reports import Fate
from tracer.stream.batch import Batch
from tracer.stream.pidns import INITIAL_PIDNS, PidnsId, ProcId
from tracer.stream.schema import Flag, Kind

WEB, DB = PidnsId(PIDNS, 1), PidnsId(PIDNS, 2)  # one inode number, two namespaces
BEGIN, END = 10, 100
Where = tuple[int, PidnsId, int]  # start, namespace, number


def history(*rows: Row, begin: int = BEGIN, end: int = END) -> History:
    return History(batch(*rows), begin, end)


def execs(tgid: int, inside: Sequence[tuple[int, ...]], **fields: Any) -> Row:
    return row(Kind.EXEC, tgid, inside, **fields)


def there(tgid: int, inside: Sequence[tuple[int, ...]], **fields: Any) -> Row:
    return row(Kind.SNAPSHOT, tgid, inside, ts_ns=BEGIN, **fields)


# the reference: the rules in plain words


def reference(rows: Batch, begin: int, end: int, pidns: PidnsId, nr: int, moment: int) -> tuple[int | None, bool]:
    """The host PID of who has the number, None for nobody, and whether that is certain."""
    processes: dict[tuple[int, int], dict[str, int]] = {}
    numbers: dict[tuple[int, int], set[tuple[int, int, int]]] = {}
    for r in rows.rows:
        if r["kind"] in (Kind.GAP, Kind.REPAIR):
            continue
        start, inferred = int(r["start_ns"]), bool(r["flags"] & Flag.INFERRED)
        key = start, int(r["tgid"])
        inside = {(int(n["inum"]), int(n["gen"]), int(n["nr"])) for n in r["chain"][: r["level"]]}
        numbers[key] = inside | {(INITIAL_PIDNS.inum, 0, int(r["tgid"]))}
        process = processes.setdefault(key, {"seen": start, "exit": NEVER_NS, "found": NEVER_NS})
        was_over = (r["kind"] == Kind.SNAPSHOT and r["flags"] & Flag.ENDED) or (r["kind"] == Kind.EXIT and inferred)
        if was_over or r["kind"] == Kind.EXIT:
            which = "found" if was_over else "exit"
            process[which] = min(process[which], int(r["ts_ns"]))
        if not was_over and not inferred:  # what a list has shown was so at some time before it was told
            process["seen"] = max(process["seen"], int(r["ts_ns"]))
    started = sorted(key for key in processes if key[0] <= moment and (pidns.inum, pidns.gen, nr) in numbers[key])
    known, holder = begin, None
    if started:
        key = started[-1]
        last = processes[key]
        known = min(last["seen"], last["exit"])
        given_away = [other[0] for other in processes if other > key and numbers[other] & numbers[key]]
        over = last["exit"] if last["exit"] < NEVER_NS else min(last["found"], *given_away, NEVER_NS)
        holder = None if over <= moment else key[1]
        if holder is not None and moment <= known:
            return holder, True
    if not begin <= moment <= end:
        return holder, False
    repairs = [(int(r["start_ns"]), int(r["ts_ns"])) for r in rows.rows if r["kind"] == Kind.REPAIR]
    for r in rows.rows:
        if r["kind"] == Kind.GAP and r["start_ns"] <= moment and r["ts_ns"] >= known:
            healed = min((done for begun, done in repairs if begun >= r["ts_ns"]), default=NEVER_NS)
            if moment < healed:
                return holder, False
    return holder, True


TIMES = st.integers(BEGIN, END)


@st.composite
def any_row(draw: st.DrawFn) -> Row:
    """Rows that make sense one by one, though hardly together."""
    kind = draw(st.sampled_from([Kind.FORK, Kind.EXEC, Kind.EXIT, Kind.SNAPSHOT, Kind.GAP, Kind.REPAIR]))
    start = draw(st.integers(1, END))
    ts = draw(st.integers(max(start, BEGIN), END))
    if kind == Kind.GAP:
        return gap(1, min(start, ts), ts)
    if kind == Kind.REPAIR:
        return repair(ts)
    number = draw(st.integers(1, 3))
    depth = draw(st.integers(0, 2))
    inside = [(PIDNS, number, draw(st.integers(1, 2)))] + [(PIDNS + level, 1) for level in range(1, depth)]
    flags = draw(st.sampled_from([0, 0, Flag.ENDED if kind == Kind.SNAPSHOT else Flag.INFERRED]))
    return row(kind, draw(st.integers(1, 4)), inside if depth else [], start_ns=start, ts_ns=ts, flags=flags)


@given(st.lists(any_row(), max_size=12), st.lists(TIMES, min_size=1, max_size=6))
@settings(max_examples=200)
def test_as_a_plain_loop_finds_it(rows: list[Row], moments: list[int]) -> None:
    rows = consistent(rows)
    index = history(*rows)
    asked = [(space, nr, t) for space in (INITIAL_PIDNS, WEB, DB) for nr in (1, 2, 3) for t in (*moments, 5, END + 1)]
    expected = [reference(index.batch, BEGIN, END, *one) for one in asked]
    for one, (tgid, certain) in zip(asked, expected, strict=True):
        found = index.at(*one)
        assert (found.living and found.living.proc_id.tgid, found.hole is None) == (tgid, certain), one
    spaces, numbers, times = (np.array(column, np.int64) for column in zip(
        *((index.spaces.get(space, -1), nr, t) for space, nr, t in asked), strict=True
    ))  # fmt: skip
    processes, certain_all = index.holders(spaces, numbers, times)
    tgids = [int(index.tgid[process]) if process >= 0 else None for process in processes.tolist()]
    assert list(zip(tgids, certain_all.tolist(), strict=True)) == expected


def consistent(rows: list[Row]) -> list[Row]:
    """The rows without those whose process (PID and start) was in another place before."""
    places: dict[tuple[int, int], bytes] = {}
    kept = []
    for one in rows:
        if one.event["kind"] not in (Kind.GAP, Kind.REPAIR):
            place = one.event["chain"].tobytes() + bytes([one.event["level"]])
            if places.setdefault((int(one.event["tgid"]), int(one.event["start_ns"])), place) != place:
                continue
        kept.append(one)
    return kept


# against a world in which all is known


class Listing(NamedTuple):
    """A list of all processes that has been read and not been told: when, who lived, and who as told until then."""

    began_ns: int
    living: dict[int, Where]
    told: dict[int, Where]


@dataclass
class World:
    """Processes that are born, exec, exit and are reaped, in two namespaces with few numbers; some events are lost."""

    dice: random.Random
    loses: float
    truth: list[tuple[int, int, PidnsId, int, int, int]] = field(default_factory=list)  # tgid, start, .., exit, reaped
    rows: list[Row] = field(default_factory=list)

    def run(self) -> World:
        living: dict[int, Where] = {}
        zombies: list[tuple[int, int, PidnsId, int, int]] = []
        told: dict[int, Where] = {}
        lost_since = lost_until = 0
        listing: Listing | None = None
        for now in range(BEGIN + 1, END):
            action = self.dice.choice(["fork", "fork", "exec", "exit", "reap", "repair"])
            is_lost = self.dice.random() < self.loses
            if action == "fork":
                taken = set(living) | {zombie[0] for zombie in zombies}
                space = self.dice.choice([WEB, DB])
                numbers = {nr for _s, where, nr in living.values() if where == space}
                numbers |= {nr for _t, _s, where, nr, _e in zombies if where == space}
                free_tgid, free_nr = sorted(set(range(1, 6)) - taken), sorted(set(range(1, 4)) - numbers)
                if not free_tgid or not free_nr:
                    continue
                tgid, nr = self.dice.choice(free_tgid), self.dice.choice(free_nr)
                living[tgid] = (now, space, nr)
                event = fork(tgid, [(*space[:1], nr, space.gen)], start_ns=now, ts_ns=now)
            elif action in ("exec", "exit") and living:
                tgid = self.dice.choice(sorted(living))
                start, space, nr = living[tgid]
                make = execs if action == "exec" else exits
                event = make(tgid, [(space.inum, nr, space.gen)], start_ns=start, ts_ns=now)
                if action == "exit":
                    del living[tgid]
                    zombies.append((tgid, start, space, nr, now))
            elif action == "reap" and zombies:
                tgid, start, space, nr, ended = zombies.pop(self.dice.randrange(len(zombies)))
                self.truth.append((tgid, start, space, nr, ended, now))
                continue
            elif action == "repair" and listing:
                self._repair(now, listing, told)
                listing = None
                continue
            elif action == "repair" and lost_until:
                self._tell_gap(lost_since, lost_until)
                listing = Listing(now, dict(living), dict(told))
                lost_since = lost_until = 0
                continue
            else:
                continue
            if is_lost:
                lost_since, lost_until = lost_since or now - 1, now + 1
                continue
            self.rows.append(event)
            if action == "exit":
                told.pop(tgid, None)
                if listing and listing.living.get(tgid, (0,))[0] == start:
                    del listing.living[tgid]
            else:
                told[tgid] = living[tgid]
        if lost_until:
            self._tell_gap(lost_since, lost_until)
        self.truth += [(*zombie, NEVER_NS) for zombie in zombies]
        self.truth += [(tgid, *where, NEVER_NS, NEVER_NS) for tgid, where in living.items()]
        return self

    def _tell_gap(self, since: int, until: int) -> None:
        self.rows.append(gap(1, since, until))

    def _repair(self, now: int, listing: Listing, told: dict[int, Where]) -> None:
        """Events go on, and are lost, between the list and the time at which is told what it has shown."""
        for tgid, where in listing.told.items():
            if told.get(tgid) == where and listing.living.get(tgid) != where:
                start, space, nr = told.pop(tgid)
                numbers = [(space.inum, nr, space.gen)]
                self.rows.append(exits(tgid, numbers, start_ns=start, ts_ns=now, flags=Flag.INFERRED))
        for tgid, where in listing.living.items():
            start, space, nr = where
            if start > told.get(tgid, (0,))[0]:
                told[tgid] = where
                self.rows.append(
                    fork(tgid, [(space.inum, nr, space.gen)], start_ns=start, ts_ns=now, flags=Flag.INFERRED)
                )
        self.rows.append(repair(listing.began_ns, now))

    def living(self, pidns: PidnsId, nr: int, moment: int) -> int | None:
        for tgid, start, space, number, ended, _reaped in self.truth:
            is_it = tgid == nr if pidns == INITIAL_PIDNS else (space, number) == (pidns, nr)
            if is_it and start <= moment < ended:
                return tgid
        return None


@pytest.mark.parametrize("loses", [0.0, 0.05, 0.3])
@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=30)
def test_right_or_not_known(loses: float, seed: int) -> None:
    world = World(random.Random(seed), loses).run()
    index = history(*world.rows, end=END)
    for space in (INITIAL_PIDNS, WEB, DB):
        for nr in range(1, 6):
            for moment in range(BEGIN, END + 1, 3):
                found = index.at(space, nr, moment)
                if found.hole is None:
                    assert (found.living and found.living.proc_id.tgid) == world.living(space, nr, moment)
                else:
                    assert loses > 0


# single rules


def test_lifetimes_of_one_number() -> None:
    index = history(
        fork(40, [(PIDNS, 15)], start_ns=20, ts_ns=20), exits(40, [(PIDNS, 15)], start_ns=20, ts_ns=30),
        fork(50, [(PIDNS, 15)], start_ns=60, ts_ns=60),
    )  # fmt: skip
    tgids = [
        (t, f.living and f.living.proc_id.tgid) for t in (19, 20, 29, 30, 59, 60, 100) if (f := index.at(WEB, 15, t))
    ]
    assert tgids == [(19, None), (20, 40), (29, 40), (30, None), (59, None), (60, 50), (100, 50)]
    between = index.at(WEB, 15, 45)
    assert between.before and between.before.end_ns == 30
    assert between.after and between.after.proc_id == (50, 60)
    assert [life.proc_id.tgid for life in index.during(WEB, 15, 0 + BEGIN, END)[0]] == [40, 50]
    assert [life.proc_id.tgid for life in index.during(WEB, 15, 30, 60)[0]] == [50]
    assert index.during(WEB, 15, 30, 59) == ([], None)
    assert index.at(DB, 15, 25).living is None


def test_before_the_beginning_and_after_the_end() -> None:
    index = history(there(40, [(PIDNS, 1)], start_ns=3), fork(41, [(PIDNS, 2)], start_ns=50, ts_ns=50))
    assert index.at(WEB, 1, 5)[:2] == (index.at(WEB, 1, BEGIN).living, None)  # it was there all the time
    assert index.at(WEB, 2, 5).hole == Hole(None, BEGIN)
    assert index.at(WEB, 2, 20).hole is None
    after = index.at(WEB, 2, END + 1)
    assert after.hole == Hole(END, None)
    assert after.living and after.living.proc_id.tgid == 41


def test_a_zombie_that_was_there_ended_before_it_was_listed() -> None:
    zombie = there(40, [(PIDNS, 15)], start_ns=3, flags=Flag.ENDED)
    (life,), hole = history(zombie, fork(41, start_ns=50, ts_ns=50)).during(WEB, 15, BEGIN - 1, END)
    assert (life.end_ns, life.at_the_latest, life.seen_ns) == (BEGIN, True, 3)
    assert hole == Hole(None, BEGIN)
    told = exits(40, [(PIDNS, 15)], start_ns=3, ts_ns=BEGIN - 2)  # its exit came while the list was read
    (life,), _hole = history(zombie, told, begin=5).during(WEB, 15, 5, END)
    assert (life.end_ns, life.at_the_latest, life.seen_ns) == (BEGIN - 2, False, BEGIN - 2)


def test_an_end_that_was_found_is_one_at_the_latest() -> None:
    inside = [(PIDNS, 15)]
    born = fork(40, inside, start_ns=20, ts_ns=20)
    found = exits(40, inside, start_ns=20, ts_ns=60, flags=Flag.INFERRED)
    given_away = fork(41, inside, start_ns=70, ts_ns=70)
    for rows, ended in (([], (None, False)), ([found], (60, True)), ([given_away], (70, True))):
        life = history(born, gap(1, 30, 40), *rows).during(WEB, 15, 20, 25)[0][0]
        assert (life.end_ns, life.at_the_latest) == ended


def test_a_gap_makes_unsure_until_it_is_repaired() -> None:
    inside = [(PIDNS, 15)]
    rows = [fork(40, inside, start_ns=20, ts_ns=20), gap(3, 30, 40), repair(60)]
    index = history(*rows)
    assert [index.at(WEB, 15, t).hole for t in (20, 29, 30, 50, 60)] == [
        None,
        None,
        Hole(30, 40),
        Hole(30, 40),
        Hole(30, 40),
    ]
    assert index.at(WEB, 15, 61).hole is None
    assert index.at(WEB, 16, 35).hole == Hole(30, 40)
    assert index.at(WEB, 15, 35).living  # who it may be is told all the same
    seen = history(*rows, execs(40, inside, start_ns=20, ts_ns=50))
    assert seen.at(WEB, 15, 35).hole is None  # its later event proves it


def test_a_number_at_any_depth() -> None:
    inside = [(PIDNS + level, level + 2) for level in range(32)]
    index = history(fork(40, inside, start_ns=20, ts_ns=20), exits(40, inside, start_ns=20, ts_ns=30))
    for inum, nr in inside:
        found = index.at(PidnsId(inum, 1), nr, 25).living
        assert found and found.proc_id == (40, 20)


def test_what_has_become_of_a_process() -> None:
    rows = [fork(40, start_ns=20, ts_ns=20), fork(41, start_ns=20, ts_ns=21), exits(40, start_ns=20, ts_ns=30)]
    index = history(*rows, gap(1, 50, 60), repair(70), there(42, [], start_ns=3, flags=Flag.ENDED))
    lives = [ProcId(40, 20), ProcId(41, 20), ProcId(41, 21), ProcId(42, 3)]
    assert [index.fate(one, 25).lives for one in lives] == [True, True, False, False]
    assert [index.fate(one, 35) for one in lives] == [Fate(False, 30), Fate(True), Fate(False), Fate(False, BEGIN)]
    assert index.fate(ProcId(41, 20), 65) == Fate(lives=False)  # its exit may have been lost
    assert index.fate(ProcId(41, 20), 90) == Fate(lives=True)
    assert index.fate(ProcId(41, 20), 15) == Fate(lives=False)


@pytest.mark.parametrize("nr", [0, -1, 1 << 22, 1 << 23, 1 << 40])
def test_numbers_that_nobody_can_have(nr: int) -> None:
    index = history(fork(40, [(PIDNS, 15)], start_ns=20, ts_ns=20))
    assert index.at(WEB, nr, 25) == (None, None, None, None)


def test_nothing_at_all() -> None:
    index = history()
    assert index.at(WEB, 1, 20) == (None, None, None, None)
    one = np.ones(1, np.int64)
    assert [column.tolist() for column in index.holders(one, one, 20 * one)] == [[-1], [True]]
