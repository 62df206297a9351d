"""Sessions: who begins one and who does not, what is said of them, and that every reader learns the same."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from builders import PIDNS, SECOND_NS, Row, batch, cgroup, exits, fork, row

from tracer.secrets.redactor import Redactor
from tracer.stream.attribution import Attribution, fact_of
from tracer.stream.batch import Batch
from tracer.stream.metadata import Container, EngineEvent, ExecFact, Killer, SessionFact
from tracer.stream.schema import Flag, Kind
from tracer.stream.session_execs import PATIENCE_NS, SessionExecs
from tracer.stream.sessions import LEFT_NS, PAST_NS, Sessions
from tracer.stream.table import Table

WEB, DB = Container("a" * 64, "docker", "web"), Container("b" * 64, "docker", "db")
OF_WEB, OF_DB, OF_HOST = 31, 32, 1
SHIM = {"parent_tgid": 50, "parent_start_ns": 5}
INSIDE = [(PIDNS, 1)]


class Stream:
    """What stands around the sessions of a live stream. rows: all that it has shown."""

    def __init__(self) -> None:
        self.attribution, self.table = Attribution(), Table()
        self.sessions = Sessions(self.attribution, self.table)
        self.rows = Batch.concat([])

    def take(self, *rows: Row) -> list[int]:
        """The sessions of these rows. They come in one batch."""
        shown = []
        for part in self.attribution.split_and_learn(batch(*rows)):
            shown.append(self.sessions.take(part))
            self.table.apply(shown[-1])
        self.rows = Batch.concat([self.rows, *shown])
        whole = Batch.concat(shown).rows
        found: list[int] = whole["session"][(whole["kind"] != Kind.SESSION) & (whole["kind"] != Kind.CGROUP)].tolist()
        return found

    def due(self, until_ns: int) -> None:
        """Nothing happens until then."""
        self.rows = Batch.concat([self.rows, *self.sessions.due(until_ns)])

    def said(self, action: str) -> list[SessionFact]:
        """What was said of sessions."""
        places = np.flatnonzero(self.rows.rows["kind"] == Kind.SESSION).tolist()
        facts = [fact_of(self.rows, at) for at in places]
        return [fact for fact in facts if isinstance(fact, SessionFact) and fact.action == action]


@pytest.fixture
def stream() -> Stream:
    """A stream that has seen web begin."""
    stream = Stream()
    init = fork(10, INSIDE, start_ns=10, cgroup_id=OF_WEB, parent_vtgid=0, **SHIM)
    assert stream.take(cgroup(OF_WEB, WEB), cgroup(OF_DB, DB), cgroup(OF_HOST), init) == [0]
    return stream


def visitor(tgid: int = 60, at: int = 60, comm: bytes = b"runc:[1:CHILD]", **fields: Any) -> Row:
    """A process comes into web's PID namespace."""
    given = {"cgroup_id": OF_WEB, "parent_vtgid": 0, "old_tid": SHIM["parent_tgid"], **SHIM} | fields
    return fork(tgid, [(PIDNS, tgid % 50 + 5)], start_ns=at, comm=comm, **given)


def child(tgid: int, at: int, parent: int, parent_at: int, **fields: Any) -> Row:
    """A process of web is born."""
    given = {"cgroup_id": OF_WEB, "parent_vtgid": 7, "old_tid": parent} | fields
    return fork(tgid, [(PIDNS, tgid)], start_ns=at, parent_tgid=parent, parent_start_ns=parent_at, **given)


def runs(tgid: int, at: int, *args: bytes, **fields: Any) -> Row:
    """A process of web runs a program."""
    given = {"cgroup_id": OF_WEB, "parent_vtgid": 0} | fields
    return row(
        Kind.EXEC, tgid, [(PIDNS, tgid % 50 + 5)], start_ns=at, exe=b"/bin/" + args[0], args=args, comm=args[0], **given
    )


