"""Which container a row belongs to: by cgroup, else by namespace; never by what comes after it."""

import builders
import msgspec
import numpy as np
import pytest
from builders import PIDNS, WEB

from tracer.stream.attribution import Attribution, reduce
from tracer.stream.batch import Batch, Payload
from tracer.stream.metadata import CgroupFact, Container, Inner, LifeFact
from tracer.stream.pidns import PidnsId, chain_of
from tracer.stream.schema import Kind
from tracer.system.host_pidns import INITIAL_PIDNS_INUM

DB = Container("b" * 64, "docker", "db")
INNER = Container("c" * 64, "docker", "inner")


def labels(*batches: Batch) -> list[str | None]:
    """What each row is told as, asked as soon as its part is given."""
    attribution, told = Attribution(), []
    for batch in batches:
        for part in attribution.split_and_learn(batch):
            found = [attribution.of_row(part, index) for index in range(len(part))]
            told += [container.label if container else None for container in found]
    return told


def test_by_cgroup_also_in_a_shared_namespace() -> None:
    batch = builders.batch(
        builders.cgroup(10, WEB),
        builders.cgroup(11, DB),
        builders.fork(100, [(PIDNS, 1)], cgroup_id=10),
        builders.fork(101, [(PIDNS, 2)], cgroup_id=11),
        builders.fork(102, cgroup_id=11),
        builders.fork(103, cgroup_id=1),
    )
    assert labels(batch)[2:] == ["web", "db", "db", None]


def test_a_name_that_no_engine_knows_takes_nobody_from_a_container_that_one_does() -> None:
    known = msgspec.structs.replace(WEB, engine="docker")
    forged, shares = Container("f" * 64, "docker"), msgspec.structs.replace(DB, engine="docker")
    for other, shown in ((forged, "web"), (shares, "db")):
        batch = builders.batch(
            builders.cgroup(10, known),
            builders.cgroup(11, other),
            builders.fork(100, [(PIDNS, 1)], cgroup_id=10),
            builders.fork(101, [(PIDNS, 2)], cgroup_id=11),
        )
        assert labels(batch)[2:] == ["web", shown]
    late = builders.batch(
        builders.cgroup(10, known),
        builders.cgroup(11, forged, pending=True),  # its engine may yet say that it is one
        builders.fork(100, [(PIDNS, 1)], cgroup_id=10),
        builders.fork(101, [(PIDNS, 2)], cgroup_id=11),
    )
    assert labels(late)[2:] == ["web", "f" * 12]


def test_a_foreign_cgroup_inside_belongs_to_the_owner_of_the_namespace() -> None:
    batch = builders.batch(
        builders.cgroup(10, WEB),
        builders.fork(100, [(PIDNS, 1)], cgroup_id=10),
        builders.fork(101, [(PIDNS, 2)], cgroup_id=1),
        builders.fork(102, [(PIDNS, 3), (PIDNS + 1, 1)], cgroup_id=1),
    )
    assert labels(batch)[1:] == ["web", "web", "web"]


def test_a_later_generation_has_another_owner() -> None:
    batch = builders.batch(
        builders.cgroup(10, WEB),
        builders.fork(100, [(PIDNS, 1, 5)], cgroup_id=10),
        builders.fork(101, [(PIDNS, 2, 5)], cgroup_id=1),
        builders.fork(200, [(PIDNS, 1, 6)], cgroup_id=1),
        builders.fork(201, [(PIDNS, 2, 6)], cgroup_id=1),
    )
    assert labels(batch)[1:] == ["web", "web", None, None]


def test_what_was_told_later_does_not_count_however_a_source_cuts() -> None:
    rows = [
        builders.fork(99, [(PIDNS, 2)], cgroup_id=1),
        builders.cgroup(10, WEB),
        builders.fork(100, [(PIDNS, 1)], cgroup_id=10),
        builders.fork(101, [(PIDNS, 3)], cgroup_id=1),
    ]
    whole = labels(builders.batch(*rows))
    assert whole == [None, "web", "web", "web"]
    for cut in range(1, len(rows)):
        assert labels(builders.batch(*rows[:cut]), builders.batch(*rows[cut:])) == whole


