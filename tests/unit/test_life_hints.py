"""What engines say of containers, held against what the kernel shows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from builders import SECOND_NS, WEB, cgroup, exits
from test_life_rows import OTHER_CGROUP, SIGKILL, Stream, end, facts, first, member

from tracer.containers.answers import Silence
from tracer.stream.batch import Batch
from tracer.stream.life_hints import GRACE_NS, LifeHints
from tracer.stream.metadata import Container, EngineEvent, Killer, LifeFact, SignalSent

OFFSET_NS = 1_000_000 * SECOND_NS
NOW_NS = 100 * SECOND_NS
LATER_NS = NOW_NS + GRACE_NS


class Told(Stream):
    """A stream and an engine. means: whether a target means containers that were not seen."""

    def __init__(self, means: bool = True, began_ns: int = 0) -> None:
        super().__init__(began_ns=began_ns)
        self.hints = LifeHints(self.lives, lambda _container: means, lambda one: Container(one, ""), OFFSET_NS)

    def hear(self, *events: EngineEvent, now_ns: int = NOW_NS) -> list[LifeFact]:
        return facts(self.hints.take(events, now_ns))


def said(action: str, at_ns: int = 90 * SECOND_NS, name: str = "web", **attributes: str) -> EngineEvent:
    return EngineEvent(WEB.id, action, at_ns + OFFSET_NS, "docker", name, "nginx:1.27", attributes)


@pytest.mark.parametrize(
    ("event", "members"),
    [
        (said("create"), {"action": "created"}),
        (said("pause"), {"action": "paused"}),
        (said("unpause"), {"action": "unpaused"}),
        (said("restart"), {"action": "restarting"}),
        (said("health_status", health_status="unhealthy"), {"action": "health", "health": "unhealthy"}),
        (said("destroy"), {"action": "removed", "doubt": "docker says so; 1 process of it still alive"}),
    ],
    ids=lambda value: value.action if isinstance(value, EngineEvent) else "",
)
def test_what_only_the_engine_knows_is_said_by_it(event: EngineEvent, members: dict[str, Any]) -> None:
    stream = Told()
    stream.feed(first())
    assert stream.hear(event) == [LifeFact(container=WEB, said_by="engine", **members)]


def test_rows_have_the_engines_time_and_the_place_of_the_container() -> None:
    stream = Told()
    stream.feed(first())
    rows = stream.hints.take([said("pause", 95 * SECOND_NS), said("unpause", 500 * SECOND_NS)], NOW_NS).rows
    assert rows["ts_ns"].tolist() == [95 * SECOND_NS, NOW_NS]  # not later than now
    assert rows["cgroup_id"].tolist() == [70, 70]


def test_a_renamed_container_is_shown_by_its_new_name() -> None:
    stream = Told()
    stream.feed(first())
    (renamed,) = stream.hear(said("rename", name="shop", oldName="/web"))
    assert (renamed.container.name, renamed.old_name) == ("shop", "web")


def test_a_container_that_was_not_seen_is_shown_if_a_target_means_it() -> None:
    (created,) = Told().hear(said("create"))
    assert created.container == Container(WEB.id, "docker", "web", "nginx:1.27", incarnation=0)  # it has not lived yet
    assert not Told(means=False).hear(said("create"))
    seen = Told(means=False)
    seen.feed(first(), end(100, 1))
    assert [fact.action for fact in seen.hear(said("destroy"))] == ["removed"]


@pytest.mark.parametrize(("status", "code"), [(0, "0"), (3 << 8, "3"), (SIGKILL, "137"), (37, "165")])
def test_nothing_is_said_twice(status: int, code: str) -> None:
    stream = Told()
    assert not stream.hear(said("start"))
    stream.feed(first(), end(100, 1, status=status))
    assert not stream.hear(said("die", exitCode=code), said("stop"))
    assert not stream.hear(now_ns=LATER_NS)


def test_another_exit_code_than_the_kernels_is_doubted() -> None:
    stream = Told()
    stream.feed(first(), end(100, 1, status=SIGKILL))
    (stopped,) = stream.hear(said("die", exitCode="0"))
    assert (stopped.said_by, stopped.exit_code) == ("engine", 0)
    assert stopped.doubt == "docker says so; the kernel reported SIGKILL"


def test_the_word_of_the_engine_is_all_there_is_of_an_end_that_was_lost() -> None:
    stream = Told()
    stream.feed(first(), end(100, 1, flags=2))
    (stopped,) = stream.hear(said("die", exitCode="1"))
    assert (stopped.exit_code, stopped.doubt) == (1, "no event of the kernel reported how it ended")


def test_a_start_that_the_kernel_has_not_seen_is_doubted() -> None:
    stream = Told()
    assert not stream.hear(said("start"))
    (started,) = stream.hear(now_ns=LATER_NS)
    assert (started.action, started.doubt) == ("started", "docker says so; no process of it was seen")


def test_nothing_is_doubted_while_the_kernels_word_is_held_back() -> None:
    stream = Told()
    stream.hear(said("start"))
    assert not len(stream.hints.take([], LATER_NS, NOW_NS))
    assert len(stream.hints.take([], LATER_NS)) == 1


def test_each_start_is_one_life() -> None:
    stream = Told()
    stream.feed(first(), end(100, 1))
    stream.hear(said("start"), said("start"))
    assert len(stream.hear(now_ns=LATER_NS)) == 1


def test_processes_that_live_on_after_an_end_are_said() -> None:
    stream = Told()
    stream.feed(first(), member(101, 7))
    assert not stream.hear(said("die", exitCode="0"))
    (stopped,) = stream.hear(now_ns=LATER_NS)
    assert (stopped.action, stopped.doubt) == ("stopped", "docker says so; 2 processes of it still alive")


def test_an_end_that_the_kernel_tells_later_is_none_to_doubt() -> None:
    stream = Told()
    stream.feed(first())
    assert not stream.hear(said("die", exitCode="3"))
    stream.feed(end(100, 1, status=3 << 8))
    assert not stream.hear(now_ns=LATER_NS)


def test_ends_are_compared_with_their_own_lives() -> None:
    stream = Told()
    stream.feed(first(), end(100, 1, status=1 << 8, ts_ns=10 * SECOND_NS))
    inside = [(5, 1)]
    stream.feed(
        first(200, 5, start_ns=20 * SECOND_NS),
        exits(200, inside, cgroup_id=70, start_ns=20 * SECOND_NS, ts_ns=30 * SECOND_NS),
    )
    assert not stream.hear(said("die", 11 * SECOND_NS, exitCode="1"))


def test_out_of_memory_is_said_once() -> None:
    stream = Told()
    stream.feed(first())
    assert not stream.hear(said("oom"), said("oom"))
    assert facts(stream.feed(end(100, 1, status=SIGKILL)))[0].oom
    assert [(fact.action, fact.said_by) for fact in stream.hear(now_ns=LATER_NS)] == [("oom", "engine")]


def test_of_memory_the_kernel_has_the_first_word() -> None:
    stream = Told()
    stream.feed(first(), end(100, 1, status=SIGKILL), killers={1: Killer(kernel=True, reason="oom")})
    assert not stream.hear(said("oom"))
    assert not stream.hear(now_ns=LATER_NS)


def test_the_signals_of_the_engine_stand_in_the_end() -> None:
    stream = Told()
    stream.feed(first())
    stream.hear(said("kill", 80 * SECOND_NS, signal="15"), said("kill", signal="9"), said("kill", signal="rubbish"))
    stream.hear(said("kill", signal="37"), said("kill", signal="65"), said("kill", signal="SIGRTMAX"))
    (stopped,) = facts(stream.feed(end(100, 1, status=SIGKILL, ts_ns=99 * SECOND_NS)))
    names = ("SIGKILL", "SIGRTMIN+3", "SIGRTMAX")
    assert stopped.signals == [
        SignalSent("SIGTERM", 80 * SECOND_NS),
        *(SignalSent(name, 90 * SECOND_NS) for name in names),
    ]


def test_rubbish_is_no_row() -> None:
    stream = Told()
    stream.feed(first(), end(100, 1))
    event = said("die", exitCode="9" * 5000)
    assert not stream.hear(event, msgspec.structs.replace(event, action="attach"))


def test_a_life_that_nobody_saw_is_the_engines_word() -> None:
    told = Told()
    assert told.hear(said("start"), said("die", exitCode="43")) == []
    began, ended = told.hear(now_ns=LATER_NS)
    assert (began.action, ended.action, ended.exit_code, ended.said_by) == ("started", "stopped", 43, "engine")
    assert began.doubt == ended.doubt == "docker says so; no process of it was seen"


def test_an_engine_that_starts_a_container_again_by_itself_has_no_word_for_it() -> None:
    states: list[object] = [Silence.NOT_YET, "restarting"]
    told = Told()
    told.hints = LifeHints(
        told.lives, lambda _container: True, lambda one: Container(one, ""), OFFSET_NS, lambda _id: states.pop(0)
    )
    died = told.hear(said("die"))
    assert [fact.action for fact in died] == []
    (again,) = told.hear()
    assert (again.action, again.said_by) == ("restarting", "engine")
    assert states == told.hear() == []


def test_restarting_is_said_of_the_life_that_has_ended_though_the_next_one_runs() -> None:
    told = Told()
    told.hints = LifeHints(told.lives, lambda _container: True, lambda one: Container(one, ""), OFFSET_NS,
                           lambda _id: "restarting")  # fmt: skip
    again, ended = msgspec.structs.replace(WEB, incarnation=2), 10 * SECOND_NS
    told.feed(first(), end(100, 1, ts_ns=ended))
    told.feed(cgroup(OTHER_CGROUP, again), first(200, 5, cgroup_id=OTHER_CGROUP, start_ns=ended + SECOND_NS))
    rows = told.hints.take([said("die", ended + 1)], NOW_NS)
    assert [(fact.action, fact.container.label) for fact in facts(rows)] == [("restarting", "web")]
    assert rows.rows["ts_ns"].tolist() == [ended + 1]


def test_what_was_before_the_trace_is_no_news_but_for_an_end() -> None:
    told, before = Told(began_ns=50 * SECOND_NS), 49 * SECOND_NS
    old = [said(action, before) for action in ("create", "start", "pause", "unpause", "rename", "restart")]
    rows = told.hints.take([*old, said("die", before, exitCode="3"), said("destroy", before)], NOW_NS)
    rows = Batch.concat([rows, told.hints.take([], LATER_NS)])
    assert {(fact.action, fact.exit_code, fact.doubt) for fact in facts(rows)} == {
        ("removed", None, "docker says so, of the time before the trace began"),
        ("stopped", 3, "docker says so, of the time before the trace began"),
    }
    assert set(rows.rows["ts_ns"].tolist()) == {50 * SECOND_NS}
    assert [fact.action for fact in told.hear(said("create", 51 * SECOND_NS))] == ["created"]


def test_a_container_that_was_not_seen_has_the_labels_of_its_event() -> None:
    told = Told()
    (created,) = told.hear(msgspec.structs.replace(said("create"), labels={"com.docker.compose.project": "shop"}))
    assert created.container.labels == {"com.docker.compose.project": "shop"}