def test_a_session_begins_and_says_what_it_runs_and_how_it_ends(stream: Stream) -> None:
    rows = [
        visitor(), runs(60, 60, b"sh", uid=1000), child(61, 61, 60, 60), child(62, 62, 61, 61), exits(62, start_ns=62),
        exits(60, INSIDE, start_ns=60, status=3 << 8, ts_ns=SECOND_NS),
    ]  # fmt: skip
    assert stream.take(*rows) == [1] * 6
    assert not stream.said("ended")  # who is left may be about to end too
    stream.due(SECOND_NS + LEFT_NS)
    (began,), (described,), (ended,) = map(stream.said, ("began", "described", "ended"))
    assert (began.container, began.pids, began.kind, began.since_ns) == (WEB, [60, 15], None, 60)
    assert (described.command, described.user) == (["sh"], "1000")
    assert (ended.exit_code, ended.signal, ended.duration_ns, ended.left) == (3, None, SECOND_NS - 60, [61])
    assert stream.take(exits(61, start_ns=61)) == [1]  # marked after the session's end
    assert stream.take(child(63, 63, 10, 10)) == [0]


END_NS = SECOND_NS
ENDS = exits(60, INSIDE, start_ns=60, ts_ns=END_NS)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("others", "told_ns", "left"),
    [
        ([], END_NS, []),
        ([exits(61, start_ns=61, ts_ns=END_NS + 1)], END_NS + 1, []),  # as after a hang-up
        ([exits(61, start_ns=61, ts_ns=END_NS + LEFT_NS)], END_NS + LEFT_NS, [61]),
        ([child(62, 62, 61, 61, ts_ns=END_NS + 1), exits(61, start_ns=61, ts_ns=END_NS + 2)], END_NS + LEFT_NS, [62]),
    ],
    ids=["alone", "dies at once", "dies later", "has a child"],
)
def test_left_is_who_lives_a_moment_later(
    others: list[Row], told_ns: int, left: list[int], at_once: bool, stream: Stream
) -> None:
    rows = [visitor(), *[child(61, 61, 60, 60)] * bool(others), ENDS, *others]
    later = child(70, 70, 10, 10, ts_ns=END_NS + 2 * LEFT_NS)
    for some in [[*rows, later]] if at_once else [[one] for one in (*rows, later)]:
        stream.take(*some)
    (ended,) = stream.said("ended")
    assert (ended.left, ended.duration_ns) == (left, END_NS - 60)
    times = stream.rows.rows["ts_ns"][stream.rows.rows["kind"] == Kind.SESSION]
    assert times.tolist()[-1] == told_ns
    whole = stream.rows.rows["ts_ns"]
    assert (np.diff(whole[whole >= END_NS].astype(np.int64)) >= 0).all()


def test_at_the_end_of_the_stream_left_is_who_lives_then(stream: Stream) -> None:
    stream.take(visitor(), child(61, 61, 60, 60), ENDS)
    assert stream.sessions.due_in_ns(END_NS) == LEFT_NS
    stream.due(END_NS + LEFT_NS - 1)
    assert not stream.said("ended")
    stream.rows = Batch.concat([stream.rows, *stream.sessions.due(math.inf)])
    assert [fact.left for fact in stream.said("ended")] == [[61]]
    assert stream.sessions.due_in_ns(END_NS) == math.inf


def moved(cgroup_id: int, **fields: Any) -> Row:
    """The visitor is put into another cgroup."""
    return row(
        Kind.MOVE, 60, [(PIDNS, 15)], start_ns=60, cgroup_id=cgroup_id, comm=b"runc:[1:CHILD]", parent_vtgid=0, **fields
    )


@pytest.mark.parametrize("at_once", [True, False])
def test_a_visitor_that_its_runtime_moves_is_one(at_once: bool, stream: Stream) -> None:
    rows = [visitor(cgroup_id=OF_HOST), moved(OF_WEB), runs(60, 60, b"sh")]
    marks = stream.take(*rows) if at_once else [mark for one in rows for mark in stream.take(one)]
    assert marks == [1] * 3
    assert len(stream.said("began")) == len(stream.said("described")) == 1


