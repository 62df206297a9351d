"""The translation table: both ways, through reuse of numbers and of namespaces."""

import builders
import pytest
from builders import PIDNS, SECOND_NS

from tracer.stream.pidns import INITIAL_PIDNS, PidnsId
from tracer.stream.schema import Flag, Kind
from tracer.stream.table import Table

OUTER, INNER = PidnsId(PIDNS, 1), PidnsId(PIDNS + 1, 1)


def table_of(*rows: builders.Row) -> Table:
    table = Table()
    table.apply(builders.batch(*rows))
    return table


def test_both_ways_at_every_level() -> None:
    table = table_of(builders.fork(4711, [(PIDNS, 15), (PIDNS + 1, 3)]))
    assert table.to_host(OUTER, 15) == table.to_host(INNER, 3) == table.to_host(INITIAL_PIDNS, 4711) == 4711
    chain = table.chain(4711)
    assert chain
    assert [(number.pidns, number.nr) for number in chain] == [(INITIAL_PIDNS, 4711), (OUTER, 15), (INNER, 3)]


@pytest.mark.parametrize("before", [builders.gap(3, pair=(PIDNS, 1, 7)), builders.life("paused", builders.WEB, 7)])
def test_a_row_of_no_process_ahead_of_one_tells_nothing_of_its_numbers(before: builders.Row) -> None:
    before.event["chain"]["inum"][0], before.event["chain"]["gen"][0] = PIDNS, 1
    table = table_of(before, builders.fork(4711, [(PIDNS, 15)], cgroup_id=7), builders.repair())
    assert table.to_host(OUTER, 15) == 4711


def test_what_is_not_known_is_none() -> None:
    table = table_of(builders.fork(4711, [(PIDNS, 15)]))
    assert table.to_host(OUTER, 16) is None
    assert table.to_host(PidnsId(PIDNS, 2), 15) is None  # another namespace of the same inode number
    assert table.chain(15) is None


def test_an_exit_ends_a_process_and_its_number_can_be_given_away() -> None:
    table = table_of(builders.fork(100, [(PIDNS, 15)]), builders.exits(100, [(PIDNS, 15)]))
    assert table.to_host(OUTER, 15) is None
    assert table.find(OUTER, 15) is not None  # a zombie, for all that events tell
    table.apply(builders.batch(builders.fork(200, [(PIDNS, 15)], start_ns=9 * SECOND_NS)))
    assert table.to_host(OUTER, 15) == 200
    assert table.chain(100) is None


def test_a_fork_with_the_number_proves_that_the_old_process_is_gone() -> None:
    table = table_of(builders.fork(100, [(PIDNS, 15)]), builders.fork(100, [(PIDNS, 16)], start_ns=9 * SECOND_NS))
    assert table.to_host(OUTER, 15) is None
    assert table.to_host(OUTER, 16) == 100
    assert table.live == 1


def test_a_number_that_is_given_away_inside_proves_it_too() -> None:
    table = table_of(builders.fork(100, [(PIDNS, 15)]), builders.fork(200, [(PIDNS, 15)], start_ns=9 * SECOND_NS))
    assert table.to_host(OUTER, 15) == 200
    assert table.chain(100) is None
    assert table.live == 1


def test_who_is_told_late_takes_no_number_from_who_has_it_now() -> None:
    now = builders.fork(100, [(PIDNS, 15)], start_ns=9 * SECOND_NS)
    late = [builders.fork(100, [(PIDNS, 14)]), builders.exits(100, [(PIDNS, 14)])]
    inside = [builders.fork(200, [(PIDNS, 15)]), builders.exits(200, [(PIDNS, 15)])]
    table = table_of(now)
    table.apply(builders.batch(*late, *inside))
    assert (table.to_host(OUTER, 15), table.to_host(OUTER, 14), table.chain(200)) == (100, None, None)
    assert table.live == 1


def test_many_who_are_told_late_take_none_either() -> None:
    table = table_of(builders.fork(1100, [(PIDNS, 15)], start_ns=9 * SECOND_NS))
    lives = [
        (builders.fork(tgid, [(PIDNS, tgid)]), builders.exits(tgid, [(PIDNS, tgid)])) for tgid in range(1000, 1500)
    ]
    table.apply(builders.batch(*(row for life in lives for row in life)))
    assert (table.to_host(INITIAL_PIDNS, 1100), table.to_host(OUTER, 15), table.live) == (1100, 1100, 1)


def test_an_exit_of_an_earlier_owner_does_not_end_the_present_one() -> None:
    table = table_of(
        builders.fork(100, [(PIDNS, 15)], start_ns=9 * SECOND_NS),
        builders.exits(100, [(PIDNS, 15)], start_ns=SECOND_NS),
    )
    assert table.to_host(OUTER, 15) == 100


def test_exec_and_snapshot_make_an_unknown_process_known() -> None:
    table = table_of(builders.row(Kind.EXEC, 100, [(PIDNS, 15)]), builders.row(Kind.SNAPSHOT, 101, [(PIDNS, 16)]))
    assert (table.to_host(OUTER, 15), table.to_host(OUTER, 16)) == (100, 101)