def test_a_name_that_comes_late_is_everyones_from_then_on() -> None:
    nameless = Container(WEB.id, "docker")
    batch = builders.batch(
        builders.cgroup(10, nameless),
        builders.fork(100, [(PIDNS, 1)], cgroup_id=10),
        builders.cgroup(10, WEB),
        builders.fork(101, [(PIDNS, 2)], cgroup_id=10),
        builders.fork(102, [(PIDNS, 3)], cgroup_id=1),
    )
    assert labels(batch)[1:] == [WEB.id[:12], "web", "web", "web"]


def test_around_a_nested_container_is_the_outer_one() -> None:
    attribution = Attribution()
    batch = builders.batch(
        builders.cgroup(10, WEB),
        builders.cgroup(20, INNER),
        builders.fork(100, [(PIDNS, 1)], cgroup_id=10),
        builders.fork(101, [(PIDNS, 9), (PIDNS + 1, 1)], cgroup_id=20),
    )
    list(attribution.split_and_learn(batch))
    assert attribution.enclosing(chain_of(batch, 3), 20) == (INNER, WEB)


def test_a_second_life_is_numbered() -> None:
    again = Container(WEB.id, "docker", "web", incarnation=2)
    assert again.label == "web#2"
    assert Container("d" * 64, "podman").label == "d" * 12
    assert Container("a-box-with-a-name", "lxc").label == "a-box-with-a-name"


def test_the_hosts_own_processes_are_no_ones() -> None:
    batch = builders.batch(builders.cgroup(10, WEB), builders.fork(1, [], cgroup_id=10), builders.fork(7, cgroup_id=1))
    assert batch.rows["chain"]["inum"][1, 0] == INITIAL_PIDNS_INUM
    assert labels(batch)[1:] == ["web", None]  # a first process of the host's namespace does not make it web's


# what comes late, and what an engine says


def test_a_container_that_is_told_late_owns_the_namespace_that_it_had_begun() -> None:
    batch = builders.batch(
        builders.cgroup(10, pending=True),
        builders.fork(100, [(PIDNS, 1)], cgroup_id=10),
        builders.cgroup(10, WEB),
        builders.fork(101, [(PIDNS, 2)], cgroup_id=1),
    )
    assert labels(batch)[1:] == [None, "web", "web"]


def test_a_namespace_is_a_containers_by_the_engines_word() -> None:
    attribution = Attribution()
    batch = builders.batch(
        builders.cgroup(1, path="/mine"),
        builders.owner(100, [(PIDNS, 1)], WEB, cgroup_id=1),
        builders.row(Kind.SNAPSHOT, 100, [(PIDNS, 1)], cgroup_id=1),
        builders.fork(101, [(PIDNS, 2)], cgroup_id=1),
        builders.fork(102, [(PIDNS + 1, 1)], cgroup_id=1),
    )
    told = [attribution.of_row(part, at) for part in attribution.split_and_learn(batch) for at in range(len(part))]
    assert told[2:] == [WEB, WEB, None]
    assert attribution.changes == 1


def test_the_arguments_of_a_first_process_are_nobodys_word() -> None:
    attribution = Attribution()
    forged = msgspec.json.encode(WEB)
    first = builders.row(Kind.SNAPSHOT, 100, [(PIDNS, 1)], args=[forged])
    batch = builders.batch(first, builders.row(Kind.PIDNS, 101, [(PIDNS + 1, 1)], args=[b"sh", b"-c", b"x"]))
    for part in attribution.split_and_learn(batch):
        (reduced,) = attribution.split_and_learn(reduce(part, np.zeros(len(part), bool)))
        assert (reduced.rows["kind"] == Kind.PIDNS).all()
    assert attribution.owner(PidnsId(PIDNS, 1)) is None


def test_what_is_known_of_namespaces_alone_goes_on_without_commands_in_its_place() -> None:
    first = builders.row(Kind.SNAPSHOT, 100, [(PIDNS + level, 9 - level) for level in range(8)] + [(1, 1)], args=[b"a"])
    other = builders.row(Kind.EXEC, 101, [(PIDNS, 2)], exe=b"/x", args=[b"y", b"z"])
    batch = builders.batch(first, other, first, other)
    reduced = reduce(batch, np.array([False, True, False, True]))
    assert reduced.rows["kind"].tolist() == [Kind.PIDNS, Kind.EXEC, Kind.PIDNS, Kind.EXEC]
    assert [reduced.payload(at) for at in (1, 3)] == [batch.payload(1)] * 2
    assert reduced.payload(0) == reduced.payload(2) == Payload(batch.payload(0).deep, b"", b"")
    assert chain_of(reduced, 2) == chain_of(batch, 2)


