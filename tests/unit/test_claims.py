"""From an engine's word for first processes to their PID namespaces."""

from builders import PIDNS, SECOND_NS, WEB, batch, row

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.claims import Claims
from tracer.stream.metadata import CgroupFact, Container
from tracer.stream.pidns import PidnsId
from tracer.stream.schema import Kind

DB = Container("d" * 64, "docker", "db")
FACTS = {1: CgroupFact("/mine"), 10: CgroupFact("/docker/d", DB)}


def led(*rows: tuple[int, list[tuple[int, int]], int]) -> Claims:
    """rows: PID, numbers inside, cgroup; 100 is web's first process."""
    listed = batch(*(row(Kind.SNAPSHOT, tgid, inside, cgroup_id=cgroup_id) for tgid, inside, cgroup_id in rows))
    return Claims({100: WEB.id}, listed, FACTS, lambda _id: WEB)


def owner(told: Batch, inum: int) -> Container | None:
    attribution = Attribution()
    list(attribution.split_and_learn(told))
    return attribution.owner(PidnsId(inum, 1))


def test_the_namespace_that_it_began() -> None:
    deep = [(PIDNS + level, 9 - level) for level in range(8)] + [(77, 1)]
    for inside in ([(77, 1)], deep):
        found = led((99, [(PIDNS, 1)], 1), (100, inside, 1), (101, [*inside[:-1], (77, 2)], 1))
        told = found.owners(5 * SECOND_NS)
        assert (owner(told, 77), owner(told, PIDNS), found.indistinct) == (WEB, None, [])
        assert told.rows["ts_ns"].tolist() == [5 * SECOND_NS]


def test_what_nothing_tells_apart() -> None:
    for inside, cgroup_id in (([], 1), ([(PIDNS, 7)], 1), ([(PIDNS, 1)], 10)):
        found = led((100, inside, cgroup_id))
        assert (found.indistinct, len(found.owners(0))) == ([(WEB, 100)], 0)


def test_who_has_ended_meanwhile() -> None:
    found = led((101, [(PIDNS, 1)], 1))
    assert (found.indistinct, len(found.owners(0))) == ([], 0)


def test_a_lie_that_the_kernel_contradicts_is_not_believed() -> None:
    """Web has a process in a cgroup of its own, in a namespace that the reported one is not in."""
    facts = FACTS | {20: CgroupFact("/docker/web", WEB)}
    for inside, cgroup_id in (([(77, 1)], 1), ([(77, 1)], 10), ([], 1)):
        listed = batch(
            row(Kind.SNAPSHOT, 100, inside, cgroup_id=cgroup_id), row(Kind.SNAPSHOT, 200, [(PIDNS, 7)], cgroup_id=20)
        )
        found = Claims({100: WEB.id}, listed, facts, lambda _id: WEB)
        assert (found.refuted, found.indistinct, len(found.owners(0))) == ([(WEB, 100)], [], 0)
    listed = batch(row(Kind.SNAPSHOT, 100, [(77, 1)], cgroup_id=1), row(Kind.SNAPSHOT, 200, [(77, 9)], cgroup_id=20))
    believed = Claims({100: WEB.id}, listed, facts, lambda _id: WEB)
    assert (believed.refuted, owner(believed.owners(0), 77)) == ([], WEB)


def test_a_first_process_in_the_cgroup_of_a_container_that_has_another() -> None:
    """It was moved there: the namespace that it has begun is still its own container's."""
    mine, other = (100, [(77, 1)], 10), (300, [(78, 1)], 10)
    found = led(mine, other)
    assert (owner(found.owners(0), 77), owner(found.owners(0), 78), found.indistinct) == (WEB, None, [])
