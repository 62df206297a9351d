"""Records of the ring become batches: pieces find their event, losses become gaps."""

import numpy as np
import pytest

from tracer.stream.batch import EVENT, PIECE
from tracer.stream.decoding import GapFinder, Joiner
from tracer.stream.losses import NOBODY, Loser
from tracer.stream.metadata import CgroupName
from tracer.stream.pidns import chain_of
from tracer.stream.schema import Flag, Kind, PieceKind


def event(cpu: int, seq: int, kind: Kind = Kind.EXEC, **fields: object) -> np.ndarray:
    row = np.zeros(1, EVENT)
    row["cpu"], row["seq"], row["kind"], row["ts_ns"] = cpu, seq, kind, seq * 10 % 2**63
    for name, value in fields.items():
        row[name] = value
    return row


def piece(cpu: int, seq: int, kind: PieceKind, data: bytes, **fields: object) -> np.ndarray:
    row = np.zeros(1, PIECE)
    row["cpu"], row["seq"], row["kind"], row["len"] = cpu, seq, kind, len(data)
    row["bytes"][0, : len(data)] = np.frombuffer(data, np.uint8)
    for name, value in fields.items():
        row[name] = value
    return row.view(EVENT)


def test_pieces_of_two_cpus_interleaved() -> None:
    records = np.concatenate(
        [
            piece(0, 5, PieceKind.EXE, b"/bin/a"),
            piece(1, 9, PieceKind.EXE, b"/bin/bb"),
            piece(0, 5, PieceKind.ARGS, b"a\0x\0"),
            event(1, 9, exe_len=7),
            event(0, 5, exe_len=6, args_len=4),
        ]
    )
    batch, cgroups, _removed = Joiner().join(records)
    assert cgroups == []
    assert [batch.payload(i)[1:3] for i in range(2)] == [(b"/bin/bb", b""), (b"/bin/a", b"a\0x\0")]


def test_pieces_wait_for_their_event_over_calls() -> None:
    joiner = Joiner()
    first, _, _removed = joiner.join(np.concatenate([event(0, 0, Kind.FORK), piece(0, 1, PieceKind.EXE, b"/x")]))
    second, _, _removed = joiner.join(event(0, 1, exe_len=2))
    assert len(first) == 1
    assert second.payload(0).exe == b"/x"


def test_pieces_of_an_event_that_failed_are_dropped() -> None:
    records = np.concatenate(
        [piece(0, 1, PieceKind.EXE, b"/lost"), piece(0, 2, PieceKind.EXE, b"/kept"), event(0, 2, exe_len=5)]
    )
    batch, _, _removed = Joiner().join(records)
    assert batch.payload(0).exe == b"/kept"
    assert len(batch.heap) == 5


def test_deep_chain_goes_on_in_pieces() -> None:
    numbers = np.zeros(2, [("inum", "<u4"), ("nr", "<u4"), ("gen", "<u8")])
    numbers["nr"] = [104, 105]
    deep = event(0, 0, Kind.FORK, level=5, deep_len=32)
    deep["chain"]["nr"] = [[101, 102, 103]]
    batch, _, _removed = Joiner().join(np.concatenate([piece(0, 0, PieceKind.CHAIN, numbers.tobytes()), deep]))
    assert [number.nr for number in chain_of(batch, 0)] == [105, 104, 103, 102, 101]


def test_cgroup_names_come_whole_and_in_parts() -> None:
    records = np.concatenate(
        [
            piece(0, 0, PieceKind.CGROUP, b"a" * 127, id=7, parent_id=1),
            piece(0, 0, PieceKind.CGROUP, b"bc", id=7, parent_id=1, last=1, maker=1000),
            piece(0, 0, PieceKind.CGROUP, b"", id=1, last=1),
            event(0, 0, Kind.FORK),
        ]
    )
    _batch, cgroups, _removed = Joiner().join(records)
    assert cgroups == [CgroupName(7, 1, "a" * 127 + "bc", 1000), CgroupName(1, 0, "", 0)]


def test_a_hole_is_a_gap_in_its_place() -> None:
    gaps = GapFinder()
    rows = np.concatenate([event(0, 0), event(1, 0), event(0, 4), event(1, 1)])
    batch = gaps.check(Joiner().join(rows).batch)
    assert batch.rows["kind"].tolist() == [Kind.EXEC, Kind.EXEC, Kind.GAP, Kind.EXEC, Kind.EXEC]
    gap = batch.rows[2]
    assert (gap["seq"], gap["cpu"], gap["start_ns"], gap["ts_ns"]) == (3, 0, 0, 40)
    assert gaps.lost == 3


