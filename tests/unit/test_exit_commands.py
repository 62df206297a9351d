"""What a process ran is said at its exit: right, or not at all."""

from __future__ import annotations

from typing import Any

import builders
import pytest
from builders import SECOND_NS, batch, exits, row

from tracer.stream.batch import Batch
from tracer.stream.commands import Command, Commands
from tracer.stream.exit_commands import PIECE_BYTES, ExitCommands
from tracer.stream.schema import Flag, Kind
from tracer.stream.table import Table

SH, LS = [b"sh", b"-c", b"exit 3"], [b"ls", b"/"]
SHELL: dict[str, Any] = {"parent_tgid": 10, "parent_start_ns": SECOND_NS}
Row = builders.Row


def fork(tgid: int, **fields: Any) -> Row:
    """A process is born, forked by its parent."""
    return builders.fork(tgid, **{"old_tid": fields.get("parent_tgid", 1)} | fields)


def taken(table: Table, *rows: Row) -> Batch:
    """The batch of these rows as the source yields it."""
    commands = ExitCommands(batch(*rows), table)
    table.apply(batch(*rows))
    commands.remember(table)
    return Batch.concat(commands.pieces())


def said(told: Batch) -> list[bytes]:
    """File name and arguments in the exits of a batch."""
    at = [index for index, kind in enumerate(told.rows["kind"].tolist()) if kind == Kind.EXIT]
    return [told.payload(index).exe + b" " + told.payload(index).args for index in at]


def shell(exec_id: int = 1, **fields: Any) -> Row:
    return row(Kind.EXEC, 10, exe=b"/bin/sh", args=SH, exec_id=exec_id, **fields)


def ls(tgid: int, exec_id: int) -> Row:
    return row(Kind.EXEC, tgid, exe=b"/bin/ls", args=LS, exec_id=exec_id)


SAID_SH, SAID_LS, NOTHING = b"/bin/sh sh\0-c\0exit 3\0", b"/bin/ls ls\0/\0", b" "
LIVES = {
    "the last exec": ([fork(10), shell(1), ls(10, 2), exits(10, exec_id=2)], [SAID_LS]),
    "an exec that was lost": ([fork(10), shell(1), exits(10, exec_id=2)], [NOTHING]),
    "what the parent ran": ([fork(10), shell(1), fork(11, **SHELL, exec_id=1), exits(11, exec_id=1)], [SAID_SH]),
    "what the parent ran before it did another exec": (
        [fork(10), shell(1), fork(11, **SHELL, exec_id=1), ls(10, 2), exits(11, exec_id=1), exits(10, exec_id=2)],
        [SAID_SH, SAID_LS],
    ),
    "what the grandparent ran": (
        [
            *(fork(10), shell(1), fork(11, **SHELL, exec_id=1)),
            *(fork(12, parent_tgid=11, parent_start_ns=SECOND_NS, exec_id=1), exits(12, exec_id=1)),
        ],
        [SAID_SH],
    ),
    "forked for another parent": (
        [fork(10), shell(1), fork(11, **SHELL, exec_id=1, old_tid=77), exits(11, exec_id=1)],
        [NOTHING],
    ),
    "its own exec after the fork": (
        [shell(1), fork(11, **SHELL, exec_id=1), ls(11, 2), exits(11, exec_id=2)],
        [SAID_LS],
    ),
    "a process with the same number": ([shell(1), exits(10, exec_id=1, start_ns=2 * SECOND_NS)], [NOTHING]),
    "no name and no arguments": ([row(Kind.SNAPSHOT, 10), exits(10)], [NOTHING]),
    "ended unseen": ([shell(1), exits(10, exec_id=1, flags=Flag.INFERRED)], [NOTHING]),
}


@pytest.mark.parametrize("name", LIVES)
def test_what_ran(name: str) -> None:
    rows, expected = LIVES[name]
    assert said(taken(Table(), *rows)) == expected


@pytest.mark.parametrize("name", LIVES)
def test_batches_make_no_difference(name: str) -> None:
    rows, expected = LIVES[name]
    for cut in range(1, len(rows)):
        table = Table()
        assert said(Batch.concat([taken(table, *rows[:cut]), taken(table, *rows[cut:])])) == expected
    table = Table()
    assert said(Batch.concat([taken(table, one) for one in rows])) == expected


def test_the_rest_of_a_batch_is_as_it_was() -> None:
    rows = [fork(10), shell(1), fork(11, **SHELL, exec_id=1), exits(11, exec_id=1, status=256), ls(12, 4)]
    before, after = batch(*rows), taken(Table(), *rows)
    for index in (0, 1, 2, 4):
        assert after.rows[index] == before.rows[index]
        assert after.payload(index) == before.payload(index)
    assert after.rows["status"][3] == 256


def test_where_the_arguments_were_cut_the_exit_says_so_too() -> None:
    cut = row(Kind.EXEC, 10, args=[b"x"], flags=Flag.ARGS_TRUNCATED, args_total=5000)
    for rows in ([cut, exits(10)], [cut, fork(11, **SHELL), exits(11)]):
        after = taken(Table(), *rows).rows[-1]
        assert (after["flags"], after["args_total"], after["args_len"]) == (Flag.ARGS_TRUNCATED, 5000, 2)
    table = Table()
    taken(table, cut)
    assert taken(table, exits(10)).rows["args_total"].tolist() == [5000]


