"""What cannot be decided yet is held, shown late and whole, or told as a gap."""

from __future__ import annotations

from collections.abc import Sequence

import builders
from builders import PIDNS, SECOND_NS, WEB, Row
from msgspec.structs import replace

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.metadata import Container
from tracer.stream.schema import Flag, Kind
from tracer.stream.selection import Decision, Selection
from tracer.stream.undecided import Undecided
from tracer.typed.targets import parse_target

UNNAMED = replace(WEB, name=None, image=None, labels={})
DB = Container("b" * 64, "docker", "web-db")
IN_WEB, IN_DB = [(PIDNS, 1)], [(PIDNS + 1, 1)]
PENDING, NAMED = builders.cgroup(10, UNNAMED, pending=True), builders.cgroup(10, replace(WEB, name="web-1"))


class Stream:
    """A selection and what it holds back, as a source has them."""

    def __init__(self, *targets: str, max_rows: int = 100) -> None:
        self.attribution = Attribution()
        self.selection = Selection(tuple(map(parse_target, targets)), self.attribution)
        self.late: list[int] = []
        self.completed: list[int] = []
        self.held = Undecided(self.selection, lambda batch: self.late.append(len(batch)), max_rows)
        self.shown: list[tuple[str, int]] = []

    def take(self, *rows: Row) -> list[tuple[str, int]]:
        """What is shown of a batch: kind and PID of each row, facts left out."""
        before = len(self.shown)
        for part in self.attribution.split_and_learn(builders.batch(*rows)):
            mask = self.selection.mask(part)
            for shown in self.held.take(part, mask, self.selection.waiting(part), self._complete):
                self._note(shown)
        return self.shown[before:]

    def end(self) -> list[tuple[str, int]]:
        before = len(self.shown)
        for shown in self.held.give_up():
            self._note(shown)
        return self.shown[before:]

    def _complete(self, batch: Batch) -> Batch:
        self.completed.append(len(batch))
        return batch

    def _note(self, batch: Batch) -> None:
        for row in batch.rows[batch.rows["kind"] != Kind.CGROUP]:
            is_gap = row["kind"] == Kind.GAP
            self.shown.append((Kind(int(row["kind"])).name.lower(), int(row["seq" if is_gap else "tgid"])))


def life(tgid: int, inside: Sequence[tuple[int, int]], cgroup_id: int, start_ns: int = SECOND_NS) -> list[Row]:
    facts = {"cgroup_id": cgroup_id, "start_ns": start_ns, "flags": int(Flag.UNDECIDED)}
    return [builders.fork(tgid, inside, **facts), builders.exits(tgid, inside, **facts)]


def test_late_and_whole_and_in_its_order() -> None:
    stream = Stream("web-*")
    others = builders.cgroup(20, DB)
    first = [builders.row(Kind.SNAPSHOT, 99, IN_WEB, args=[b"sh"], cgroup_id=10)]
    assert stream.take(PENDING, others, *first, *life(100, IN_WEB, 10), *life(200, IN_DB, 20)) == [
        ("pidns", 99),
        ("pidns", 100),
        ("fork", 200),
        ("exit", 200),
    ]
    assert stream.take(*life(101, IN_WEB, 10), *life(201, IN_DB, 20)) == [("pidns", 101), ("fork", 201), ("exit", 201)]
    assert stream.held.rows == 5
    assert stream.take(NAMED, *life(102, IN_WEB, 10)) == [
        ("snapshot", 99),
        ("fork", 100),
        ("exit", 100),
        ("fork", 101),
        ("exit", 101),
        ("fork", 102),
        ("exit", 102),
    ]
    assert (stream.held.rows, sum(stream.late), stream.held.lost) == (0, 5, 0)


def test_what_no_target_means_is_dropped_when_that_is_known() -> None:
    stream = Stream("db-*")
    stream.take(PENDING, *life(100, IN_WEB, 10))
    assert (stream.held.rows, stream.selection.take_fresh()) == (2, [])
    assert stream.take(NAMED, *life(101, IN_WEB, 10)) == [("pidns", 101)]
    assert (stream.held.rows, stream.late) == (0, [])
    assert [decision.follow for decision in stream.selection.take_fresh()] == [False]


def test_the_source_is_told_when_it_is_decided() -> None:
    stream = Stream("web-*")
    rows = life(100, IN_WEB, 10)
    stream.take(PENDING, *rows)
    assert stream.selection.take_fresh() == []
    stream.take(NAMED)
    (decision,) = stream.selection.take_fresh()
    assert decision == Decision(decision.pidns, 10, True)


def test_all_but_the_latest_are_told_as_a_gap() -> None:
    stream = Stream("web-*", max_rows=4)
    stream.take(PENDING)
    for second in range(10):
        stream.take(*life(100 + second, IN_WEB, 10, second * SECOND_NS))
        assert stream.held.rows <= 4
    shown = stream.take(NAMED)
    assert shown[0] == ("gap", 16)
    assert [kind for kind, _tgid in shown[1:]] == ["fork", "exit"] * 2
    assert stream.held.lost == 16
    assert stream.end() == []


def test_what_is_given_up_of_those_who_are_not_meant_is_no_loss() -> None:
    stream = Stream("db-*", max_rows=1)
    stream.take(PENDING, *life(100, IN_WEB, 10))
    assert stream.take(NAMED) == []
    assert (stream.held.lost, stream.end()) == (0, [])


def test_what_nobody_has_decided_about_in_the_end_is_told_as_a_gap() -> None:
    stream = Stream("web-*")
    stream.take(PENDING, *life(100, IN_WEB, 10))
    assert stream.end() == [("gap", 2)]
    assert stream.held.lost == 2


def test_whose_they_were_is_forgotten_when_they_are_too_many() -> None:
    stream = Stream("web-*", max_rows=3)
    stream.take(PENDING)
    for nr in range(20):  # each in a namespace of its own
        stream.take(*life(100 + nr, [(PIDNS + nr, 1)], 10))
    shown = stream.take(NAMED) + stream.end()
    gaps = [count for kind, count in shown if kind == "gap"]
    assert (len(gaps), sum(gaps), stream.held.lost) == (4, 38, 38)


def test_who_is_held_is_known() -> None:
    stream = Stream("web-*")
    rows = life(100, IN_WEB, 10)
    stream.take(PENDING, *rows)
    assert stream.held.holds(builders.batch(rows[0], builders.fork(100, start_ns=5))).tolist() == [True, False]


def test_what_cannot_be_found_out_later_is_added_before() -> None:
    stream = Stream("web-*")
    stream.take(PENDING, *life(100, IN_WEB, 10), *life(200, [], 1))
    assert stream.completed == [2]
    stream.take(NAMED)
    assert stream.completed == [2]
