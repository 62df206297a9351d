"""After a gap: what the kernel's list and the table together prove, and what they do not."""

from __future__ import annotations

from typing import Any

import builders
import pytest
from builders import PIDNS, SECOND_NS

from tracer.stream.batch import Batch
from tracer.stream.pidns import INITIAL_PIDNS, PidnsId, chain_of
from tracer.stream.repair import Echoes, Schedule, born, changed, exit_rows, vanished
from tracer.stream.schema import Flag, Kind
from tracer.stream.table import ECHO_NS, Process, Table

OUTER = PidnsId(PIDNS, 1)
NOTHING = builders.batch()


def table_of(*rows: builders.Row) -> Table:
    table = Table()
    table.apply(builders.batch(*rows))
    return table


def listed(*tgids: int, **fields: Any) -> Batch:
    return builders.batch(*(builders.row(Kind.SNAPSHOT, tgid, [(PIDNS, tgid - 85)], **fields) for tgid in tgids))


def gone(
    table: Table, snapshot: Batch, living: list[Process] | None = None, there: frozenset[int] = frozenset()
) -> list[int]:
    living = table.living() if living is None else living
    return [process.tgid for process in vanished(living, snapshot, table, there.__contains__)]


def test_unknown_and_alive_was_born() -> None:
    table = table_of(builders.fork(100, [(PIDNS, 15)]))
    found = born(listed(102, 101, 100), table, NOTHING, 0)
    assert sorted(found.rows["tgid"].tolist()) == [101, 102]
    assert set(found.rows["kind"].tolist()) == {Kind.FORK}
    assert set(found.rows["flags"].tolist()) == {Flag.INFERRED}


def test_those_born_are_in_the_order_of_their_start_whatever_their_number() -> None:
    snapshot = Batch.concat([listed(101, start_ns=9 * SECOND_NS), listed(102, start_ns=3 * SECOND_NS)])
    assert born(snapshot, table_of(), NOTHING, 0).rows["tgid"].tolist() == [102, 101]


def test_whose_fork_was_due_before_anything_was_lost_is_not_unseen() -> None:
    since_ns = 50 * SECOND_NS
    older, younger = since_ns - ECHO_NS - 1, since_ns - ECHO_NS
    snapshot = Batch.concat([listed(100, start_ns=older), listed(101, start_ns=younger)])
    assert born(snapshot, table_of(), NOTHING, since_ns).rows["tgid"].tolist() == [101]


def test_who_was_evicted_is_not_unseen() -> None:
    table = Table(2)
    table.apply(builders.batch(*(builders.fork(nr, [(PIDNS, nr)], start_ns=nr) for nr in (201, 202, 203))))
    assert table.evicted_living == 1
    snapshot = Batch.concat([listed(nr, start_ns=nr) for nr in (201, 202, 203, 204)])
    assert born(snapshot, table, NOTHING, 0).rows["tgid"].tolist() == [204]


@pytest.mark.parametrize("flags", [Flag.ENDING, Flag.ENDING | Flag.ENDED])
def test_who_is_about_to_end_is_not_born_any_more(flags: int) -> None:
    assert len(born(listed(100, flags=flags), table_of(), NOTHING, 0)) == 0


def test_whose_exit_came_while_the_list_was_read_is_not_born() -> None:
    told = builders.batch(builders.exits(100, [(PIDNS, 15)]))
    assert len(born(listed(100), table_of(), told, 0)) == 0


@pytest.mark.parametrize(
    "later", [builders.fork(100, [(PIDNS, 99)], start_ns=5), builders.fork(7, [(PIDNS, 15)], start_ns=5)]
)
def test_whose_number_was_given_away_since_is_not_born(later: builders.Row) -> None:
    assert len(born(listed(100, start_ns=4), table_of(later), NOTHING, 0)) == 0


