"""kill -9 of each process of an agent: it says what has ended, goes on, and no time is left out unsaid."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import wait_for
from engine_processes import name_of
from fake_engine import serving
from service import Agent

pytestmark = pytest.mark.kernel

MARK = f"killed-{os.getpid()}"
NO_PRIVILEGES = "the process that keeps nstrace's privileges has ended"
RECORDER = "the recorder has ended (exit 1): it is started again"


@pytest.fixture
def make_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Agent]]:
    """Agents beside an engine, which starts behind them: they are forked."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/sock")
    made: list[Agent] = []

    def make(more: str = "") -> Agent:
        made.append(Agent(tmp_path, more=more))
        return made[-1]

    with serving(tmp_path / "sock"):
        yield make
    for agent in made:
        agent.__exit__()


def named(agent: Agent, name: str) -> int:
    return next(pid for pid in agent.children() if name_of(pid) == name)


def run(mark: str) -> tuple[str, int, int]:
    """A process with this mark, and between which times it ran (wall clock, ns)."""
    began_ns = time.time_ns()
    subprocess.run(["sh", "-c", f": {MARK}-{mark}"], check=True)
    return mark, began_ns, time.time_ns()


def marks(agent: Agent) -> set[str]:
    found = agent.rows(f"select args from events where event = 'exec' and args like 'sh -c : {MARK}-%'")
    return {str(row["args"]).rpartition("-")[2].rstrip("']") for row in found}


@pytest.mark.parametrize(
    ("process", "said"),
    [
        ("nstrace-broker", NO_PRIVILEGES),
        ("nstrace-connect", "the process that asks the container engine has ended"),
    ],
)
def test_without_a_process_that_it_needs_the_recorder_starts_again(
    make_agent: Callable[..., Agent], process: str, said: str
) -> None:
    with make_agent() as agent:
        run("before")
        agent.write_now()
        wait_for(lambda: "before" in marks(agent))
        killed_ns = time.time_ns()
        os.kill(named(agent, process), signal.SIGKILL)
        ran: list[tuple[str, int, int]] = []

        def has_one_more() -> bool:
            """Whether a process that has run now is recorded."""
            ran.append(run(f"run{len(ran)}"))
            agent.write_now()
            return ran[-1][0] in marks(agent)

        wait_for(lambda: not has_one_more() or RECORDER in agent.said)
        wait_for(lambda: RECORDER in agent.said and has_one_more())
        (gap,) = agent.rows("select epoch_ns(since) as since, epoch_ns(time) as until from gaps")
        since_ns, until_ns = int(str(gap["since"])), int(str(gap["until"]))
        assert killed_ns < until_ns and since_ns < until_ns
        outside = {mark for mark, began_ns, ended_ns in ran if ended_ns < since_ns or began_ns > until_ns}
        assert ran[-1][0] in outside and outside | {"before"} <= marks(agent)
    assert said in agent.said and "unexpected" not in agent.said
    assert agent.said.index(said) < agent.said.index(RECORDER)


def test_the_one_that_asks_an_engine_has_a_successor(make_agent: Callable[..., Agent]) -> None:
    with make_agent() as agent:
        before = named(agent, "nstrace-engine")
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: any(name_of(pid) == "nstrace-engine" and pid != before for pid in agent.children()))
        run("after")
        agent.write_now()
        wait_for(lambda: "after" in marks(agent))
        assert agent.rows("select * from gaps") == []
    assert "ended" not in agent.said


def test_the_agent_itself(make_agent: Callable[..., Agent]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with make_agent(f'[metrics]\nlisten = "127.0.0.1:{port}"') as agent:
        run("before")
        agent.write_now()
        wait_for(lambda: "before" in marks(agent))
        assert agent.process
        others = agent.children()
        agent.process.kill()
        agent.process.wait()
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in others))
        assert "unexpected" not in agent.said
        agent.start()
        assert "before" in marks(agent) and len(agent.rows("select * from gaps")) == 1