@pytest.mark.parametrize("forked_ns", [3 * SECOND_NS, 5 * SECOND_NS])
def test_of_a_list_a_child_inherits_only_what_was_read_before_its_fork(forked_ns: int) -> None:
    """Between the list and /proc its parent may have done an exec."""
    listed = row(Kind.SNAPSHOT, 10, args=SH, exec_id=1, seq=4 * SECOND_NS)
    table = Table()
    taken(table, listed)
    child = taken(table, fork(11, **SHELL, exec_id=1, start_ns=forked_ns), exits(11, exec_id=1, start_ns=forked_ns))
    assert said(child) == [b" sh\0-c\0exit 3\0" if forked_ns > 4 * SECOND_NS else NOTHING]
    assert said(taken(table, exits(10, exec_id=1))) == [b" sh\0-c\0exit 3\0"]  # nothing else has run in it


def test_a_child_of_a_process_that_was_listed_in_the_same_batch() -> None:
    listed = row(Kind.SNAPSHOT, 10, args=SH, exec_id=1, seq=4 * SECOND_NS)
    assert said(taken(Table(), listed, fork(11, **SHELL, exec_id=1), exits(11, exec_id=1))) == [NOTHING]


def test_children_of_a_short_lived_parent() -> None:
    """In a storm: the parent is born and ends in one batch, and its child goes on."""
    lives = [
        [
            fork(tgid), row(Kind.EXEC, tgid, args=[b"job", b"%d" % tgid], exec_id=1),
            fork(5000 + tgid, parent_tgid=tgid, parent_start_ns=SECOND_NS, exec_id=1), exits(tgid, exec_id=1),
        ]
        for tgid in range(1000, 1300)
    ]  # fmt: skip
    table = Table()
    taken(table, *(each for life in lives for each in life))
    children = taken(table, *(exits(5000 + tgid, exec_id=1) for tgid in range(1000, 1300)))
    assert said(children) == [b" job\0%d\0" % tgid for tgid in range(1000, 1300)]


def test_commands_of_failures_alone() -> None:
    """What the living run is kept all the same."""
    table = Table()
    rows = [fork(10), shell(1), fork(11, **SHELL, exec_id=1), exits(11, exec_id=1), fork(12, **SHELL, exec_id=1)]
    commands = ExitCommands(batch(*rows), table, only_failed=True)
    table.apply(batch(*rows))
    commands.remember(table)
    assert said(Batch.concat(commands.pieces())) == [NOTHING]
    later = ExitCommands(batch(exits(12, exec_id=1, status=9)), table, only_failed=True)
    assert said(Batch.concat(later.pieces())) == [SAID_SH]


def test_many_children_with_one_long_command_come_in_pieces() -> None:
    long = [b"x" * 16_000]
    rows = [row(Kind.EXEC, 10, args=long, exec_id=1)]
    for tgid in range(100, 1100):
        rows += [fork(tgid, **SHELL, exec_id=1), exits(tgid, exec_id=1)]
    commands = ExitCommands(batch(*rows), Table())
    pieces = list(commands.pieces())
    assert max(len(piece.heap) for piece in pieces) <= PIECE_BYTES + 16_001
    assert [len(each) for each in said(Batch.concat(pieces))] == [16_002] * 1000
    assert sum(map(len, pieces)) == len(rows)


def test_equal_commands_are_kept_once_and_only_as_long_as_one_runs_it() -> None:
    table = Table()
    taken(table, *(row(Kind.EXEC, tgid, args=LS) for tgid in range(100, 200)), row(Kind.EXEC, 300, args=SH))
    assert len(table.commands) == 2
    taken(table, *(exits(tgid) for tgid in range(100, 200)), row(Kind.EXEC, 300, args=LS, exec_id=1))
    assert len(table.commands) == 1
    taken(table, exits(300, exec_id=1))
    assert (len(table.commands), table.commands.bytes) == (0, 0)


def test_a_process_that_is_evicted_keeps_no_command() -> None:
    table = Table(4)
    taken(table, *(row(Kind.EXEC, tgid, args=[b"%d" % tgid]) for tgid in range(100, 110)))
    assert (table.evicted_living, len(table.commands)) == (6, 4)


def test_the_commands_that_appeared_first_are_evicted_first() -> None:
    commands = Commands(max_bytes=2000)
    held = [commands.hold(Command(b"%d" % number * 200, 0, 600, False)) for number in range(100, 105)]
    assert [one.command is None for one in held] == [True, True, True, False, False]
    assert (commands.evicted, len(commands), commands.bytes <= 2000) == (3, 2, True)
    for one in held:
        commands.release(one)
    assert (len(commands), commands.bytes) == (0, 0)


def test_what_was_evicted_is_not_known() -> None:
    table = Table()
    table.commands = Commands(max_bytes=1000)
    taken(table, row(Kind.EXEC, 10, args=[b"x" * 600]), row(Kind.EXEC, 11, args=[b"y" * 600]))
    assert said(taken(table, exits(10), exits(11))) == [NOTHING, b" " + b"y" * 600 + b"\0"]