# what a name does not prove


def inner(cgroup_id: int, container: Container, around: Container | None = None, within: int = 0) -> builders.Row:
    """A cgroup that claims to be a container's: below that of the container around it, or in a user's."""
    claim = Inner(cgroup_id, container, within)
    return builders.cgroup(cgroup_id, around, fact=CgroupFact("/", around, root=within, inner=(claim,)))


def own(cgroup_id: int, container: Container) -> builders.Row:
    return builders.cgroup(cgroup_id, container, fact=CgroupFact("/", container, root=cgroup_id))


def enclosing(batch: Batch) -> list[list[str]]:
    """For each row but facts the labels of the containers that it is in."""
    attribution, found = Attribution(), []
    for part in attribution.split_and_learn(batch):
        for at in np.flatnonzero(part.rows["kind"] != Kind.CGROUP).tolist():
            around = attribution.enclosing(chain_of(part, at), int(part.rows["cgroup_id"][at]))
            assert (attribution.of_row(part, at) or None) == (around[0] if around else None)
            found.append([container.label for container in around])
    return found


def test_a_cgroup_below_a_containers_does_not_take_its_processes_away() -> None:
    """Whoever may make cgroups in web moves there, with a namespace of its own and without."""
    batch = builders.batch(
        own(10, WEB),
        inner(20, DB, WEB, within=10),
        builders.fork(100, [(PIDNS, 1)], cgroup_id=10),
        builders.fork(101, [(PIDNS, 2)], cgroup_id=20),
        builders.fork(102, [(PIDNS, 3), (PIDNS + 1, 1)], cgroup_id=20),
        builders.fork(103, [(PIDNS, 2)], cgroup_id=20),
    )
    assert enclosing(batch) == [["web"], ["web"], ["db", "web"], ["web"]]


def test_the_first_process_that_sits_in_such_a_cgroup_is_still_the_containers() -> None:
    """As the list of processes shows it, which has no memory."""
    batch = builders.batch(
        own(10, WEB),
        inner(20, DB, WEB, within=10),
        builders.row(Kind.SNAPSHOT, 100, [(PIDNS, 1)], cgroup_id=20),
        builders.row(Kind.SNAPSHOT, 101, [(PIDNS, 2)], cgroup_id=10),
    )
    assert enclosing(batch) == [["web"], ["web"]]


def test_a_container_of_the_hosts_namespace_does_not_lose_its_processes_to_a_name() -> None:
    batch = builders.batch(
        own(10, WEB),
        inner(20, DB, WEB, within=10),
        builders.fork(100, cgroup_id=10),
        builders.fork(101, cgroup_id=20),
        builders.fork(102, [(PIDNS, 1)], cgroup_id=20),
    )
    assert enclosing(batch) == [["web"], ["web"], ["web"]]


def test_a_users_cgroup_is_a_container_for_who_began_there_alone() -> None:
    batch = builders.batch(
        inner(20, INNER),
        builders.fork(100, cgroup_id=20),
        builders.fork(101, [(PIDNS, 1)], cgroup_id=20),
        builders.fork(102, [(PIDNS, 2)], cgroup_id=20),
        builders.fork(103, [(PIDNS, 3)], cgroup_id=1),
        builders.fork(104, cgroup_id=20),
    )
    assert enclosing(batch) == [[], ["inner"], ["inner"], ["inner"], []]


def two_containers(*more: builders.Row) -> Batch:
    return builders.batch(
        own(10, WEB),
        own(11, DB),
        builders.fork(100, [(PIDNS, 1)], cgroup_id=10),
        builders.fork(200, [(PIDNS + 1, 1)], cgroup_id=11),
        *more,
    )


def moved(exec_id: int, ts_ns: int = 2 * builders.SECOND_NS) -> builders.Row:
    return builders.row(Kind.MOVE, 100, [(PIDNS, 1)], cgroup_id=11, exec_id=exec_id, ts_ns=ts_ns)