def test_a_visitor_of_a_container_that_shares_the_namespace_is_that_ones(stream: Stream) -> None:
    stream.take(visitor(cgroup_id=OF_HOST), moved(OF_DB), runs(60, 60, b"sh", cgroup_id=OF_DB))
    (described,) = stream.said("described")
    assert described.container == DB
    assert stream.sessions.match(said(60, DB), 0) == 1


def test_rows_of_sessions_stand_where_they_belong(stream: Stream) -> None:
    stream.take(visitor(), runs(60, 60, b"sh"), exits(60, start_ns=60, status=9))
    kinds = [Kind(kind).name for kind in stream.rows.rows["kind"][4:].tolist()]
    assert kinds == ["SESSION", "FORK", "SESSION", "EXEC", "EXIT", "SESSION"]
    assert stream.said("ended")[0].signal == "SIGKILL"
    assert set(stream.rows.rows["session"][4:].tolist()) == {1}


def test_who_is_no_visitor(stream: Stream) -> None:
    born_inside = child(61, 61, 10, 10, parent_vtgid=1)
    number_one_of_a_namespace_inside = fork(
        62, [(PIDNS, 62), (PIDNS + 1, 1)], start_ns=62, cgroup_id=OF_WEB, parent_vtgid=0, parent_tgid=10,
        parent_start_ns=10,
    )  # fmt: skip
    entered_it_from_inside = fork(
        63, [(PIDNS, 63), (PIDNS + 1, 2)], start_ns=63, cgroup_id=OF_WEB, parent_vtgid=0, parent_tgid=10,
        parent_start_ns=10,
    )  # fmt: skip
    by_clone_parent = fork(64, [(PIDNS, 64)], start_ns=64, cgroup_id=OF_WEB, parent_vtgid=0, old_tid=10, **SHIM)
    on_the_host = fork(65, start_ns=65, cgroup_id=OF_HOST)
    rows = [born_inside, number_one_of_a_namespace_inside, entered_it_from_inside, by_clone_parent, on_the_host]
    assert stream.take(*rows) == [0] * 5
    adopted = row(Kind.SNAPSHOT, 66, [(PIDNS, 66)], start_ns=66, cgroup_id=OF_WEB, parent_vtgid=1, parent_tgid=10)
    assert stream.take(adopted) == [0]


def test_nobody_is_one_because_the_first_process_was_not_reported_yet() -> None:
    """A stream may begin with what was reported ahead of its list."""
    stream = Stream()
    ahead = [child(61, 61, 10, 10), child(62, 62, 10, 10), child(63, 63, 10, 10)]
    init = row(Kind.SNAPSHOT, 10, INSIDE, start_ns=10, cgroup_id=OF_WEB, parent_tgid=50, parent_start_ns=5)
    assert stream.take(cgroup(OF_WEB, WEB), *ahead, init, child(64, 64, 10, 10)) == [0] * 5
    assert stream.take(visitor(), child(65, 65, 60, 60)) == [1, 1]


def test_nsenter_is_known_by_its_parent(stream: Stream) -> None:
    stream.take(visitor(comm=b"nsenter", cgroup_id=OF_HOST))
    (began,) = stream.said("began")
    assert (began.kind, began.asked_by) == ("enter", Killer(pid=50, comm="nsenter"))


def test_a_visitor_who_was_there_before_is_known_by_its_parent(stream: Stream) -> None:
    seen: dict[str, Any] = {"cgroup_id": OF_WEB, "parent_vtgid": 0, **SHIM}
    root = row(Kind.SNAPSHOT, 60, [(PIDNS, 15)], start_ns=60, args=[b"sh"], exe=b"/bin/sh", **seen)
    below: dict[str, Any] = {"cgroup_id": OF_WEB, "parent_vtgid": 15, "parent_tgid": 60, "parent_start_ns": 60}
    assert stream.take(row(Kind.SNAPSHOT, 59, [(PIDNS, 16)], start_ns=61, **below), root) == [1, 1]
    (began,) = stream.said("began")
    assert (began.kind, began.command, began.asked_by) == (None, ["sh"], None)


