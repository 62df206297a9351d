"""Docker, Podman and a user's engine at once: whose word counts for what, and that none holds up another."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import wait_for
from fake_engine import A, B, C, FakeEngine, container, event, serving

from tracer.containers import engine_enquiry
from tracer.containers import names as names_module
from tracer.containers.address import Address
from tracer.containers.answers import Description, Silence
from tracer.containers.enquiry import Enquiry
from tracer.containers.names import Names
from tracer.errors import NstraceError
from tracer.system.process_owner import runs_under

UID = os.geteuid() or 4242  # who is the stranger
D, E = "d" * 64, "e" * 64


class Three(NamedTuple):
    names: Names
    docker: FakeEngine
    podman: FakeEngine
    stranger: FakeEngine


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the stranger can reach."""
    with tempfile.TemporaryDirectory(prefix="nstrace-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def of_stranger(path: Path) -> Iterator[FakeEngine]:
    """An engine whose listener is the stranger's, by the kernel."""
    path.parent.mkdir(parents=True)
    path.parent.chmod(0o777)
    os.seteuid(UID)
    try:
        manager = serving(path)
        engine = manager.__enter__()
    finally:
        os.seteuid(os.getuid())
    try:
        yield engine
    finally:
        manager.__exit__(None, None, None)


@pytest.fixture
def three(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Three]:
    """They are asked by processes that are forked before the engines' threads begin."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    paths = [place / "docker", place / "podman", place / "user" / str(UID) / "docker.sock"]
    where = tuple(Address(f"unix://{path}", owner) for path, owner in zip(paths, (None, None, UID), strict=True))
    monkeypatch.setattr(names_module, "addresses", lambda: where)
    with closing(Names()) as names, ExitStack() as stack:
        assert len(names.start()) == 3
        docker, podman = (stack.enter_context(serving(path)) for path in paths[:2])
        stranger = stack.enter_context(of_stranger(paths[2]))
        podman.product = "Podman Engine"
        docker.containers = [container(A, "web")]
        podman.containers = [container(B, "db"), container(D, "job")]
        stranger.containers = [container(C, "mine")]
        yield Three(names, docker, podman, stranger)


WEB, DB = Description("web", "nginx:1.27"), Description("db", "nginx:1.27", {}, "podman")
MINE = Description("mine", "nginx:1.27", {}, "docker", UID)


def test_each_container_is_its_engines(three: Three) -> None:
    assert [three.names.describe(asked) for asked in (A, B, C, E)] == [WEB, DB, MINE, None]
    assert [found.name for found in three.names.all()] == ["web", "db", "job", "mine"]
    assert [MINE.engine, DB.engine] == [f"docker:{UID}", "podman"]


def test_a_stranger_neither_renames_nor_claims(three: Three) -> None:
    three.stranger.containers = [container(A, "evil"), container(C, "web"), container(B, "db", "exited")]
    assert [three.names.describe(asked) for asked in (A, B)] == [WEB, DB]
    assert [found.id for found in three.names.find("web")] == [A]
    assert [found.id for found in three.names.find(C[:5])] == [C]
    assert [found.id for found in three.names.running()] == [A, B, D, C]


def test_a_first_process_is_asked_of_the_engine_that_has_it(three: Three) -> None:
    three.docker.pids, three.podman.pids, three.stranger.pids = {B: 1}, {B: 2, D: 3}, {B: 4, C: 5}
    assert [three.names.init_tgid(asked) for asked in (B, D, C)] == [2, 3, 5]


@pytest.mark.skipif(os.getuid() != 0, reason="needs a process of another user")
def test_a_strangers_first_process_runs_under_that_user(three: Three) -> None:
    with (
        subprocess.Popen(["sleep", "60"], user=UID) as theirs,
        subprocess.Popen(["sleep", "60"], user=UID + 1) as others,
        subprocess.Popen(["unshare", "--map-root-user", "sleep", "60"], user=UID) as mapped,
    ):
        wait_for(lambda: Path(f"/proc/{mapped.pid}/comm").read_text() == "sleep\n")
        claims = {C: theirs.pid, E: others.pid, "f" * 64: os.getpid()}
        three.stranger.containers = [container(one, f"c{at}") for at, one in enumerate(claims)]
        three.stranger.pids = claims
        assert three.names.inits((A, B, D)) == {theirs.pid: C}
        assert runs_under(mapped.pid, UID) and not runs_under(mapped.pid, UID + 1)
        for process in (theirs, others, mapped):
            process.kill()


def test_one_that_hangs_delays_others_by_a_moment(three: Three) -> None:
    three.stranger.hangs = True
    began = time.monotonic()
    assert [three.names.describe(asked) for asked in (A, B, E)] == [WEB, DB, None]
    assert [found.id for found in three.names.find("web")] == [A]
    assert time.monotonic() - began < 2.0
    assert three.names.error is None


def test_one_of_roots_that_hangs_is_said(three: Three) -> None:
    three.podman.hangs = True
    assert [three.names.describe(asked) for asked in (A, E)] == [WEB, Silence.NO_ANSWER]
    assert three.names.error and "podman" in three.names.error.message


def test_without_any_the_first_is_spoken_of(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = [Address(f"unix://{place}/{name}") for name in ("docker", "podman")]
    monkeypatch.setattr(names_module, "addresses", lambda: where)
    names = Names()
    with pytest.raises(NstraceError, match=r"no container engine answers on .*/docker"):
        names.require()
    assert names.describe(A) is Silence.NO_ENGINE and not names.has_failed


def test_a_stream_asks_all_of_them(three: Three) -> None:
    enquiry = Enquiry(three.names.engines())
    assert [enquiry.describe(asked) for asked in (A, B, C)] == [WEB, DB, MINE]
    assert enquiry.expect({A, B, E}) == {E}
    three.podman.containers.append(container(E, "new"))
    assert select.select([enquiry], [], [], 30)[0] == [enquiry]
    wait_for(
        lambda: (
            enquiry.news() is not None and enquiry.describe(E) in (None, Description("new", "nginx:1.27", {}, "podman"))
        )
    )


def test_it_is_news_when_the_engine_that_knows_it_has_answered(three: Three) -> None:
    """Not when another one has said that it knows nothing of it."""
    enquiry = Enquiry(three.names.engines()[:2])
    three.podman.containers.append(container("f" * 64, "newer"))
    three.podman.pause_s = 0.3
    assert enquiry.expect({"f" * 64}) == {"f" * 64}
    began = time.monotonic()
    wait_for(lambda: enquiry.news() == {"f" * 64})
    assert time.monotonic() - began > 0.2
    assert enquiry.describe("f" * 64) == Description("newer", "nginx:1.27", {}, "podman")


def test_one_of_roots_that_hangs_is_not_waited_for_without_end(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_enquiry, "_SILENT_S", 0.3)
    enquiry = Enquiry(three.names.engines()[:2])
    three.podman.hangs = True
    enquiry.expect({E})
    wait_for(lambda: enquiry.news() == {E})
    assert enquiry.describe(E) is Silence.NO_ANSWER


def test_a_stream_waits_for_no_stranger(three: Three) -> None:
    enquiry = Enquiry(three.names.engines())
    three.stranger.hangs = True
    enquiry.expect({E})
    wait_for(lambda: bool(enquiry.news()) and enquiry.describe(E) is None)
    assert enquiry.expect({E}) == set()
    assert enquiry.lines() == []


def test_what_happens_is_no_strangers_to_say(three: Three) -> None:
    enquiry = Enquiry(three.names.engines())
    wait_for(lambda: three.docker.listeners == three.podman.listeners == 1)
    now_ns = time.time_ns()
    for at, engine in enumerate((three.stranger, three.docker, three.podman)):
        engine.events.append(event(A, "die", now_ns + at))
    events = []

    def are_here() -> bool:
        enquiry.news()
        events.extend(enquiry.events())
        return len(events) >= 2

    wait_for(are_here)
    assert three.stranger.listeners == 0
    assert sorted(one.time_ns - now_ns for one in events) == [1, 2]
