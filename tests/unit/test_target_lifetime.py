"""When a live stream ends because of its targets, and what is said of them meanwhile."""

from __future__ import annotations

from typing import Any

import builders
import msgspec
import pytest
from builders import Row, batch

from tracer.containers.answers import Silence
from tracer.stream.metadata import NEVER_RAN, Container, LifeFact
from tracer.stream.schema import Kind
from tracer.typed.targets import Target, TargetKind, parse_target
from tracer.wiring.target_lifetime import TargetLifetime

WEB = Container("ab12" + "0" * 60, "docker", "web")
OTHER = Container("cd34" + "0" * 60, "docker", "other")
BY_ID = Target(TargetKind.ID, WEB.id, "web")
BY_NAME = Target(TargetKind.CALLED, "web", "web")
ENDED: list[tuple[dict[str, Any], int | None]] = [
    ({"exit_code": 3}, 3),
    ({"signal": "SIGTERM"}, 143),
    ({"signal": "SIGRTMIN+3"}, 165),
    ({"signal": "SIGKILL", "oom": True}, 137),
    ({}, None),
]


def told(action: str, container: Container = WEB, **more: Any) -> Row:
    fact = msgspec.json.encode(LifeFact(action, container, **more))
    event = builders.row(Kind.CONTAINER, 0, args_len=len(fact), args_total=len(fact)).event
    return Row(event, fact)


@pytest.mark.parametrize(("said", "code"), [(127, 127), (None, 1)])
def test_of_a_command_that_never_ran_the_engine_says_the_exit_code(said: int | None, code: int) -> None:
    codes = {WEB.id: said}
    lifetime = TargetLifetime((BY_ID,), lambda _id: None, lambda _line: None, never_ran=codes.__getitem__)
    lifetime.take(batch(told("stopped", exit_code=1, doubt=NEVER_RAN)))
    assert lifetime.exit_code == code


@pytest.mark.parametrize(("said", "code"), [(7, 7), (None, None)], ids=["ended", "runs"])
def test_what_gets_the_name_when_it_has_ended_is_not_waited_for(said: int | None, code: int | None) -> None:
    lines: list[str] = []
    ended: list[bool] = []
    lifetime = TargetLifetime((BY_NAME,), lambda _id: None, lines.append, endless=False,
                              at_end=lambda: ended.append(True), ended_before=lambda _id: said)  # fmt: skip
    lifetime.take(batch(told("renamed", old_name="old")))
    assert (lifetime.exit_code, bool(ended)) == (code, code is not None)
    assert ("it had ended before: exit 7, as its engine reports it" in lines) is bool(ended)
    lifetime.take(batch(told("stopped", exit_code=3)))
    assert (lifetime.exit_code, len(ended)) == (code or 3, 1)


class Followed:
    """A lifetime with what it has said; state: what the engine answers."""

    def __init__(
        self, *targets: Target, state: str | Silence | None = "exited", endless: bool = False, ran: bool = False
    ) -> None:
        self.said: list[str] = []
        self.state = state
        self.asked: list[str] = []
        self.lifetime = TargetLifetime(
            targets, self._state, self.said.append, running=(WEB.id,) if ran else (), endless=endless
        )

    def _state(self, container_id: str) -> str | Silence | None:
        self.asked.append(container_id)
        return self.state

    def take(self, *rows: Row) -> Followed:
        self.lifetime.take(batch(*rows))
        return self


def test_each_start_stop_rename_and_removal_is_a_line() -> None:
    again = msgspec.structs.replace(WEB, incarnation=2)
    follow = Followed(BY_ID).take(
        told("started"),
        told("stopped", exit_code=0, duration_ns=3_100_000_000),
        told("started", again),
        told("renamed", msgspec.structs.replace(again, name="api"), old_name="web", said_by="engine"),
        told("stopped", again, signal="SIGKILL", oom=True, duration_ns=100_000_000),
        told("removed", again, said_by="engine"),
    )
    assert follow.said == [
        "web has started",
        "web has stopped: exit 0 after 3.1 s",
        "web#2 has started",
        "web was renamed to api#2: it is followed",
        "web#2 has stopped: SIGKILL after 0.1 s, had run out of memory",
        "web#2 was removed",
    ]


def test_of_containers_that_nobody_named_nothing_is_said() -> None:
    assert Followed(parse_target("w*"), parse_target("all")).take(told("started")).said == []
    assert Followed(BY_ID).take(told("started", OTHER), told("paused")).said == []