def test_who_has_done_an_exec_that_was_not_told_runs_another_program() -> None:
    inside = [(PIDNS, 15)]
    table = table_of(builders.fork(100, inside, exec_id=3), builders.fork(101, [(PIDNS, 16)], exec_id=3))
    same_name = builders.row(Kind.SNAPSHOT, 100, inside, exec_id=5, comm=b"sh")
    renamed = builders.row(Kind.SNAPSHOT, 101, [(PIDNS, 16)], exec_id=3, comm=b"by prctl")
    found = changed(builders.batch(same_name, renamed), table)
    assert found.rows[["kind", "flags", "tgid", "old_tid"]].tolist() == [(Kind.EXEC, Flag.INFERRED, 100, 100)]
    table.apply(found)
    assert len(changed(builders.batch(same_name), table)) == 0


def test_the_table_has_the_name_after_an_exec_that_was_not_told() -> None:
    table = table_of(builders.fork(100, [(PIDNS, 15)]))
    table.apply(changed(builders.batch(builders.row(Kind.SNAPSHOT, 100, [(PIDNS, 15)], exec_id=1, comm=b"ls")), table))
    assert [process.comm for process in table.living()] == [b"ls"]


@pytest.mark.parametrize(("known", "in_list", "is_ahead"), [(65535, 0, True), (0, 65535, False), (7, 6, False)])
def test_the_number_of_an_exec_goes_round(known: int, in_list: int, is_ahead: bool) -> None:
    table = table_of(builders.fork(100, exec_id=known))
    assert len(changed(builders.batch(builders.row(Kind.SNAPSHOT, 100, exec_id=in_list)), table)) == is_ahead


def test_of_those_who_end_and_of_strangers_no_exec_is_inferred() -> None:
    table = table_of(builders.fork(100, exec_id=1))
    ending = builders.row(Kind.SNAPSHOT, 100, exec_id=2, flags=Flag.ENDING)
    stranger = builders.row(Kind.SNAPSHOT, 102, exec_id=2)
    successor = builders.row(Kind.SNAPSHOT, 100, exec_id=2, start_ns=5 * SECOND_NS)
    assert len(changed(builders.batch(ending, stranger, successor), table)) == 0


def test_an_exec_that_comes_behind_its_inferred_one_is_dropped_and_others_are_not() -> None:
    def execs(tgid: int, exec_id: int) -> builders.Row:
        return builders.row(Kind.EXEC, tgid, exec_id=exec_id)

    echoes = Echoes()
    echoes.expect(builders.batch(execs(100, 5)).rows, 60 * SECOND_NS)  # it may have lived for long
    batch = builders.batch(execs(100, 5), execs(100, 6), execs(101, 5), builders.fork(100))
    kept = echoes.drop(batch, 60 * SECOND_NS)
    assert kept.rows[["kind", "tgid", "exec_id"]].tolist() == [
        (Kind.EXEC, 100, 6), (Kind.EXEC, 101, 5), (Kind.FORK, 100, 0)
    ]  # fmt: skip


def test_living_as_far_as_told_and_not_in_the_list_has_vanished() -> None:
    table = table_of(builders.fork(100, [(PIDNS, 15)]), builders.fork(101, [(PIDNS, 16)]))
    assert gone(table, listed(100)) == [101]


def test_a_zombie_in_the_list_has_vanished_and_one_that_is_about_to_end_not_yet() -> None:
    table = table_of(builders.fork(100, [(PIDNS, 15)]), builders.fork(101, [(PIDNS, 16)]))
    snapshot = Batch.concat([listed(100, flags=Flag.ENDING | Flag.ENDED), listed(101, flags=Flag.ENDING)])
    assert gone(table, snapshot) == [100]


def test_whose_exit_was_told_meanwhile_has_not_vanished() -> None:
    table = table_of(builders.fork(100, [(PIDNS, 15)]))
    living = table.living()
    table.apply(builders.batch(builders.exits(100, [(PIDNS, 15)])))
    assert gone(table, NOTHING, living) == []


def test_who_was_born_after_the_first_step_is_not_judged() -> None:
    table = table_of()
    living = table.living()
    table.apply(builders.batch(builders.fork(100, [(PIDNS, 15)])))  # missed by the list, which was past its number
    assert gone(table, NOTHING, living) == []


