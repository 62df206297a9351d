"""The rows that tell the lives of containers, made from rows of processes."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from builders import PIDNS, SECOND_NS, WEB, Row, batch, cgroup, exits, fork, row

from tracer.stream.attribution import Attribution, fact_of
from tracer.stream.batch import Batch, with_killers
from tracer.stream.lives import LOST_END, Lives
from tracer.stream.metadata import NEVER_RAN, Container, Killer, LifeFact
from tracer.stream.schema import Flag, Kind
from tracer.stream.table import Table

CGROUP, OTHER_CGROUP = 70, 71
JOB = Container("b" * 64, "docker", "job")
SIGKILL, SIGTERM = 9, 15


class Stream:
    """As the live source: what is said of containers, then lives, then the table."""

    def __init__(self, *facts: Row, began_ns: int = 0) -> None:
        self.attribution, self.table = Attribution(), Table()
        self.lives = Lives(self.attribution, self.table, began_ns)
        self.feed(*(facts or [cgroup(CGROUP, WEB)]))

    def feed(self, *rows: Row, killers: dict[int, Killer] | None = None) -> Batch:
        """The rows of a batch, with those about lives. killers: of the rows at these places."""
        whole = batch(*rows)
        if killers:
            whole = with_killers(whole, [*killers], [msgspec.json.encode(killer) for killer in killers.values()])
        parts = []
        for part in self.attribution.split_and_learn(whole):
            parts.append(self.lives.take(part))
            self.table.apply(parts[-1])
        return Batch.concat(parts)


def first(tgid: int = 100, inum: int = PIDNS, **fields: Any) -> Row:
    return fork(tgid, [(inum, 1)], **({"cgroup_id": CGROUP, "comm": b"runc:[1:CHILD]"} | fields))


def member(tgid: int, nr: int, **fields: Any) -> Row:
    return fork(tgid, [(PIDNS, nr)], **({"cgroup_id": CGROUP} | fields))


def end(tgid: int, nr: int, **fields: Any) -> Row:
    return exits(tgid, [(PIDNS, nr)], **({"cgroup_id": CGROUP} | fields))


def facts(found: Batch) -> list[LifeFact]:
    return [
        fact
        for at in np.flatnonzero(found.rows["kind"] == Kind.CONTAINER).tolist()
        if isinstance(fact := fact_of(found, at), LifeFact)
    ]


def kinds(found: Batch) -> list[Kind]:
    return [Kind(kind) for kind in found.rows["kind"].tolist()]


def test_a_life_begins_with_the_first_process_of_the_namespace_and_ends_with_the_last() -> None:
    stream = Stream()
    found = stream.feed(
        first(),
        member(101, 7),
        end(100, 1, status=3 << 8, ts_ns=5 * SECOND_NS),
        end(101, 7, status=SIGKILL, ts_ns=6 * SECOND_NS),
    )
    assert kinds(found) == [Kind.FORK, Kind.CONTAINER, Kind.FORK, Kind.EXIT, Kind.EXIT, Kind.CONTAINER]
    started, stopped = facts(found)
    assert started == LifeFact("started", WEB)
    assert stopped == LifeFact(
        "stopped", WEB, exit_code=3, oom=False, duration_ns=5 * SECOND_NS, processes=1, first_pid=100
    )
    assert found.rows["ts_ns"][5] == 6 * SECOND_NS
    assert (found.rows["cgroup_id"][1], found.rows["chain"]["inum"][1, 0]) == (CGROUP, PIDNS)


def test_over_batches_and_with_nobody_else() -> None:
    stream = Stream()
    stream.feed(first(), member(101, 7))
    assert not facts(stream.feed(end(100, 1)))
    assert not facts(stream.feed(row(Kind.EXEC, 300, comm=b"ls")))
    assert [fact.processes for fact in facts(stream.feed(end(101, 7)))] == [1]
    stream.feed(first(200, PIDNS + 1))
    alone = facts(stream.feed(exits(200, [(PIDNS + 1, 1)], cgroup_id=CGROUP)))
    assert [(fact.action, fact.processes) for fact in alone] == [("stopped", 0)]
    assert [past.stopped.processes for past in stream.lives.past(WEB.id)] == [1, 0]


def test_two_lives_in_one_batch_keep_apart() -> None:
    stream = Stream()
    found = stream.feed(
        first(100), member(101, 7), end(100, 1), end(101, 7), first(200, PIDNS + 1),
        exits(200, [(PIDNS + 1, 1)], cgroup_id=CGROUP, status=SIGTERM),
    )  # fmt: skip
    assert [(fact.action, fact.signal) for fact in facts(found)] == [
        ("started", None), ("stopped", None), ("started", None), ("stopped", "SIGTERM"),
    ]  # fmt: skip


def test_who_lived_when_the_trace_began_has_an_end_alone() -> None:
    stream = Stream(cgroup(CGROUP, WEB), began_ns=10 * SECOND_NS)
    assert not facts(stream.feed(row(Kind.SNAPSHOT, 100, [(PIDNS, 1)], cgroup_id=CGROUP, ts_ns=10 * SECOND_NS)))
    (stopped,) = facts(stream.feed(end(100, 1, ts_ns=11 * SECOND_NS)))
    assert (stopped.action, stopped.duration_ns) == ("stopped", 10 * SECOND_NS)


def test_a_namespace_inside_the_container_is_no_life() -> None:
    stream = Stream()
    stream.feed(first())
    inner = [(PIDNS, 8), (PIDNS + 5, 1)]
    assert not facts(stream.feed(fork(110, inner, cgroup_id=CGROUP), exits(110, inner, cgroup_id=CGROUP)))
    found = stream.feed(fork(111, inner, cgroup_id=CGROUP, start_ns=3 * SECOND_NS), end(100, 1))
    assert not facts(found)
    assert len(facts(stream.feed(exits(111, inner, cgroup_id=CGROUP, start_ns=3 * SECOND_NS, status=SIGKILL)))) == 1


def test_without_a_namespace_of_its_own_it_lives_from_its_first_program_on() -> None:
    stream = Stream()
    runtime: Any = {"cgroup_id": CGROUP, "comm": b"runc:[2:INIT]"}
    assert not facts(stream.feed(fork(100, **runtime), fork(101, **runtime), exits(101, **runtime)))
    found = stream.feed(
        row(Kind.EXEC, 100, cgroup_id=CGROUP), fork(102, cgroup_id=CGROUP), exits(100, cgroup_id=CGROUP, status=4 << 8)
    )
    assert facts(found) == [LifeFact("started", WEB)]
    began_ns = int(found.rows["ts_ns"][found.rows["kind"] == Kind.CONTAINER][0])
    (stopped,) = facts(stream.feed(exits(102, cgroup_id=CGROUP, status=SIGKILL, ts_ns=began_ns + 7)))
    assert (stopped.action, stopped.exit_code, stopped.processes) == ("stopped", 4, 1)
    assert stopped.duration_ns == 7  # and not since its runtime forked it
    again = stream.feed(row(Kind.EXEC, 200, cgroup_id=CGROUP), exits(200, cgroup_id=CGROUP))
    assert [fact.action for fact in facts(again)] == ["started", "stopped"]


@pytest.mark.parametrize("cut", range(1, 6))
def test_who_runs_a_program_while_a_life_ends_begins_none(cut: int) -> None:
    rows = [
        row(Kind.EXEC, 100, cgroup_id=CGROUP),
        fork(102, cgroup_id=CGROUP),
        exits(100, cgroup_id=CGROUP),
        row(Kind.EXEC, 102, cgroup_id=CGROUP),
        exits(102, cgroup_id=CGROUP),
        row(Kind.EXEC, 200, cgroup_id=CGROUP),
    ]
    stream = Stream()
    told = facts(stream.feed(*rows[:cut])) + facts(stream.feed(*rows[cut:]))
    assert [fact.action for fact in told] == ["started", "stopped", "started"]


def test_in_the_namespace_of_another_container() -> None:
    stream = Stream(cgroup(CGROUP, WEB), cgroup(OTHER_CGROUP, JOB))
    stream.feed(first())
    inside = [(PIDNS, 9)]
    found = stream.feed(
        fork(110, inside, cgroup_id=OTHER_CGROUP, comm=b"runc:[1:CHILD]"),
        row(Kind.EXEC, 110, inside, cgroup_id=OTHER_CGROUP),
        end(100, 1, status=SIGKILL),
        exits(110, inside, cgroup_id=OTHER_CGROUP, status=SIGKILL),
    )
    assert [(fact.action, fact.container.name) for fact in facts(found)] == [
        ("started", "job"), ("stopped", "web"), ("stopped", "job"),
    ]  # fmt: skip
    assert facts(found)[1].processes == 1


def test_of_containers_that_share_one_that_lives_when_the_trace_begins() -> None:
    stream = Stream(cgroup(CGROUP, WEB), began_ns=10 * SECOND_NS)
    listed = [
        row(Kind.SNAPSHOT, tgid, cgroup_id=CGROUP, start_ns=start * SECOND_NS, ts_ns=10 * SECOND_NS)
        for tgid, start in ((101, 3), (100, 2))
    ]
    assert not facts(stream.feed(*listed))
    assert not facts(stream.feed(exits(101, cgroup_id=CGROUP, start_ns=3 * SECOND_NS)))
    assert [f.action for f in facts(stream.feed(exits(100, cgroup_id=CGROUP, start_ns=2 * SECOND_NS)))] == ["stopped"]


def test_who_comes_in_from_another_cgroup_begins_no_life() -> None:
    stream = Stream()
    moved = row(Kind.SNAPSHOT, 100, cgroup_id=CGROUP, flags=Flag.MOVED, comm=b"conmon")
    assert not facts(stream.feed(moved, exits(100, cgroup_id=CGROUP)))


def test_the_killer_of_the_first_process_is_that_of_the_life() -> None:
    stream, runc = Stream(), Killer(pid=33, comm="runc")
    found = stream.feed(first(), end(100, 1, status=SIGKILL), killers={1: runc})
    assert (facts(found)[1].signal, facts(found)[1].killed_by, facts(found)[1].oom) == ("SIGKILL", runc, False)


def test_out_of_memory() -> None:
    stream, killer = Stream(), Killer(kernel=True, reason="oom")
    found = stream.feed(
        first(),
        member(101, 7, comm=b"hog"),
        end(101, 7, status=SIGKILL, comm=b"hog"),
        end(100, 1, status=137 << 8),
        killers={2: killer},
    )
    assert kinds(found)[3:] == [Kind.EXIT, Kind.CONTAINER, Kind.EXIT, Kind.CONTAINER]
    _started, oom, stopped = facts(found)
    assert (oom.action, oom.victim, oom.victim_pid, oom.killed_by) == ("oom", "hog", 101, killer)
    assert (stopped.exit_code, stopped.oom) == (137, True)


def test_whether_the_oom_killer_did_it_is_not_known_where_nobody_saw_who_sent_the_signal() -> None:
    stream = Stream()
    assert facts(stream.feed(first(), end(100, 1, status=SIGKILL)))[1].oom is None


def test_an_end_that_was_lost_says_so() -> None:
    stream = Stream()
    stream.feed(first(), member(101, 7))
    found = stream.feed(end(101, 7, flags=Flag.INFERRED), end(100, 1, flags=Flag.INFERRED))
    (stopped,) = facts(found)
    assert (stopped.exit_code, stopped.signal, stopped.oom, stopped.doubt) == (None, None, None, LOST_END)
    assert found.rows["flags"][-1] == Flag.INFERRED


def test_a_command_that_could_not_be_run_says_so() -> None:
    found = Stream().feed(first(), end(100, 1, status=1 << 8, comm=b"runc:[2:INIT]"))
    assert (facts(found)[1].exit_code, facts(found)[1].doubt) == (1, NEVER_RAN)
    assert facts(Stream().feed(first(), end(100, 1, comm=b"sh")))[1].doubt is None


def test_a_beginning_that_was_lost_is_inferred() -> None:
    stream = Stream()
    found = stream.feed(row(Kind.SNAPSHOT, 100, [(PIDNS, 1)], cgroup_id=CGROUP, flags=Flag.INFERRED))
    assert [fact.action for fact in facts(found)] == ["started"]
    assert found.rows["flags"][-1] == Flag.INFERRED


@pytest.mark.parametrize("container", [None, WEB])
def test_namespaces_and_cgroups_of_no_container_have_no_lives(container: Container | None) -> None:
    stream = Stream(cgroup(CGROUP, container), cgroup(OTHER_CGROUP))
    found = stream.feed(
        first(cgroup_id=OTHER_CGROUP), end(100, 1, cgroup_id=OTHER_CGROUP), row(Kind.EXEC, 9, cgroup_id=OTHER_CGROUP)
    )
    assert not facts(found)


def test_labels_without_end_are_left_out_of_the_row() -> None:
    many = Container("c" * 64, "docker", "many", labels={str(number): "x" * 100 for number in range(1000)})
    stream = Stream(cgroup(CGROUP, many))
    assert facts(stream.feed(first()))[0].container == Container("c" * 64, "docker", "many")


def test_the_parts_of_other_rows_stay_with_them() -> None:
    stream = Stream()
    run = row(Kind.EXEC, 100, [(PIDNS, 1)], cgroup_id=CGROUP, exe=b"/bin/sh", args=[b"sh", b"-c"])
    found = stream.feed(first(), run, end(100, 1, exe=b"/bin/sh", args=[b"sh"]))
    assert (found.payload(2).exe, found.payload(2).args, found.payload(3).args) == (b"/bin/sh", b"sh\0-c\0", b"sh\0")
