"""Cgroups that are called as a container's are: whoever made them is not that container, and takes nobody out of his
own. Each answer says so: the stream, a recording of it, lists, translations, verify; with an engine and without."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands import init, objects
from conftest import wait_for
from following import Event, Following
from oracle import pids_hierarchy

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
ALICE = 12345
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/sock"}
LOOP = ["sh", "-c", "while true; do sleep 0.2; done"]


def own_cgroup(tgid: int) -> Path:
    """Of the hierarchy that counts."""
    top = pids_hierarchy()
    controller = "pids" if top.name == "pids" else ""
    for line in Path(f"/proc/{tgid}/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        if controllers == controller:
            return top / path[1:]
    raise AssertionError(f"{tgid} is in no cgroup of {top}")


@pytest.fixture
def alices() -> Iterator[Path]:
    """A cgroup that a user may make others in."""
    own = pids_hierarchy() / f"alice-{uuid.uuid4().hex[:8]}"
    own.mkdir()
    os.chown(own, ALICE, ALICE)
    yield own
    for directory in sorted(own.glob("**/"), reverse=True):
        wait_for(partial(_is_removed, directory))


def _is_removed(directory: Path) -> bool:
    with suppress(OSError):
        directory.rmdir()
    return not directory.exists()


@contextmanager
def loops(make: Callable[[str], Path]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Gives a function (name, *argv) that starts a loop, run by argv, in the cgroup that `make` makes of the name."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, *argv: str) -> subprocess.Popen[bytes]:
        cgroup = make(name)
        enter = lambda: (cgroup / "cgroup.procs").write_text(str(os.getpid()))  # noqa: E731
        child = subprocess.Popen([*argv, *LOOP], preexec_fn=enter, start_new_session=True)
        started.append(child)
        return child

    yield start
    for child in started:
        os.killpg(child.pid, 9)
        child.wait()


@pytest.fixture
def hers(alices: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """hers(cgroup, *argv): a loop of the user's, run by argv, in a cgroup that she has made."""

    def make(name: str) -> Path:
        cgroup = alices / "docker" / name
        as_alice = ["setpriv", f"--reuid={ALICE}", f"--regid={ALICE}", "--clear-groups"]
        subprocess.run([*as_alice, "mkdir", "-p", str(cgroup)], check=True)
        return cgroup

    with loops(make) as start:
        yield start


UNSHARE = ["unshare", "--pid", "--fork", "--kill-child"]


@pytest.mark.parametrize("argv", [[], UNSHARE], ids=["a name", "a name and a namespace"])
def test_a_user_is_no_container_of_roots_engine(
    argv: list[str], hers: Callable[..., subprocess.Popen[bytes]], start_container: Start, tmp_path: Path
) -> None:
    web, stopped = start_container(LOOP), start_container(["true"])
    stopped.wait()
    with Following("-w", str(tmp_path / "all.arrows"), "all") as follow:
        follow.ready()
        imposters = [hers(container.id, *argv).pid for container in (web, stopped)]
        mine = follow.until(lambda events: sum(_is_of(event, web) for event in events) >= 6)
        wait_for(lambda: all(_descends(pid) for pid in imposters))
        follow.stop()
    assert not {event.get("ppid") for event in mine if _is_of(event, web)} & set(imposters)
    assert not [event for event in mine if _is_of(event, stopped)]
    descendants = {pid for imposter in imposters for pid in [imposter, *_descends(imposter)]}
    for environment in ({}, NO_ENGINE):
        assert not {one["pid"] for one in objects("ps", web.id[:20], **environment)} & descendants
        (listed,) = (one for one in objects("containers", **environment) if one["id"] == web.id)
        assert listed["init_pid"] == init(web)
    assert stopped.id not in {one["id"] for one in objects("containers")}
    for pid in imposters:
        assert objects("translate", pid)[0]["container"] is None
    assert all(finding["ok"] for finding in objects("verify", web.name))


def _is_of(event: Event, container: Any) -> bool:
    return bool((event["container"] or {}).get("id") == container.id)