def test_who_is_still_there_by_another_source_has_not_vanished() -> None:
    table = table_of(builders.fork(100, [(PIDNS, 15)]))
    assert gone(table, NOTHING, there=frozenset({100})) == []


def test_whose_number_has_another_owner_in_the_list_has_vanished() -> None:
    table = table_of(builders.fork(100, [(PIDNS, 15)]))
    assert gone(table, listed(100, start_ns=9 * SECOND_NS), there=frozenset({100})) == [100]


def test_who_was_evicted_is_not_judged() -> None:
    table = Table(2)
    table.apply(builders.batch(builders.fork(100, [(PIDNS, 15)])))
    living = table.living()
    table.apply(builders.batch(*(builders.fork(nr, [(PIDNS, nr)], start_ns=9) for nr in (201, 202, 203))))
    assert gone(table, NOTHING, living) == []


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 4, 7])
def test_an_inferred_exit_is_told_with_all_numbers(depth: int) -> None:
    inside = [(PIDNS + level, 10 + level) for level in range(depth)]
    fork = builders.fork(100, inside, cgroup_id=7, parent_tgid=50, parent_start_ns=3, parent_vtgid=4, comm=b"web")
    table = table_of(fork)
    batch = exit_rows(table.living())
    row, before = batch.rows[0], builders.batch(fork)
    assert (row["kind"], row["flags"]) == (Kind.EXIT, Flag.INFERRED)
    for name in (
        "tgid",
        "start_ns",
        "level",
        "cgroup_id",
        "parent_tgid",
        "parent_start_ns",
        "parent_vtgid",
        "comm",
        "vtid",
    ):
        assert row[name] == before.rows[name][0], name
    if depth:
        assert chain_of(batch, 0) == chain_of(before, 0)
    table.apply(batch)
    assert table.live == 0


def test_a_fork_that_comes_behind_its_inferred_one_is_dropped_and_others_are_not() -> None:
    echoes = Echoes()
    echoes.expect(listed(100, start_ns=5 * SECOND_NS).rows, 6 * SECOND_NS)
    late = [(PIDNS, 15)]
    batch = builders.batch(
        builders.fork(100, late, start_ns=5 * SECOND_NS),
        builders.row(Kind.EXEC, 100, late, start_ns=5 * SECOND_NS),
        builders.fork(100, late, start_ns=7 * SECOND_NS),
        builders.fork(101, late, start_ns=5 * SECOND_NS),
    )
    kept = echoes.drop(batch, 6 * SECOND_NS)
    assert list(zip(kept.rows["kind"].tolist(), kept.rows["start_ns"].tolist(), strict=True)) == [
        (Kind.EXEC, 5 * SECOND_NS), (Kind.FORK, 7 * SECOND_NS), (Kind.FORK, 5 * SECOND_NS)
    ]  # fmt: skip
    assert echoes.drop(batch, 7 * SECOND_NS + ECHO_NS) is batch


def test_repairs_come_soon_and_under_continuous_loss_now_and_then() -> None:
    schedule = Schedule()
    assert schedule.due_in(10.0) == float("inf")
    schedule.want(10.0)
    schedule.want(10.05)
    assert schedule.due_in(10.0) == pytest.approx(0.1)
    assert schedule.due_in(10.2) == 0
    schedule.done(10.2, 10.25)
    schedule.want(10.25)
    assert schedule.due_in(10.25) == pytest.approx(0.45)
    schedule.done(20.0, 25.0)  # a host with very many processes
    schedule.want(25.0)
    assert schedule.due_in(25.0) == 1.0


def test_the_table_is_right_after_what_is_inferred() -> None:
    table = table_of(builders.fork(100, [(PIDNS, 15)]), builders.gap(2))
    snapshot = listed(101)
    living = table.living()
    table.apply(exit_rows(vanished(living, snapshot, table, lambda _tgid: False)))
    table.apply(born(snapshot, table, NOTHING, 0))
    table.apply(builders.batch(builders.repair()))
    assert not table.unsure
    assert table.to_host(OUTER, 15) is None
    assert table.to_host(OUTER, 16) == table.to_host(INITIAL_PIDNS, 101) == 101