def test_a_session_in_a_container_inside_is_its_own(stream: Stream) -> None:
    inner = PIDNS + 1
    init = fork(70, [(PIDNS, 70), (inner, 1)], start_ns=70, cgroup_id=OF_DB, parent_vtgid=0, parent_tgid=10)
    stream.take(visitor(), init)
    runc = child(61, 61, 60, 60)
    came = fork(
        71, [(PIDNS, 71), (inner, 9)], start_ns=71, cgroup_id=OF_DB, parent_vtgid=0, parent_tgid=61,
        parent_start_ns=61, comm=b"runc:[1:CHILD]",
    )  # fmt: skip
    assert stream.take(runc, came) == [1, 2]
    assert stream.said("began")[1].container == DB


def host(kind: Kind, tgid: int, at: int, comm: bytes, **fields: Any) -> Row:
    """A process of db, which has no PID namespace of its own."""
    given = {"cgroup_id": OF_DB, "parent_vtgid": 50, **SHIM} | fields
    return row(kind, tgid, start_ns=at, comm=comm, exe=b"/bin/sh" if kind == Kind.EXEC else b"", **given)


def test_without_a_namespace_of_its_own_the_first_program_is_the_containers(stream: Stream) -> None:
    enters = {"flags": Flag.MOVED}
    assert stream.take(host(Kind.SNAPSHOT, 80, 80, b"runc:[2:INIT]", **enters), host(Kind.EXEC, 80, 80, b"sh")) == [
        0,
        0,
    ]
    by_init = {"parent_tgid": 80, "parent_start_ns": 80, "old_tid": 80}
    assert stream.take(host(Kind.FORK, 81, 81, b"sh", **by_init)) == [0]
    comes = [host(Kind.SNAPSHOT, 90, 90, b"runc:[2:INIT]", **enters), host(Kind.EXEC, 90, 90, b"sh")]
    below = {"parent_tgid": 90, "parent_start_ns": 90, "old_tid": 90}
    assert stream.take(*comes, host(Kind.FORK, 91, 91, b"sh", **below)) == [0, 1, 1]
    assert stream.said("began")[0].kind is None


def test_runtimes_that_put_their_first_process_into_the_cgroup(stream: Stream) -> None:
    """As newer ones do (CLONE_INTO_CGROUP): the one that becomes the program is a grandchild."""
    stream.take(host(Kind.SNAPSHOT, 80, 80, b"sh"))
    outside = {"parent_tgid": 40, "parent_start_ns": 4, "old_tid": 40}
    first = host(Kind.FORK, 90, 90, b"runc", **outside)
    again = row(Kind.EXEC, 90, start_ns=90, comm=b"6", exe=b"/proc/self/fd/6", cgroup_id=OF_DB)
    second = host(Kind.FORK, 91, 91, b"runc:[0:PARENT]", parent_tgid=90, parent_start_ns=90, old_tid=90)
    third = host(Kind.FORK, 92, 92, b"runc:[1:CHILD]", parent_tgid=90, parent_start_ns=90, old_tid=91)
    assert stream.take(first, again, second, third) == [0] * 4
    assert stream.take(host(Kind.EXEC, 92, 92, b"sh")) == [1]


@pytest.mark.parametrize("at_once", [True, False])
def test_who_makes_a_container_by_hand_is_no_visitor(at_once: bool, stream: Stream) -> None:
    """It enters the cgroup, and has its child begin a PID namespace there."""
    child_of = {"parent_tgid": 80, "parent_start_ns": 80, "old_tid": 80, "parent_vtgid": 0}
    first = fork(81, [(PIDNS + 1, 1)], start_ns=81, cgroup_id=OF_DB, comm=b"unshare", **child_of)
    rows = [host(Kind.SNAPSHOT, 80, 80, b"sh", flags=Flag.MOVED), host(Kind.EXEC, 80, 80, b"unshare"), first]
    marks = stream.take(*rows) if at_once else [mark for one in rows for mark in stream.take(one)]
    assert marks == [0] * 3
    later = host(Kind.SNAPSHOT, 95, 95, b"bash", flags=Flag.MOVED)
    assert stream.take(later) == [1]


