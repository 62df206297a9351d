"""The engine as a stream asks it: nobody waits, and what it says late is not lost."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_for
from engine_processes import engine_process_of
from fake_engine import A, B, C, FakeEngine, container, event, serving

from tracer.containers import engine_enquiry as enquiry_module
from tracer.containers.address import TOOLS, Address, addresses
from tracer.containers.answers import Answer, Description, Silence
from tracer.containers.channel import Channel
from tracer.containers.enquiry import Enquiry

WEB, DB = Description("web", "nginx:1.27"), Description("db", "nginx:1.27")
QUICK_S = 1.0  # far below what the engine takes where it hangs


@pytest.fixture
def channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Channel]:
    """Opened before the engine, whose threads a fork must not meet."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/sock")
    monkeypatch.setattr(enquiry_module, "_FAILED_S", 0.0)
    with Channel.opened(addresses()[0]) as channel:
        yield channel


@pytest.fixture
def fake(channel: Channel, tmp_path: Path) -> Iterator[FakeEngine]:
    with serving(tmp_path / "sock") as engine:
        engine.containers = [container(A, "web"), container(B, "db", "exited")]
        yield engine


@pytest.fixture
def answers_get_old_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enquiry_module, "_FRESH_S", -1.0)


def begun(channel: Channel) -> Enquiry:
    """After the engine has listed what it has."""
    asked = channel.ask_list(None, 10.0)
    channel.wait(asked)
    return Enquiry([(channel, asked.found)])


def answers(enquiry: Enquiry, container_id: str, expected: Answer) -> bool:
    enquiry.news()
    return enquiry.describe(container_id) == expected


def is_in_state(enquiry: Enquiry, container_id: str, expected: object) -> bool:
    enquiry.news()
    return enquiry.state(container_id) == expected


def test_what_it_says(answers_get_old_at_once: None, fake: FakeEngine, channel: Channel) -> None:
    enquiry = begun(channel)
    assert [enquiry.describe(asked) for asked in (A, B, C)] == [WEB, DB, Silence.NO_ANSWER]
    wait_for(lambda: answers(enquiry, C, None))
    assert [enquiry.state(asked) for asked in (A, B, C)] == [Silence.NOT_YET] * 3
    for asked, state in ((A, "running"), (B, "exited"), (C, None)):
        wait_for(lambda asked=asked, state=state: is_in_state(enquiry, asked, state))  # type: ignore[misc]
    fake.containers = [container(A, "renamed")]
    wait_for(lambda: answers(enquiry, A, Description("renamed", "nginx:1.27")))
    wait_for(lambda: is_in_state(enquiry, B, None))


def test_an_answer_is_news_and_wakes_who_waits(fake: FakeEngine, channel: Channel) -> None:
    enquiry = begun(channel)
    assert enquiry.expect({A, C}) == {C}
    assert select.select([enquiry], [], [], 30)[0] == [enquiry]
    wait_for(lambda: enquiry.news() == {C})
    assert (enquiry.news(), enquiry.describe(C), enquiry.expect({C})) == (set(), None, set())


def test_what_is_gone_has_the_name_that_its_events_have_told(fake: FakeEngine, channel: Channel) -> None:
    enquiry = begun(channel)
    wait_for(lambda: (enquiry.news(), channel.is_heard)[1] is True)
    fake.events = [event(C, "create", time.time_ns(), "job"), event(C, "destroy", time.time_ns(), "job")]
    wait_for(lambda: answers(enquiry, C, Description("job", "nginx:1.27", {"a.label": "x"})))
    assert enquiry.state(C) in (None, Silence.NOT_YET)  # it is there no more


def test_what_came_and_went_while_nobody_listened(fake: FakeEngine, channel: Channel) -> None:
    enquiry = begun(channel)
    wait_for(lambda: (enquiry.news(), channel.is_heard)[1] is True)
    fake.hangs_up = True
    wait_for(lambda: (enquiry.news(), channel.is_heard)[1] is False)
    fake.events = [event(C, "create", time.time_ns(), "job"), event(C, "destroy", time.time_ns(), "job")]
    count = len(fake.asked)
    assert enquiry.describe(C) is Silence.NO_ANSWER
    wait_for(lambda: answers(enquiry, C, Silence.NO_ANSWER) and len(fake.asked) > count + 1)
    fake.hangs_up = False
    wait_for(lambda: answers(enquiry, C, Description("job", "nginx:1.27", {"a.label": "x"})))


def test_many_are_asked_for_at_once(fake: FakeEngine, channel: Channel) -> None:
    enquiry = begun(channel)
    fake.containers += [container(f"{number:064x}", f"c{number}") for number in range(1000)]
    fake.pause_s = 0.3
    before, wanted = len(fake.asked), {f"{number:064x}" for number in range(1000)}
    assert [enquiry.describe(one) for one in wanted] == [Silence.NO_ANSWER] * 1000
    news: set[str] = set()

    def has_come() -> bool:
        news.update(enquiry.news())
        return news == wanted

    wait_for(has_come)
    named = [answer.name for one in sorted(wanted) if isinstance(answer := enquiry.describe(one), Description)]
    assert named == [f"c{number}" for number in range(1000)]
    assert len(fake.asked) - before == 5  # the first alone, then the others, 256 in a question


