"""Batch -> Arrow -> Batch is the identity on all that views show, and Arrow's plain values are right."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
from builders import WEB, Row, batch, cgroup, exits, fork, gap, repair, row
from hypothesis import given
from hypothesis import strategies as st

from tracer.recording.columns import from_arrow, to_arrow
from tracer.recording.schema import FLAGS, NUMBERS, SCHEMA
from tracer.stream.batch import EVENT, Batch
from tracer.stream.known import Known
from tracer.stream.pidns import chain_of
from tracer.stream.schema import CONTAINER_KINDS, INTERNAL_FLAGS, KINDS, NO_CPU, RULES, Flag, Kind
from tracer.stream.schema import FLAGS as FLAGS_SAY

OFFSET_NS = 1_700_000_000_000_000_000


def u(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, (1 << bits) - 1)


SPACES = st.lists(st.tuples(u(32), u(32), u(64)), max_size=32)
BYTES = st.binary(max_size=40)


@st.composite
def rows(draw: st.DrawFn) -> object:
    kind = draw(
        st.sampled_from([kind for kind in Kind if kind not in (Kind.GAP, Kind.CGROUP, Kind.REPAIR, *CONTAINER_KINDS)])
    )
    made = row(
        kind,
        draw(u(32)),
        draw(SPACES),
        exe=draw(BYTES),
        comm=draw(st.binary(max_size=16)),
        flags=draw(st.integers(0, sum(Flag)).map(lambda flags: flags & ~INTERNAL_FLAGS)),
        start_ns=draw(u(64)),
        ts_ns=draw(u(64)),
        parent_tgid=draw(u(32)),
        parent_start_ns=draw(u(64)),
        tid=draw(u(32)),
        vtid=draw(u(32)),
        parent_vtgid=draw(u(32)),
        old_tid=draw(u(32)),
        uid=draw(u(32)),
        status=draw(u(32)),
        cpu=draw(u(16)),
        cgroup_id=draw(u(64)),
        state=draw(st.integers(0, 127)),
    )
    args = draw(BYTES)  # with or without a NUL at its end
    made.event["args_len"], made.event["args_total"] = len(args), draw(u(32))
    return made._replace(heap=made.heap + args)


STREAM = st.one_of(
    rows(),
    st.builds(gap, u(63), u(64), u(64), u(16)),
    st.builds(repair, u(62)),
    st.builds(cgroup, u(64), st.sampled_from([None, WEB]), st.text(max_size=20)),
)


def same(one: Batch, other: Batch) -> None:
    """What is known of one is known of the other, and the same; what is not known is not recorded."""
    known, after = Known(one.rows), Known(other.rows)
    assert len(one) == len(other)
    for name in ("kind", "flags", "ts_ns", "level", "deep_len"):
        assert np.array_equal(one.rows[name], other.rows[name]), name
    for name in RULES:
        assert np.array_equal(known(name), after(name)), name
    fields = {column.name: (column.field, column.absent) for column in NUMBERS} | {
        "comm": ("comm", b""), "state": ("state", 0), "exe": ("exe_len", 0), "args": ("args_len", 0)
    }  # fmt: skip
    for name, (field, unknown) in fields.items():
        expected = np.where(known(name), one.rows[field], np.array(unknown, EVENT[field]))
        is_its = known(name) | ~known("lost") & ~known("old_cgroup_id")  # these two share a field,
        is_its &= known(name) | ~known("status") & ~known("errno")  # and these
        assert np.array_equal(expected[is_its], other.rows[field][is_its]), name
    for at in range(len(one)):
        mine, theirs = one.payload(at), other.payload(at)
        assert theirs.deep == mine.deep
        assert theirs.exe == (mine.exe if known("exe")[at] else b"")
        assert theirs.args == (mine.args if known("args")[at] else b"")


@given(st.lists(STREAM, max_size=12))
def test_there_and_back(stream: list[Row]) -> None:
    before = batch(*stream)
    arrow = to_arrow(before, OFFSET_NS)
    arrow.validate(full=True)
    after = from_arrow(arrow, OFFSET_NS)
    same(before, after)
    assert [chain_of(before, i) for i in range(len(before))] == [chain_of(after, i) for i in range(len(after))]


def test_a_gap_that_tells_whose_events_were_lost() -> None:
    lost = gap(5, cpu=NO_CPU)
    lost.event["chain"]["inum"][0], lost.event["chain"]["gen"][0], lost.event["cgroup_id"] = 4026532180, 7, 99
    before = batch(lost)
    arrow = to_arrow(before, OFFSET_NS)
    same(before, from_arrow(arrow, OFFSET_NS))
    told = arrow.drop_columns(["time"]).to_pylist()[0]
    assert (told["pidns"], told["pidns_gen"], told["cgroup_id"]) == (4026532180, 7, 99)
    assert (told["ns_pid"], told["pids"], told["pid"], told["level"], told["cpu"]) == (None, [], None, None, None)


def test_plain_values_for_readers_without_us() -> None:
    made = batch(
        fork(4711, [(4026532180, 15)], ts_ns=10),
        row(Kind.EXEC, 4711, [(4026532180, 15)], exe=b"/bin/ls", args=[b"ls", b"-l"], comm=b"ls", old_tid=4711),
        exits(4711, [(4026532180, 15)], status=0),
        row(Kind.SNAPSHOT, 9, state=ord("S"), uid=0xFFFFFFFE),  # which had gone when its command was read
        gap(3),
        cgroup(77, WEB),
    )
    columns = to_arrow(made, OFFSET_NS).drop_columns(["time"]).to_pydict()
    assert columns["event"] == ["fork", "exec", "exit", "snapshot", "gap", "cgroup"]
    assert columns["pid"] == [4711, 4711, 4711, 9, None, None]
    assert columns["ns_pid"] == [15, 15, 15, 9, None, None]
    assert columns["pids"] == [[4711, 15]] * 3 + [[9], [], []]
    assert columns["pidns_chain"][0] == [4026531836, 4026532180]
    assert columns["exe"] == [None, b"/bin/ls", None, None, None, None]
    assert columns["args"][:4] == [None, b"ls\0-l\0", None, None]
    assert columns["status"] == [None, None, 0, None, None, None]
    assert columns["state"] == [None, None, None, "S", None, None]
    assert columns["lost"] == [None, None, None, None, 3, None]
    assert columns["uid"][3] == 0xFFFFFFFE
    assert columns["cpu"] == [0, 0, 0, None, 0, None]
    assert columns["old_tid"] == [None] * 6
    assert columns["cgroup_id"][5] == 77
    assert pa.compute.cast(to_arrow(made, OFFSET_NS)["time"], pa.int64())[0].as_py() == OFFSET_NS + 10


def test_what_no_event_told_is_null() -> None:
    found = exits(4711, [(4026532180, 15)], flags=Flag.INFERRED, parent_tgid=30, parent_start_ns=5)
    columns = to_arrow(batch(found), OFFSET_NS).drop_columns(["time"]).to_pylist()[0]
    unknown = ("status", "uid", "cpu", "ppid", "ns_ppid", "parent_start_ns", "exe", "args", "args_bytes", "state")
    assert {name: columns[name] for name in unknown} == dict.fromkeys(unknown)
    assert (columns["pids"], columns["comm"], columns["inferred"]) == ([4711, 15], b"sh", True)


def test_every_field_of_the_record_has_its_column() -> None:
    others = {"ts_ns", "kind", "flags", "chain", "deep_len", "exe_len", "args_len", "killer_len", "comm", "state"}
    passing = {"exec_id", *({"pad"} & set(EVENT.names or ()))}  # for a comparison with the living alone; for C
    assert {column.field for column in NUMBERS} | others | passing == set(EVENT.names or ())
    for one, other in itertools.combinations(NUMBERS, 2):  # a field has several, for different kinds
        assert one.field != other.field or not RULES[one.name].reported & RULES[other.name].reported
    public = {flag for flag in Flag if not flag & INTERNAL_FLAGS}
    assert {column.name: column.flag for column in FLAGS} == {(flag.name or "").lower(): flag for flag in public}
    assert set(FLAGS_SAY) == set(Flag)
    assert set(KINDS) == set(Kind)
    for column in NUMBERS:  # signed, and wide enough, or of the same width
        type_ = SCHEMA.field(column.name).type
        assert type_.bit_width // 8 >= EVENT[column.field].itemsize
        assert str(type_).startswith("int")


def test_a_column_that_an_older_recording_lacks_is_null_in_it() -> None:
    """A missing column is read as absent: that must be no value, but for those that every recording has."""
    everywhere = {"pid", "ppid", "ns_ppid", "level", "tid", "ns_tid", "start_ns", "parent_start_ns", "uid", "status"}
    everywhere |= {"lost", "args_bytes"}
    for column in NUMBERS:
        if column.name not in everywhere:
            rows = np.concatenate([batch(row(kind, 60)).rows for kind in KINDS])
            rows[column.field] = column.absent
            assert not Known(rows)(column.name).any(), f"{column.name}: its rule needs a value that means unknown"


def test_columns_and_kinds_of_a_later_nstrace_are_passed_over() -> None:
    before = batch(fork(1), fork(2, [(5, 6)]), fork(3))
    arrow = to_arrow(before, OFFSET_NS).append_column("later", pa.array([1, 2, 3]))
    names = pa.array(["fork", "something new", "fork"])
    arrow = arrow.set_column(arrow.schema.get_field_index("event"), "event", names)
    assert from_arrow(arrow, OFFSET_NS).rows["tgid"].tolist() == [1, 3]


def test_columns_that_an_earlier_nstrace_did_not_write_count_as_absent() -> None:
    before = batch(row(Kind.EXEC, 7, [(5, 6)], args=[b"a"], flags=Flag.INFERRED))
    after = from_arrow(to_arrow(before, OFFSET_NS).drop_columns(["inferred", "exe", "uid"]), OFFSET_NS)
    assert after.rows["tgid"].tolist() == [7]
    assert after.payload(0).args == b"a\0"
    assert after.rows["flags"].tolist() == [0]