@pytest.mark.parametrize("exec_id", [1, 2])
def test_a_first_process_that_is_moved_stays_its_own_containers(exec_id: int) -> None:
    child = builders.fork(101, [(PIDNS, 2)], cgroup_id=11)
    other = builders.fork(201, [(PIDNS + 1, 2)], cgroup_id=11)
    guest = builders.fork(300, cgroup_id=11)  # of the host's namespace: docker exec, before it enters
    found = enclosing(two_containers(moved(exec_id), child, other, guest))
    assert found[2:] == [["web"], ["web"], ["db"], ["db"]]


def test_a_young_first_process_that_is_moved_later_stays_its_own_containers() -> None:
    """Of one that a list shows it is not known whether it runs its program yet."""
    batch = builders.batch(
        own(10, WEB),
        own(11, DB),
        builders.row(Kind.SNAPSHOT, 100, [(PIDNS, 1)], cgroup_id=10, exec_id=2, ts_ns=builders.SECOND_NS + 9),
        builders.row(Kind.SNAPSHOT, 200, [(PIDNS + 1, 1)], cgroup_id=11, ts_ns=builders.SECOND_NS + 9),
        moved(2, ts_ns=3 * builders.SECOND_NS),
        builders.fork(101, [(PIDNS, 2)], cgroup_id=11),
    )
    assert enclosing(batch)[-1] == ["web"]


def test_one_that_its_runtime_moves_before_it_runs_anything_begins_there() -> None:
    """crun and LXC fork it where they are themselves, here in a container."""
    batch = builders.batch(
        own(10, WEB),
        own(11, DB),
        builders.fork(100, [(PIDNS, 1)], cgroup_id=10),
        builders.fork(200, [(PIDNS, 9), (PIDNS + 1, 1)], cgroup_id=10),
        builders.row(Kind.MOVE, 200, [(PIDNS, 9), (PIDNS + 1, 1)], cgroup_id=11, ts_ns=builders.SECOND_NS + 1),
        builders.fork(201, [(PIDNS, 10), (PIDNS + 1, 2)], cgroup_id=11),
    )
    assert enclosing(batch) == [["web"], ["web"], ["db", "web"], ["db", "web"]]


def test_a_container_that_shares_a_namespace_keeps_its_own() -> None:
    """--pid=container:web: db has no namespace, also where one of its processes makes one."""
    batch = builders.batch(
        own(10, WEB),
        own(11, DB),
        builders.fork(100, [(PIDNS, 1)], cgroup_id=10),
        builders.fork(200, [(PIDNS, 5)], cgroup_id=11),
        builders.fork(201, [(PIDNS, 6), (PIDNS + 1, 1)], cgroup_id=11),
        builders.fork(202, [(PIDNS, 7)], cgroup_id=11),
    )
    assert enclosing(batch) == [["web"], ["db"], ["db", "web"], ["db"]]


def test_the_engine_says_whose_a_namespace_is_that_began_in_anothers_cgroup() -> None:
    """web's first process was moved before the list of processes was read."""
    batch = builders.batch(
        own(10, WEB),
        own(11, DB),
        builders.owner(100, [(PIDNS, 1)], WEB, cgroup_id=11),
        builders.row(Kind.SNAPSHOT, 100, [(PIDNS, 1)], cgroup_id=11),
        builders.row(Kind.SNAPSHOT, 200, [(PIDNS + 1, 1)], cgroup_id=11),
        builders.row(Kind.SNAPSHOT, 201, [(PIDNS + 1, 2)], cgroup_id=11),
        builders.row(Kind.SNAPSHOT, 101, [(PIDNS, 2)], cgroup_id=11),
    )
    assert enclosing(batch)[1:] == [["web"], ["db"], ["db"], ["web"]]


def test_a_row_about_a_container_has_the_name_that_its_other_rows_have() -> None:
    nameless = Container(WEB.id, "docker")
    said = msgspec.json.encode(LifeFact("started", nameless))
    started = builders.row(Kind.CONTAINER, 0, [(PIDNS, 1)], cgroup_id=10, args_len=len(said), args_total=len(said))
    batch = builders.batch(builders.fork(100, [(PIDNS, 1)], cgroup_id=10), builders.Row(started.event, said))
    for named in (nameless, WEB):
        attribution = Attribution()
        list(attribution.split_and_learn(builders.batch(builders.cgroup(10, named))))
        (part,) = attribution.split_and_learn(batch)
        assert [attribution.of_row(part, at) for at in range(2)] == [named, named]
