"""What a batch says of all its rows at once, held against a look at each row."""

import numpy as np
from builders import PIDNS, batch, exits, fork, row

from tracer.stream.metadata import Killer
from tracer.stream.schema import Flag, Kind

OTHER_KIND = 200  # that there is not: a recording of strangers may name it
ROWS = batch(
    fork(1, [(PIDNS, 1)]),
    fork(2, [(PIDNS, 2)]),
    row(Kind.EXEC, 3, flags=Flag.INFERRED, args=[b"x"]),
    exits(1, [(PIDNS, 1)], killer=Killer(kernel=True)),
    fork(1),
    row(Kind.GAP, 0),
)


def test_which_kinds_and_flags_there_are() -> None:
    kinds = set(ROWS.rows["kind"].tolist())
    for kind in Kind:
        assert ROWS.has(kind) == (kind in kinds)
    assert ROWS.has(Kind.REPAIR, Kind.GAP) and not ROWS.has(Kind.REPAIR, Kind.SESSION) and not ROWS.has()
    assert ROWS.may_have(Flag.INFERRED | Flag.CARRIED) and not ROWS.may_have(Flag.CARRIED)
    nobody = batch()
    assert not nobody.has(*Kind) and not nobody.may_have(0xFF)


def test_rows_of_kinds_alone_and_without_them() -> None:
    assert ROWS.only(*Kind) is ROWS and ROWS.without(Kind.REPAIR) is ROWS
    assert ROWS.only(Kind.EXEC, Kind.EXIT).rows["tgid"].tolist() == [3, 1]
    assert ROWS.without(Kind.FORK, Kind.GAP).rows["tgid"].tolist() == [3, 1]
    assert ROWS.without(Kind.FORK).heap == ROWS.only(Kind.EXEC, Kind.EXIT).heap == ROWS.heap
    strange = batch(row(Kind.EXEC, 3))
    strange.rows["kind"] = OTHER_KIND
    assert not strange.has(*Kind) and len(strange.only(*Kind)) == 0 and strange.without(*Kind) is strange


def test_what_has_changed_is_looked_at_again() -> None:
    part = batch(fork(1), fork(2))
    assert not part.has(Kind.SNAPSHOT) and not part.may_have(Flag.MOVED)
    part.rows["kind"][1], part.rows["flags"][1] = Kind.SNAPSHOT, Flag.MOVED
    part.changed()
    assert part.has(Kind.SNAPSHOT) and part.may_have(Flag.MOVED)


def test_first_processes_and_who_was_killed() -> None:
    expected = [at for at, one in enumerate(ROWS.rows) if one["level"] and one["chain"]["nr"][0] == 1]
    assert ROWS.firsts.tolist() == expected == [0, 3]
    assert ROWS.parentless.tolist() == [at for at, one in enumerate(ROWS.rows) if not one["parent_vtgid"]]
    assert ROWS.killed.tolist() == np.flatnonzero(ROWS.rows["killer_len"]).tolist() == [3]
