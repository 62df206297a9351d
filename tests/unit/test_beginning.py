"""How a stream begins: in order of time, and with one beginning for each process."""

from __future__ import annotations

import builders
import numpy as np
from builders import PIDNS, Row
from hypothesis import given
from hypothesis import strategies as st

from tracer.stream.batch import Batch
from tracer.stream.beginning import in_order, owners_first
from tracer.stream.metadata import Killer
from tracer.stream.pidns import chain_of
from tracer.stream.repair import identities
from tracer.stream.schema import Flag, Kind

INSIDE = [(PIDNS, 15)]
BEGAN = 100


def listed(tgid: int, ts_ns: int, flags: int = 0) -> Row:
    return builders.row(Kind.SNAPSHOT, tgid, INSIDE, ts_ns=ts_ns, flags=flags, state=ord("S"), comm=b"now")


def event(kind: Kind, tgid: int, ts_ns: int) -> Row:
    return builders.row(kind, tgid, INSIDE, ts_ns=ts_ns, comm=b"then", exec_id=5, exe=b"/bin/x" * (kind == Kind.EXEC))


def story(early: list[Row], *there: Row) -> list[tuple[Kind, int, int, int, bytes]]:
    found = in_order(builders.batch(*there), builders.batch(*early), BEGAN).rows
    return [
        (Kind(int(row["kind"])), int(row["tgid"]), int(row["ts_ns"]), int(row["flags"]), bytes(row["comm"]))
        for row in found
    ]


def test_who_was_listed_before_its_first_event_stays_where_it_was() -> None:
    told = story([event(Kind.EXEC, 7, 130)], listed(7, 120), listed(8, 140))
    assert [(kind, tgid, ts) for kind, tgid, ts, _flags, _comm in told] == [
        (Kind.SNAPSHOT, 7, 120), (Kind.EXEC, 7, 130), (Kind.SNAPSHOT, 8, 140)
    ]  # fmt: skip


def test_a_fork_tells_more_than_the_list() -> None:
    assert [row[:2] for row in story([event(Kind.FORK, 7, 110)], listed(7, 120))] == [(Kind.FORK, 7)]


def test_who_ended_before_it_was_listed_was_there() -> None:
    assert story([event(Kind.EXIT, 7, 110)], listed(8, 120)) == [
        (Kind.SNAPSHOT, 7, BEGAN, Flag.INFERRED, b"then"),
        (Kind.EXIT, 7, 110, 0, b"then"),
        (Kind.SNAPSHOT, 8, 120, 0, b"now"),
    ]


def test_who_killed_it_is_said_by_the_exit_alone() -> None:
    killed = builders.exits(7, [(PIDNS, 1), (PIDNS + 1, 2), (PIDNS + 2, 3), (PIDNS + 3, 4)], status=9, killer=Killer(3))
    found = in_order(builders.batch(), builders.batch(killed), BEGAN)
    assert [found.payload(at).killer for at in range(2)] == [b"", b'{"pid":3}']
    assert chain_of(found, 0) == chain_of(found, 1)
    assert found.lengths.sum() == len(found.heap)


def test_who_was_listed_after_its_exit_lived_when_the_trace_began() -> None:
    assert story([event(Kind.EXIT, 7, 110)], listed(7, 120, Flag.ENDING | Flag.ENDED)) == [
        (Kind.SNAPSHOT, 7, BEGAN, 0, b"now"),
        (Kind.EXIT, 7, 110, 0, b"then"),
    ]


def test_what_ran_before_an_exec_is_not_said_by_a_list_that_came_later() -> None:
    told = story([event(Kind.EXEC, 7, 110)], listed(7, 120))
    assert told == [(Kind.SNAPSHOT, 7, BEGAN, Flag.INFERRED, b""), (Kind.EXEC, 7, 110, 0, b"then")]
    first = in_order(builders.batch(), builders.batch(event(Kind.EXEC, 7, 110)), BEGAN)
    assert first.rows["exec_id"].tolist() == [4, 5]
    assert (first.payload(0).exe, first.payload(1).exe) == (b"", b"/bin/x")


def test_deep_chains_are_kept() -> None:
    deep = [(PIDNS + level, 10 + level) for level in range(6)]
    early = builders.row(Kind.EXEC, 7, deep, ts_ns=110, exe=b"/bin/x")
    first = in_order(builders.batch(), builders.batch(early), BEGAN)
    assert first.payload(0).deep == first.payload(1).deep != b""


EVENTS = st.lists(
    st.tuples(st.sampled_from([Kind.FORK, Kind.EXEC, Kind.EXIT, Kind.MOVE, Kind.THREAD_EXIT]), st.integers(1, 6)),
    max_size=12,
)


@given(EVENTS, st.lists(st.integers(1, 6), unique=True), st.permutations(range(20)))
def test_in_order_and_one_beginning_each(events: list[tuple[Kind, int]], there: list[int], times: list[int]) -> None:
    moments = sorted(BEGAN + time for time in times[: len(events)])
    early = builders.batch(*(event(kind, tgid, ts) for (kind, tgid), ts in zip(events, moments, strict=True)))
    there.sort(key=lambda tgid: times[-tgid])
    found = in_order(builders.batch(*(listed(tgid, BEGAN + times[-tgid]) for tgid in there)), early, BEGAN)
    assert (np.diff(found.rows["ts_ns"].astype(np.int64)) >= 0).all()
    assert len(Batch(found.rows, found.heap).heap) == int(found.lengths.sum())
    for identity in np.unique(identities(found.rows)):
        kinds = found.rows["kind"][identities(found.rows) == identity].tolist()
        begins = [kind for kind in kinds if kind == Kind.SNAPSHOT]
        assert kinds[0] in (Kind.FORK, Kind.SNAPSHOT)
        assert len(begins) == (kinds[0] == Kind.SNAPSHOT)


def test_the_first_process_of_a_namespace_is_listed_first() -> None:
    """PIDs wrap: who entered the namespace later can have a lower one. What makes a container known comes first."""
    deep = [(builders.PIDNS, 5), (builders.PIDNS + 1, 1)]
    rows = [
        builders.row(Kind.SNAPSHOT, 3, start_ns=1, ts_ns=100),
        builders.row(Kind.SNAPSHOT, 12, [(builders.PIDNS, 7)], start_ns=40, ts_ns=110),
        builders.row(Kind.SNAPSHOT, 15, deep, start_ns=50, ts_ns=115),
        builders.row(Kind.SNAPSHOT, 20, [(builders.PIDNS, 1)], start_ns=30, ts_ns=120),
    ]
    ordered = owners_first(builders.batch(*rows))
    told = list(zip(ordered.rows["tgid"].tolist(), ordered.rows["ts_ns"].tolist(), strict=True))
    assert told == [(20, 100), (15, 100), (3, 100), (12, 110)]
    assert owners_first(builders.batch()).rows.tolist() == []


def test_it_is_ahead_of_those_that_were_quicker_than_the_list_too() -> None:
    first = builders.row(Kind.SNAPSHOT, 20, [(PIDNS, 1)], start_ns=30, ts_ns=120)
    told = story([event(Kind.EXIT, 7, 110)], first, listed(8, 120))
    assert [row[:3] for row in told] == [
        (Kind.SNAPSHOT, 20, BEGAN), (Kind.SNAPSHOT, 7, BEGAN), (Kind.EXIT, 7, 110), (Kind.SNAPSHOT, 8, 120)
    ]  # fmt: skip