def test_who_follows_a_name_is_told_what_is_waited_for() -> None:
    follow = Followed(BY_NAME, endless=True).take(told("stopped", exit_code=1), told("removed", said_by="engine"))
    assert follow.said == [
        "web has stopped: exit 1; waiting for its next start",
        "web was removed; waiting for a new container of this name",
    ]
    assert not follow.lifetime.is_over()
    assert not follow.lifetime.is_gone()


def test_where_the_engine_differs_both_are_said_and_the_kernel_counts() -> None:
    follow = Followed(BY_ID).take(
        told("stopped", signal="SIGKILL"),
        told("stopped", exit_code=0, said_by="engine", doubt="docker says so; the kernel reported SIGKILL"),
    )
    assert follow.said[-1] == "web has stopped: exit 0 (docker says so; the kernel reported SIGKILL)"
    assert follow.lifetime.exit_code == 137


def test_what_only_the_engine_knows_counts_too() -> None:
    follow = Followed(BY_ID).take(told("stopped"), told("stopped", exit_code=7, said_by="engine", doubt="lost"))
    assert follow.lifetime.exit_code == 7
    alive = told("stopped", exit_code=7, said_by="engine", doubt="docker says so; 1 process of it still alive")
    assert Followed(BY_ID).take(alive).lifetime.exit_code is None


@pytest.mark.parametrize(("how", "code"), ENDED)
def test_the_exit_code_is_that_of_a_shell(how: dict[str, Any], code: int | None) -> None:
    assert Followed(BY_ID).take(told("stopped", **how)).lifetime.exit_code == code
    assert Followed(BY_ID).lifetime.exit_code is None


def test_the_end_is_said() -> None:
    follow = Followed(BY_ID)
    assert follow.lifetime.is_over()
    assert follow.said == ["nothing is left to follow: web has ended (-F waits for the next start)"]
    follow = Followed(Target(TargetKind.PIDNS, "5", "pid:77"), Target(TargetKind.PIDNS, "6", "pidns:6"))
    assert follow.lifetime.is_over()
    assert follow.said == ["nothing is left to follow: pid:77, pidns:6 have ended"]


@pytest.mark.parametrize("state", ["running", "restarting", "paused", Silence.NOT_YET, Silence.NO_ANSWER])
def test_goes_on_while_the_engine_may_start_it_again(state: str | Silence) -> None:
    follow = Followed(BY_ID, state=state)
    assert not follow.lifetime.is_over()
    assert not follow.lifetime.is_over()
    waiting = ["web has no process left, and the container engine does not answer: waiting for it"]
    assert follow.said == (waiting if state is Silence.NO_ANSWER else [])
    assert not Followed(BY_ID, parse_target("w*")).lifetime.is_over()


def test_a_removed_container_is_over_whatever_was_its_state() -> None:
    assert Followed(BY_ID, state="running").take(told("removed", said_by="engine")).lifetime.is_over()


def test_a_container_that_is_removed_before_it_started_is_gone() -> None:
    follow = Followed(BY_ID)
    assert not follow.lifetime.is_gone()
    assert follow.take(told("removed", said_by="engine")).lifetime.is_gone()
    assert follow.said[-1].startswith("nothing is left to follow: web has ended")


def test_a_container_that_ended_before_the_trace_began_is_gone() -> None:
    assert Followed(BY_ID, ran=True).lifetime.is_gone()
    assert not Followed(BY_ID, ran=True, state="restarting").lifetime.is_gone()
    assert not Followed(BY_ID).lifetime.is_gone()  # it was not running when it was looked up: it is waited for
    assert not Followed(BY_ID, parse_target("w*"), ran=True).lifetime.is_gone()


def test_a_life_is_over_when_that_life_has_ended() -> None:
    second = Target(TargetKind.CALLED, "web", "web#2", life=2)
    follow = Followed(second, state="running").take(told("stopped", exit_code=1))
    assert not follow.lifetime.is_over()
    follow.take(told("stopped", msgspec.structs.replace(WEB, incarnation=2), exit_code=4))
    assert follow.lifetime.is_over()
    assert follow.asked == []
    assert follow.lifetime.exit_code == 4


def test_a_name_that_is_waited_for_is_over_when_a_container_of_it_has_ended() -> None:
    follow = Followed(BY_NAME)
    assert not follow.lifetime.is_over()
    assert follow.take(told("stopped", exit_code=2)).lifetime.is_over()
    assert follow.asked == [WEB.id]