def _descends(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


@pytest.mark.parametrize("pid_mode", [None, "host"])
def test_a_container_does_not_vanish_into_a_cgroup_of_another_name(
    pid_mode: str | None, start_container: Start, tmp_path: Path
) -> None:
    db = start_container()
    script = (
        "own=$(sed -n 's/^[0-9]*:pids://p' /proc/self/cgroup); base=/sys/fs/cgroup/pids;"
        ' [ "$own" ] || { own=$(sed -n "s/^0:://p" /proc/self/cgroup); base=/sys/fs/cgroup; };'
        f" mkdir -p $base$own/docker/{db.id}; echo 0 >$base$own/docker/{db.id}/cgroup.procs;"
        " while true; do sleep 0.2; unshare -p -f true; done"
    )
    options = {"mounts": ("/sys/fs/cgroup:/sys/fs/cgroup:rw",), "cgroupns": "host"}
    options |= {"cap_add": ["SYS_ADMIN"], "security_opt": ["seccomp=unconfined"]}
    web = start_container(["sh", "-c", "sleep 1; " + script], pid_mode=pid_mode, **options)
    with Following("-w", str(tmp_path / "web.arrows"), web.name) as follow:
        events = follow.until(lambda events: sum("unshare" in (event.get("args") or ()) for event in events) >= 3)
        late = Following(web.name)
        with late:  # it has the cgroup from the list alone
            later = late.until(lambda events: sum("unshare" in (event.get("args") or ()) for event in events) >= 3)
            late.stop()
        follow.stop()
    for found in events, later:
        assert {event["container"]["name"] for event in found if event["event"] != "gap"} == {web.name}
        assert {"sleep", "unshare", "true"} <= {event["args"][0] for event in found if event["event"] == "exec"}
    assert {one["pid"] for one in objects("ps", db.name)} == {init(db)}
    assert init(web) in {one["pid"] for one in objects("ps", web.name)}
    assert objects("translate", init(web))[0]["container"]["name"] == web.name
    for name, container in ((web.name, web), (db.name, db)):
        (listed,) = (one for one in objects("containers") if one["name"] == name)
        assert listed["init_pid"] == init(container)
    assert all(finding["ok"] for finding in objects("verify", db.name))


def test_a_first_process_that_is_moved_to_another_container_stays_its_own(
    start_container: Start, tmp_path: Path
) -> None:
    web, db = start_container(LOOP), start_container(LOOP)
    arrows = tmp_path / "both.arrows"
    with Following("-w", str(arrows), web.name, db.name) as follow:
        follow.until(lambda events: sum(event["event"] == "exit" for event in events) >= 2)
        (own_cgroup(init(db)) / "cgroup.procs").write_text(str(init(web)))
        begun = len(follow.events())
        follow.until(lambda events: sum(event["event"] == "fork" for event in events[begun:]) >= 8)
        events = follow.stop()
    children = {container.name: {event["pid"] for event in events if event.get("ppid") == init(container)}
                for container in (web, db)}  # fmt: skip
    for name, pids in children.items():
        assert {event["container"]["name"] for event in events if event.get("pid") in pids} == {name}
    recorded = objects("replay", arrows)
    assert [event["container"] for event in recorded if "pid" in event] == [
        event["container"] for event in events if "pid" in event
    ]
    for container in (web, db):
        assert objects("translate", init(container))[0]["container"]["name"] == container.name
        (listed,) = (one for one in objects("containers") if one["name"] == container.name)
        assert listed["init_pid"] == init(container)
        assert init(container) in {one["pid"] for one in objects("ps", container.name)}
        with Following(container.name) as again:
            found = again.until(lambda events: sum(event["event"] == "exit" for event in events) >= 3)
            again.stop()
        assert {event["ppid"] for event in found if event["event"] == "fork"} == {init(container)}
        assert all(finding["ok"] for finding in objects("verify", container.name))


@pytest.fixture
def roots() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """roots(cgroup, *argv): a loop of root's, run by argv, in a cgroup of root's making."""
    top = pids_hierarchy() / f"agent-{uuid.uuid4().hex[:8]}"

    def make(name: str) -> Path:
        cgroup = top / "docker" / name
        cgroup.mkdir(parents=True, exist_ok=True)
        return cgroup

    with loops(make) as start:
        yield start
    for directory in sorted(top.glob("**/"), reverse=True):
        wait_for(partial(_is_removed, directory))


@pytest.mark.parametrize("argv", [[], UNSHARE], ids=["a name", "a name and a namespace"])
def test_roots_second_cgroup_of_a_name_is_not_the_container(
    argv: list[str], roots: Callable[..., subprocess.Popen[bytes]], start_container: Start, tmp_path: Path
) -> None:
    """One that is there when the stream begins, and one that comes later; through a restart of the container too."""
    web, arrows = start_container(LOOP), tmp_path / "all.arrows"
    before = roots(web.id, *argv)
    with Following("-w", str(arrows), web.name) as follow:
        follow.until(lambda events: sum(event["event"] == "exit" for event in events) >= 3)
        after = roots(web.id, *argv)
        wait_for(lambda: bool(_descends(after.pid)))
        mine = follow.until(lambda events: sum(event["event"] == "exit" for event in events) >= 8)
        imposters = {pid for one in (before, after) for pid in [one.pid, *_descends(one.pid)]}
        for environment in ({}, NO_ENGINE):
            assert not {one["pid"] for one in objects("ps", web.id[:20], **environment)} & imposters
            (listed,) = (one for one in objects("containers", **environment) if one["id"] == web.id)
            assert listed["init_pid"] == init(web)
            for one in (before, after):
                assert objects("translate", one.pid, **environment)[0]["container"] is None
            assert objects("translate", init(web), **environment)[0]["container"]["id"] == web.id
        assert all(finding["ok"] for finding in objects("verify", web.name))
        web.restart(timeout=0)
        again = init(web)
        mine = follow.until(lambda events: sum(event.get("ppid") == again for event in events) >= 8)
        follow.stop()
    assert {event["container"]["id"] for event in mine} == {web.id}
    assert not {event.get("ppid") for event in mine} & imposters
    assert not {event.get("pid") for event in mine} & imposters
    replayed = objects("replay", arrows, web.id[:20], **NO_ENGINE)
    assert not {event.get("ppid") for event in replayed} & imposters
    assert {event["container"]["id"] for event in replayed} == {web.id}
    with Following(web.name) as late:
        events = late.until(lambda events: sum(event["event"] == "exit" for event in events) >= 4)
        late.stop()
    assert not {event.get("ppid") for event in events} & imposters
