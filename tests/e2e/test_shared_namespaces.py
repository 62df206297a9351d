"""Containers that share a PID namespace: whoever comes into one of them is never shown as the other's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from following import Event, Following

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
TIMES = 5


def test_an_exec_is_of_the_container_that_it_enters(start_container: Start) -> None:
    web = start_container(["sh", "-c", "while true; do sleep 0.2; done"])
    side = start_container(["sleep", "600"], pid_mode=f"container:{web.id}")
    with Following(web.name) as alone, Following(web.name, side.name) as both:
        for follow in (alone, both):
            follow.until(lambda events: sum(event["event"] == "exit" for event in events) >= 2)
        for at in range(TIMES):
            assert side.exec_run(["sh", "-c", f"true side-{at}; sleep 0.1"]).exit_code == 0
            assert web.exec_run(["sh", "-c", f"true web-{at}; sleep 0.1"]).exit_code == 0
        events = both.until(lambda events: len(_visitors(events, "web")) == len(_visitors(events, "side")) == TIMES)
        seen = alone.until(lambda events: len(_visitors(events, "web")) == TIMES)
        events, seen = both.stop(), alone.stop()
    for which, container in (("web", web), ("side", side)):
        visitors = _visitors(events, which)
        mine = [event for event in events if event.get("proc_id") in visitors]
        assert {event["container"]["name"] for event in mine} == {container.name}
        assert sum(event["event"] == "fork" for event in mine) == TIMES
    assert not _visitors(seen, "side")
    assert {event["container"]["name"] for event in seen if event["event"] != "gap"} == {web.name}


def _visitors(events: list[Event], which: str) -> set[str]:
    """The first process of each exec into a container."""
    execs = [event for event in events if event["event"] == "exec" and event["args"][0] == "sh"]
    return {event["proc_id"] for event in execs if f"true {which}-" in event["args"][-1]}