def test_who_is_moved_into_a_cgroup_comes_from_outside(stream: Stream) -> None:
    stream.take(host(Kind.SNAPSHOT, 80, 80, b"sh"))
    moved = host(Kind.SNAPSHOT, 95, 95, b"bash", flags=Flag.MOVED)
    assert stream.take(moved, host(Kind.FORK, 96, 96, b"bash", parent_tgid=95, parent_start_ns=95, old_tid=95)) == [
        1,
        1,
    ]
    assert stream.said("began")[0].kind == "enter"
    assert stream.take(host(Kind.SNAPSHOT, 97, 97, b"orphan")) == [0]  # of a list nobody knows who began it


def said(tgid: int | None = 60, container: Container = WEB, **fields: Any) -> ExecFact:
    """What an engine says of an exec."""
    return ExecFact("e" * 64, container.id, tgid, fields.pop("user", "www"), ["sh", "-c", "true"], **fields)


def test_an_engines_word_is_matched_by_pid_and_container(stream: Stream) -> None:
    stream.take(visitor())
    assert stream.sessions.expects(WEB.id)
    assert not stream.sessions.expects(DB.id)
    assert [stream.sessions.match(one, 0) for one in (said(61), said(container=DB), said(None))] == [0, 0, 0]
    assert stream.sessions.match(said(), 61) == 0  # the number was another's before
    assert stream.sessions.match(said(), 0) == 1
    found = stream.sessions.describe(1, said(), "exec", 99)
    assert found
    fact = fact_of(found, 0)
    assert isinstance(fact, SessionFact)
    assert (fact.kind, fact.user, fact.command, fact.exec_id) == ("exec", "www", ["sh", "-c", "true"], "e" * 64)
    assert stream.sessions.describe(1, said(), "exec", 99) is None
    assert stream.sessions.match(said(), 0) == 0


WALL_NS = 1_000 * SECOND_NS


class Engine:
    """What an engine says. answers: of the exec, one after the other."""

    def __init__(self, stream: Stream, *answers: object) -> None:
        self.answers, self.asked = list(answers), 0
        self.execs = SessionExecs(stream.sessions, self.ask, WALL_NS)

    def ask(self, exec_id: str) -> object:
        assert exec_id == "e" * 64
        self.asked += 1
        return self.answers.pop(0) if self.answers else ...

    def says(self, action: str, at_ns: int) -> None:
        """Something happened to the exec. at_ns: boottime."""
        attributes = {"execID": "e" * 64, "command": "sh -c true"}
        self.execs.hear([EngineEvent(WEB.id, action, WALL_NS + at_ns, "docker", "web", None, attributes)])

    def facts(self, now_ns: int) -> list[SessionFact]:
        """What is said of sessions then."""
        found = [fact_of(row, 0) for row in self.execs.due(now_ns)]
        return [fact for fact in found if isinstance(fact, SessionFact)]


