"""Who belongs to which session: by ancestry at the fork, whatever batches the rows come in."""

from __future__ import annotations

from itertools import pairwise

from builders import PIDNS, SECOND_NS, Row, batch, exits, fork, row
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.stream.members import Members
from tracer.stream.schema import Flag, Kind


def born(tgid: int, parent: int, at: int, parent_at: int, **fields: int) -> Row:
    """A process is born at a time in ns; parent_at: when its parent was."""
    return fork(
        tgid, [(PIDNS, tgid)], start_ns=at, parent_tgid=parent, parent_start_ns=parent_at,
        **({"old_tid": parent} | fields),
    )  # fmt: skip


def sessions(members: Members, rows: list[Row], roots: dict[int, int] | None = None) -> list[int]:
    found: list[int] = members.mark(batch(*rows).rows, roots or {}).of_row.tolist()
    return found


def test_everyone_below_a_root_belongs_to_its_session() -> None:
    rows = [born(10, 1, 10, 1), born(11, 10, 11, 10), born(12, 11, 12, 11), born(13, 1, 13, 1), exits(12, start_ns=12)]
    assert sessions(Members(), rows, {0: 7}) == [7, 7, 7, 0, 7]


def test_an_orphans_child_still_belongs_to_it() -> None:
    members = Members()
    rows = [born(10, 1, 10, 1), born(11, 10, 11, 10), exits(10, start_ns=10)]
    assert sessions(members, rows, {0: 1}) == [1, 1, 1]
    adopted = row(Kind.EXEC, 11, start_ns=11, parent_tgid=1, parent_start_ns=1)
    assert sessions(members, [adopted, born(12, 11, 12, 11), exits(11, start_ns=11)]) == [1, 1, 1]
    assert sessions(members, [exits(12, start_ns=12), born(12, 1, 20, 1)]) == [1, 0]
    assert len(members) == 0


def test_who_forked_counts_and_not_the_parent() -> None:
    members = Members()
    sessions(members, [born(10, 1, 10, 1)], {0: 3})
    sibling = born(11, 1, 11, 1, old_tid=10)  # CLONE_PARENT
    assert sessions(members, [sibling, born(12, 11, 12, 11), born(13, 1, 13, 1, old_tid=99)]) == [3, 3, 0]


def test_a_number_that_is_given_to_another_process_is_not_a_member() -> None:
    members = Members()
    sessions(members, [born(10, 1, 10, 1)], {0: 3})
    rows = [exits(10, start_ns=10), born(10, 1, 20, 1), born(11, 10, 21, 20), born(12, 1, 22, 1, old_tid=10)]
    assert sessions(members, rows) == [3, 0, 0, 0]


def test_a_list_has_no_order() -> None:
    child = row(Kind.SNAPSHOT, 8, start_ns=11, parent_tgid=10, parent_start_ns=10)
    grandchild = row(Kind.SNAPSHOT, 5, start_ns=12, parent_tgid=8, parent_start_ns=11)
    root = row(Kind.SNAPSHOT, 10, start_ns=10)
    zombie = row(Kind.SNAPSHOT, 6, start_ns=12, parent_tgid=8, parent_start_ns=11, flags=Flag.ENDED)
    assert sessions(Members(), [grandchild, child, root, zombie], {2: 4}) == [4, 4, 4, 0]


def test_what_was_forked_before_the_session_began_does_not_belong_to_it() -> None:
    helper = born(10, 1, 10, 1)
    begins = row(Kind.EXEC, 10, start_ns=10)
    rows = [helper, born(11, 10, 11, 10), begins, born(12, 10, 12, 10)]
    assert sessions(Members(), rows, {2: 1}) == [0, 0, 1, 1]


def test_the_oldest_session_is_forgotten_first() -> None:
    members = Members(max_members=2)
    sessions(members, [born(10, 1, 10, 1), born(11, 1, 11, 1), born(12, 1, 12, 1)], {0: 1, 1: 2, 2: 3})
    assert (members.sessions(), members.evicted, members.of(10, 10), members.of(12, 12)) == ({2, 3}, 1, 0, 3)


def test_who_lives_when_a_session_ends() -> None:
    members = Members()
    rows = [born(10, 1, 10, 1), born(11, 10, 11, 10), born(12, 10, 12, 10), exits(12, start_ns=12)]
    members.mark(batch(*rows).rows, {0: 1})
    marks = members.mark(batch(born(13, 11, 13, 11), exits(10, start_ns=10), born(14, 11, 14, 11)).rows, {})
    assert (marks.living(1, 1), marks.living(1, 2)) == ([11, 13], [11, 13, 14])


STEP = st.tuples(st.sampled_from(["fork", "fork", "fork", "exit", "adopt", "enter"]), st.integers(0, 30), st.booleans())


@settings(max_examples=300)
@given(steps=st.lists(STEP, max_size=60), cuts=st.sets(st.integers(1, 59)))
def test_as_a_model_that_remembers_everything(steps: list[tuple[str, int, bool]], cuts: set[int]) -> None:
    """Processes fork, are adopted, end, give their numbers away; the model knows each one's session by its forker."""
    living = {1: (1, 1, 0)}  # tgid -> start, parent, session
    rows, expected, roots, last = [], [], {}, 0
    for at, (what, which, is_sibling) in enumerate(steps, 2):
        tgid = sorted(living)[which % len(living)]
        start, parent, session = living[tgid]
        if what == "fork":
            child = min(set(range(2, 64)) - set(living))
            of = parent if is_sibling and parent in living else tgid
            living[child] = at, of, session
            rows.append(born(child, of, at, living[of][0], old_tid=tgid))
        elif what == "enter":
            child, last = min(set(range(2, 64)) - set(living)), last + 1
            living[child], session = (at, 1, last), last
            roots[len(rows)] = last
            rows.append(born(child, 1, at, 1))
        elif tgid == 1:
            continue
        elif what == "exit":
            del living[tgid]
            living = {one: (began, 1 if of == tgid else of, own) for one, (began, of, own) in living.items()}
            rows.append(exits(tgid, start_ns=start))
        else:
            rows.append(row(Kind.EXEC, tgid, start_ns=start, ts_ns=SECOND_NS))
        expected.append(session)
    members, found = Members(), []
    edges = sorted({0, *(cut for cut in cuts if cut < len(rows)), len(rows)})
    for begin, end in pairwise(edges):
        found += sessions(members, rows[begin:end], {at - begin: n for at, n in roots.items() if begin <= at < end})
    assert found == expected
    assert len(members) == sum(session != 0 for _start, _parent, session in living.values())