def test_a_namespace_lives_on_after_its_first_process() -> None:
    table = table_of(
        builders.fork(100, [(PIDNS, 1)]),
        builders.fork(101, [(PIDNS, 2)]),
        builders.exits(100, [(PIDNS, 1)]),
    )
    assert table.is_alive(OUTER)
    assert table.to_host(OUTER, 2) == 101
    table.apply(builders.batch(builders.exits(101, [(PIDNS, 2)])))
    assert not table.is_alive(OUTER)


def test_the_latest_exited_stay_known() -> None:
    table = Table(keep_exited=2, grace_ns=10 * SECOND_NS)
    for nr in range(1, 6):
        inside, born_ns = [(PIDNS, nr)], nr * 4 * SECOND_NS
        table.apply(builders.batch(builders.fork(nr, inside, start_ns=born_ns)))
        table.apply(builders.batch(builders.exits(nr, inside, start_ns=born_ns, ts_ns=born_ns + SECOND_NS)))
    table.apply(builders.batch(builders.fork(9, [(PIDNS, 9)], start_ns=31 * SECOND_NS)))  # 5 exited at 21 s, 4 at 17 s
    assert [nr for nr in range(1, 6) if table.find(OUTER, nr)] == [4, 5]
    assert table.evicted == 0


def test_the_grace_keeps_more_than_the_latest() -> None:
    table = Table(keep_exited=1, grace_ns=10 * SECOND_NS)
    for nr in range(1, 6):
        table.apply(builders.batch(builders.fork(nr, [(PIDNS, nr)]), builders.exits(nr, [(PIDNS, nr)])))
    assert len(table) == 5


def test_too_many_go_the_dead_first_and_the_oldest_first() -> None:
    table = Table(4)
    table.apply(builders.batch(*(builders.fork(nr, [(PIDNS, nr)], start_ns=nr) for nr in range(1, 5))))
    table.apply(builders.batch(*(builders.exits(nr, [(PIDNS, nr)], start_ns=nr) for nr in (3, 2))))
    known = []
    for nr in range(5, 9):
        table.apply(builders.batch(builders.fork(nr, [(PIDNS, nr)], start_ns=nr)))
        known.append([other for other in range(1, 9) if table.find(OUTER, other)])
    assert known == [[1, 2, 4, 5], [1, 4, 5, 6], [4, 5, 6, 7], [5, 6, 7, 8]]
    assert (table.evicted, table.evicted_living, table.live) == (4, 2, 4)


def test_a_process_that_had_ended_when_it_was_listed_is_not_alive() -> None:
    zombie = builders.row(Kind.SNAPSHOT, 100, [(PIDNS, 15)], flags=Flag.ENDING | Flag.ENDED)
    table = table_of(zombie, builders.row(Kind.SNAPSHOT, 101, [(PIDNS, 16)], flags=Flag.ENDING))
    assert table.to_host(OUTER, 15) is None
    assert table.to_host(OUTER, 16) == 101
    assert table.live == 1


def test_who_lives_can_be_gone_through_while_the_table_is_asked_and_changes() -> None:
    storm = [(builders.fork(nr, [(PIDNS, nr)]), builders.exits(nr, [(PIDNS, nr)])) for nr in range(1000, 1500)]
    alive = [builders.fork(nr, [(PIDNS, nr)]) for nr in (1, 2, 3)]
    table = table_of(*alive, *(row for life in storm for row in life))
    found = []
    for process in table.living():
        found.append((process.tgid, table.find(OUTER, 1000 + process.tgid) is not None))
        table.apply(builders.batch(builders.fork(9000 + process.tgid, start_ns=9 * SECOND_NS)))
    assert found == [(1, True), (2, True), (3, True)]


def test_after_a_gap_the_living_are_not_told_until_the_repair() -> None:
    table = table_of(builders.fork(100, [(PIDNS, 15)]), builders.gap(3, 4 * SECOND_NS, 5 * SECOND_NS))
    assert table.unsure
    assert (table.to_host(OUTER, 15), table.chain(100)) == (None, None)
    table.apply(builders.batch(builders.repair(began_ns=4 * SECOND_NS)))  # begun before the last loss
    assert table.to_host(OUTER, 15) is None
    table.apply(builders.batch(builders.repair(began_ns=6 * SECOND_NS)))
    assert table.to_host(OUTER, 15) == 100


def test_exec_changes_the_name_alone() -> None:
    table = table_of(builders.fork(100, parent_tgid=3), builders.row(Kind.EXEC, 100, comm=b"new", parent_tgid=1))
    process = table.find(INITIAL_PIDNS, 100)
    assert process
    assert (process.comm, process.parent.tgid, len(table)) == (b"new", 3, 1)


def test_threads_are_no_processes() -> None:
    table = table_of(
        builders.fork(100, [(PIDNS, 15)]),
        builders.row(Kind.THREAD_FORK, 100, [(PIDNS, 15)], tid=101, vtid=16),
        builders.row(Kind.THREAD_EXIT, 100, [(PIDNS, 15)], tid=100),
    )
    assert table.to_host(OUTER, 15) == 100
    assert table.to_host(OUTER, 16) is None
    assert table.live == 1