def test_nobody_waits_for_one_that_hangs_and_it_is_heard_when_it_goes_on(fake: FakeEngine, channel: Channel) -> None:
    enquiry = begun(channel)
    fake.hangs = True
    began = time.monotonic()
    for _ in range(1000):
        assert (enquiry.describe(C), enquiry.news()) == (Silence.NO_ANSWER, set())
        assert enquiry.state(A) is Silence.NOT_YET
    assert time.monotonic() - began < QUICK_S
    fake.containers.append(container(C, "job"))
    fake.hangs = False
    fake.released.set()
    wait_for(lambda: answers(enquiry, C, Description("job", "nginx:1.27")))
    assert enquiry.describe(A) == WEB


def test_one_that_hangs_does_not_say_whether_a_container_runs(
    fake: FakeEngine, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enquiry_module, "_SILENT_S", 0.2)
    enquiry = begun(channel)
    fake.hangs = True
    assert enquiry.state(A) is Silence.NOT_YET
    wait_for(lambda: is_in_state(enquiry, A, Silence.NO_ANSWER))


def test_a_state_is_of_now(fake: FakeEngine, channel: Channel) -> None:
    """Not of before the question, also where an answer takes long."""
    enquiry = begun(channel)
    fake.containers[0]["State"], fake.pause_s = "exited", 0.7
    assert enquiry.state(A) is Silence.NOT_YET
    wait_for(lambda: is_in_state(enquiry, A, "exited"))


def test_what_it_said_before_holds_while_it_is_silent(
    answers_get_old_at_once: None, fake: FakeEngine, channel: Channel
) -> None:
    enquiry = begun(channel)
    fake.hangs = True
    assert [enquiry.describe(asked) for asked in (A, B, C)] == [WEB, DB, Silence.NO_ANSWER]


@pytest.mark.parametrize("rubbish", ["x", {"Id": A}, [{"Id": 5}]])
def test_rubbish_is_no_answer(rubbish: object, fake: FakeEngine, channel: Channel) -> None:
    enquiry, listed, asked = begun(channel), fake.containers, len(fake.asked)
    fake.containers = rubbish
    wait_for(lambda: answers(enquiry, C, Silence.NO_ANSWER) and len(fake.asked) > asked)
    fake.containers = [*listed, container(C, "job")]
    wait_for(lambda: answers(enquiry, C, Description("job", "nginx:1.27")))


def test_one_that_is_killed_and_comes_back(fake: FakeEngine, channel: Channel, tmp_path: Path) -> None:
    enquiry = begun(channel)
    fake.shutdown()
    fake.server_close()
    (tmp_path / "sock").unlink()
    assert enquiry.describe(C) is Silence.NO_ANSWER
    with serving(tmp_path / "sock") as again:
        again.containers = [container(C, "job")]
        wait_for(lambda: answers(enquiry, C, Description("job", "nginx:1.27")))


def test_one_that_never_was_there(channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enquiry_module, "_AGAIN_S", 0.0)
    enquiry = Enquiry([(channel, None)])
    assert [enquiry.describe(A), enquiry.state(A)] == [Silence.NO_ENGINE] * 2
    assert enquiry.expect({A}) == set()
    with serving(tmp_path / "sock") as late:
        late.containers = [container(A, "web")]
        wait_for(lambda: answers(enquiry, A, WEB))


def test_a_node_is_asked_at_once_where_no_engine_ever_was(channel: Channel) -> None:
    with Channel.opened(Address(TOOLS)) as tools:
        enquiry = Enquiry([(channel, None), (tools, {})])
        assert enquiry.describe(A) is Silence.NO_ANSWER  # it may know the name, so nothing is decided yet
        wait_for(lambda: answers(enquiry, A, Silence.NO_ENGINE))


def test_one_that_never_was_there_is_not_looked_for_all_the_time(channel: Channel) -> None:
    enquiry = Enquiry([(channel, None)])
    tries = 0
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        before = enquiry._engines[0]._asked
        enquiry.describe(A)
        enquiry.news()
        tries += enquiry._engines[0]._asked is not None and enquiry._engines[0]._asked is not before
    assert tries <= 1


def test_without_an_engine_of_this_host_nobody_is_asked() -> None:
    enquiry = Enquiry([])
    assert (enquiry.describe(A), enquiry.state(A), enquiry.news()) == (Silence.NO_ENGINE, Silence.NO_ENGINE, set())
    assert enquiry.fileno() == -1


def test_the_process_that_asks_may_die(fake: FakeEngine, channel: Channel) -> None:
    enquiry = begun(channel)
    fake.hangs = True
    assert enquiry.describe(C) is Silence.NO_ANSWER
    wait_for(lambda: fake.asked[-1] == "/containers/json")
    os.kill(engine_process_of(os.getpid()), signal.SIGKILL)
    fake.hangs = False
    fake.containers.append(container(C, "job"))
    wait_for(lambda: answers(enquiry, C, Description("job", "nginx:1.27")))


def test_what_is_closed_asks_nothing_more(fake: FakeEngine, channel: Channel) -> None:
    enquiry = begun(channel)
    asked = len(fake.asked)
    channel.close()
    assert (enquiry.describe(A), enquiry.describe(C), enquiry.news()) == (WEB, Silence.NO_ANSWER, set())
    assert len(fake.asked) == asked
    assert enquiry.fileno() == -1