def test_an_engine_is_asked_until_it_knows_the_pid(stream: Stream) -> None:
    engine = Engine(stream, ..., said(None), said())
    assert engine.execs.due_in_ns(50) == math.inf
    engine.says("exec_create", 50)
    assert (engine.facts(50), engine.asked) == ([], 0)  # nobody has come yet
    stream.take(visitor())
    assert engine.facts(55) == []
    assert 0 < engine.execs.due_in_ns(55) < SECOND_NS
    now = [SECOND_NS // 10 * tenth for tenth in range(1, 5)]
    assert [[fact.kind for fact in engine.facts(at)] for at in now] == [[], [], ["exec"], []]
    assert engine.asked == 3
    assert engine.execs.due_in_ns(now[-1]) == math.inf


def test_a_health_check_is_one_whose_time_the_engine_lists(stream: Stream) -> None:
    at = SECOND_NS
    probes = [(WALL_NS + at, WALL_NS + 3 * at)]
    engine = Engine(stream, said(probes=[]), said(probes=probes))
    engine.says("exec_create", at)
    stream.take(visitor(60, at))
    assert [fact.kind for fact in engine.facts(2 * at)] == [None]
    assert engine.facts(5 * at // 2) == []
    engine.says("exec_die", 3 * at)
    assert [fact.kind for fact in engine.facts(3 * at)] == ["health"]


def test_who_runs_the_command_of_a_health_check_is_none(stream: Stream) -> None:
    at, probes = SECOND_NS, [(WALL_NS, WALL_NS + 1)]
    engine = Engine(stream, said(probes=probes), said(probes=probes), said(probes=probes))
    engine.says("exec_create", at)
    engine.says("exec_die", 2 * at)
    stream.take(visitor(60, at), exits(60, start_ns=at, ts_ns=2 * at))
    times = (2 * at, 3 * at, 4 * at + 1)
    assert [[fact.kind for fact in engine.facts(now)] for now in times] == [[None], [], ["exec"]]


def test_who_runs_the_command_during_a_health_check_is_none(stream: Stream) -> None:
    at, probes = SECOND_NS, [(WALL_NS + SECOND_NS, WALL_NS + 3 * SECOND_NS)]
    engine = Engine(stream, said(probes=probes))
    attributes = {"execID": "c" * 64, "command": "sh -c true"}
    check = EngineEvent(WEB.id, "exec_create", WALL_NS + at, "docker", "web", None, attributes)
    engine.execs = SessionExecs(stream.sessions, lambda one: engine.ask(one) if one == "e" * 64 else ..., WALL_NS)
    engine.execs.hear([check])
    engine.says("exec_create", 2 * at)
    stream.take(visitor(60, 2 * at))
    assert [fact.kind for fact in engine.facts(5 * at // 2)] == ["exec"]


def test_secrets_in_commands_are_masked(stream: Stream) -> None:
    secret = ExecFact("e" * 64, WEB.id, 60, "", ["mysql", "--password=hunter2"])
    execs = SessionExecs(stream.sessions, lambda _id: secret, 0, Redactor())
    execs.hear([EngineEvent(WEB.id, "exec_create", 60, "docker", "web", None, {"execID": "e" * 64})])
    stream.take(visitor())
    (row,) = execs.due(70)
    assert b"hunter2" not in row.heap
    assert b"mysql" in row.heap


def test_an_exec_that_is_no_session_is_forgotten(stream: Stream) -> None:
    engine = Engine(stream, said(999))
    engine.says("exec_create", SECOND_NS)
    stream.take(visitor())
    assert engine.facts(SECOND_NS) == []
    assert engine.facts(SECOND_NS + PATIENCE_NS + 1) == []
    assert engine.execs.due_in_ns(2 * PATIENCE_NS) == math.inf


def test_what_is_over_is_forgotten(stream: Stream) -> None:
    stream.take(visitor(), exits(60, start_ns=60, ts_ns=SECOND_NS))
    stream.take(visitor(61, 61, ts_ns=2 * SECOND_NS + PAST_NS))
    assert stream.sessions.match(said(), 0) == 0


def test_a_reader_knows_what_was_said_up_to_each_row(stream: Stream) -> None:
    stream.take(visitor(), runs(60, 60, b"sh"), child(61, 61, 60, 60))
    attribution, known = Attribution(), []
    for part in attribution.split_and_learn(stream.rows):
        fact = attribution.sessions.get(1)
        known += [(Kind(kind).name, fact and fact.command) for kind in part.rows["kind"].tolist()]
    own = [("SESSION", None), ("FORK", None), ("SESSION", ["sh"]), ("EXEC", ["sh"]), ("FORK", ["sh"])]
    assert known[4:] == own


def test_a_row_of_a_session_can_be_read_again(stream: Stream) -> None:
    stream.take(visitor())
    (began,) = stream.said("began")
    assert msgspec.json.decode(msgspec.json.encode(began), type=SessionFact) == began
