"""The engine as a stream asks it: nobody waits for one that hangs, and what it says late is not lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_for
from fake_engine import A, B, C, FakeEngine, container, serving

from tracer.containers import engine_thread as enquiry_module
from tracer.containers.cgroups import Answer, Description, Silence
from tracer.containers.engine import Engine
from tracer.containers.engine_thread import EngineThread
from tracer.errors import NstraceError

WEB, DB = Description("web", "nginx:1.27"), Description("db", "nginx:1.27")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    """On the socket that DOCKER_HOST names."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/sock")
    with serving(tmp_path / "sock") as engine:
        engine.containers = [container(A, "web"), container(B, "db", "exited")]
        yield engine


@pytest.fixture(autouse=True)
def answers_get_old_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enquiry_module, "_FRESH_S", 0.0)


def begun() -> EngineThread:
    enquiry = EngineThread(Engine.connect().listed(None, 1.0))
    assert enquiry.state(A) == "running"
    return enquiry


def answers(enquiry: EngineThread, container_id: str, expected: Answer) -> bool:
    return enquiry.describe(container_id) == expected


def test_what_it_says(fake: FakeEngine) -> None:
    enquiry = begun()
    assert [enquiry.describe(asked) for asked in (A, B, C)] == [WEB, DB, None]
    assert [enquiry.state(asked) for asked in (A, B, C)] == ["running", "exited", None]
    fake.containers = [container(A, "renamed")]
    assert enquiry.describe(A) == Description("renamed", "nginx:1.27")
    assert enquiry.state(B) is None


def test_several_questions_at_a_time_are_one(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enquiry_module, "_FRESH_S", 60.0)
    enquiry = begun()
    asked = len(fake.asked)
    assert [enquiry.describe(A) for _ in range(100)] == [WEB] * 100
    assert len(fake.asked) == asked


def test_nobody_waits_for_one_that_hangs_and_it_is_heard_when_it_goes_on(fake: FakeEngine) -> None:
    enquiry = begun()
    fake.hangs = True
    began = time.monotonic()
    assert [enquiry.describe(C) for _ in range(1000)] == [Silence.NO_ANSWER] * 1000
    assert enquiry.state(A) is Silence.NO_ANSWER
    assert time.monotonic() - began < 2 * enquiry_module._HASTE_S  # once, not a thousand times
    fake.containers.append(container(C, "job"))
    fake.hangs = False
    fake.released.set()
    wait_for(lambda: answers(enquiry, C, Description("job", "nginx:1.27")))
    assert enquiry.describe(A) == WEB


def test_what_it_said_before_holds_while_it_is_silent(fake: FakeEngine) -> None:
    enquiry = begun()
    fake.hangs = True
    assert [enquiry.describe(asked) for asked in (A, B, C)] == [WEB, DB, Silence.NO_ANSWER]


@pytest.mark.parametrize("rubbish", ["x", {"Id": A}, [{"Id": 5}]])
def test_rubbish_is_no_answer(rubbish: object, fake: FakeEngine) -> None:
    enquiry, listed = begun(), fake.containers
    fake.containers = rubbish
    assert [enquiry.describe(C), enquiry.state(A)] == [Silence.NO_ANSWER] * 2
    fake.containers = [*listed, container(C, "job")]
    assert enquiry.describe(C) == Description("job", "nginx:1.27")


def test_one_that_was_there_is_asked_when_it_is_back(fake: FakeEngine, tmp_path: Path) -> None:
    enquiry = begun()
    (tmp_path / "sock").rename(tmp_path / "elsewhere")
    assert [enquiry.describe(C), enquiry.state(A)] == [Silence.NO_ANSWER] * 2
    (tmp_path / "elsewhere").rename(tmp_path / "sock")
    assert [enquiry.describe(C), enquiry.state(A)] == [None, "running"]


def test_one_that_never_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/sock")
    monkeypatch.setattr(enquiry_module, "_AGAIN_S", 0.0)
    enquiry = EngineThread(None)
    assert [enquiry.describe(A), enquiry.state(A)] == [Silence.NO_ENGINE] * 2
    with serving(tmp_path / "sock") as late:
        late.containers = [container(A, "web")]
        assert enquiry.describe(A) == WEB


def test_one_that_never_was_there_is_not_looked_for_all_the_time() -> None:
    tries = []

    def try_to_connect() -> Engine:
        tries.append(1)
        raise NstraceError("no engine")

    enquiry = EngineThread(None, try_to_connect)
    assert {enquiry.describe(A) for _ in range(100)} == {Silence.NO_ENGINE}
    assert len(tries) == 1


def test_no_thread_is_left_waiting(fake: FakeEngine) -> None:
    enquiry = begun()
    for _ in range(20):
        enquiry.state(A)
    assert [thread for thread in threading.enumerate() if thread.name == "engine"] == []


def test_what_is_closed_asks_nothing_more(fake: FakeEngine) -> None:
    enquiry = begun()
    asked = len(fake.asked)
    enquiry.close()
    assert (enquiry.describe(A), enquiry.describe(C)) == (WEB, Silence.NO_ANSWER)
    assert len(fake.asked) == asked