def test_losses_at_the_beginning_between_batches_and_at_the_end() -> None:
    gaps = GapFinder()
    first = gaps.check(Joiner().join(event(2, 1)).batch)
    second = gaps.check(Joiner().join(event(2, 4)).batch)
    tail = gaps.tail({2: 5, 3: 1}, 999)
    assert [int(batch.rows["seq"][0]) for batch in (first, second)] == [1, 2]
    assert tail.rows["seq"].tolist() == [2, 1]
    assert tail.rows["ts_ns"].tolist() == [999, 999]
    assert len(gaps.tail({2: 5, 3: 1}, 1000)) == 0
    assert len(gaps.check(Joiner().join(event(2, 7)).batch)) == 1, "told by the tail, not once more"
    assert gaps.lost == 1 + 2 + 2 + 1


def test_an_event_on_its_way_at_the_tail_is_no_loss() -> None:
    gaps = GapFinder()
    gaps.check(Joiner().join(event(0, 0)).batch)
    assert len(gaps.tail({0: 0}, 50)) == 0  # 1 has its number, but is not in the ring yet
    later = gaps.check(Joiner().join(np.concatenate([event(0, 1), event(0, 3)])).batch)
    assert later.rows["kind"].tolist() == [Kind.EXEC, Kind.GAP, Kind.EXEC]
    assert gaps.reported == {0: 1}


def test_a_gap_is_told_for_each_pair_that_is_known_to_have_lost() -> None:
    pair = (4026532180, 7, 99)
    gaps = GapFinder(lambda cpu, lost: [[(Loser(pair, throttled=True), 2), (NOBODY, lost[0] - 2)]])
    batch = gaps.check(Joiner().join(event(0, 5)).batch)
    assert batch.rows["kind"].tolist() == [Kind.GAP, Kind.GAP, Kind.EXEC]
    assert batch.rows["seq"][:2].tolist() == [2, 3]
    assert batch.rows["chain"][:2, 0].tolist() == [(4026532180, 0, 7), (0, 0, 0)]
    assert batch.rows["cgroup_id"][:2].tolist() == [99, 0]
    assert batch.rows["flags"][:2].tolist() == [Flag.THROTTLED, 0]


def test_a_name_whose_rest_had_no_room_is_not_mixed_with_the_next_attempt() -> None:
    joiner = Joiner()
    first, again, rest = b"a" * 127, b"a" * 127, b"bc"
    _batch, cgroups, _removed = joiner.join(piece(0, 1, PieceKind.CGROUP, first, id=7, parent_id=1))
    assert cgroups == []
    parts = [
        piece(0, 2, PieceKind.CGROUP, again, id=7, parent_id=1),
        piece(1, 5, PieceKind.CGROUP, first, id=7, parent_id=1),  # another CPU tells it at the same time
        piece(0, 2, PieceKind.CGROUP, rest, id=7, parent_id=1, last=1),
        piece(1, 5, PieceKind.CGROUP, rest, id=7, parent_id=1, last=1),
    ]
    _batch, cgroups, _removed = joiner.join(np.concatenate(parts))
    assert cgroups == [CgroupName(7, 1, "a" * 127 + "bc")] * 2


def test_pieces_of_refused_events_do_not_pile_up() -> None:
    joiner = Joiner()
    for seq in range(100):
        joiner.join(piece(0, seq, PieceKind.EXE, b"/lost"))
    assert len(joiner._waiting) == 1
    batch, _, _removed = joiner.join(event(0, 99, exe_len=5))
    assert batch.payload(0).exe == b"/lost"


def test_numbers_that_no_float_holds_stay_exact() -> None:
    big = 1 << 60  # ns: 36 years
    gaps = GapFinder()
    rows = [event(0, 0, ts_ns=big + 1), event(0, 5, ts_ns=big + 3), event(0, 7, ts_ns=big + 7)]
    told = gaps.check(Joiner().join(np.concatenate(rows)).batch).rows
    assert told["start_ns"][told["kind"] == Kind.GAP].tolist() == [big + 1, big + 3]
    assert f"{gaps.lost} lost" == "5 lost"


@pytest.mark.parametrize("second", [3, 0, 2**63, 2**64 - 16])
def test_numbers_that_jump_are_a_fault_and_no_loss(second: int) -> None:
    gaps = GapFinder()
    rows = np.concatenate([event(1, 0), *(event(0, seq) for seq in (0, 1, 2, 3, second, (second + 1) % 2**64))])
    batch = gaps.check(Joiner().join(rows).batch)
    assert len(batch) == len(rows), "no gap"
    assert (gaps.lost, gaps.faults) == (0, {"CPU 0: the sequence numbers jump"})


def test_a_counter_of_losses_that_cannot_be_is_a_fault_and_no_loss() -> None:
    gaps = GapFinder()
    assert len(gaps.tail({0: 2**64 - 16, 1: 2}, 999)) == 1
    assert (gaps.lost, gaps.faults) == (2, {"CPU 0: 18446744073709551600 failed"})
