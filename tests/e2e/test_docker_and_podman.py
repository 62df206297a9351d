"""nstrace beside Docker and Podman at once, and beside an engine of a user: each container by the name of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import ENGINE, short_folder, wait_for
from engine_processes import children, name_of
from oracle import pids_hierarchy
from runtimes import podman_below

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
UID = 4242


class Podman:
    """Podman's service on a socket, with everything below a folder."""

    def __init__(self, folder: Path, image: str) -> None:
        self._podman, self._env = podman_below(folder)
        saved = subprocess.Popen(["docker", "-H", ENGINE, "save", image], stdout=subprocess.PIPE)
        with saved:
            subprocess.run([*self._podman, "load"], stdin=saved.stdout, env=self._env, check=True, capture_output=True)
        self._image = f"localhost/{image}:latest"
        self.path = folder / "sock"
        argv = [*self._podman, "system", "service", "--time=0", f"unix://{self.path}"]
        with (folder / "log").open("wb") as log:
            self._service = subprocess.Popen(argv, env=self._env, stdout=log, stderr=log)
        wait_for(self.path.exists)

    def run(self, name: str, *command: str) -> str:
        """Start a container. Returns its id."""
        return self.podman("run", "-d", "--network=none", "--name", name, self._image, *command)

    def podman(self, *args: str) -> str:
        """What podman prints."""
        done = subprocess.run([*self._podman, *args], env=self._env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def close(self) -> None:
        """End it with all containers."""
        with suppress(AssertionError):
            self.podman("rm", "-af", "-t", "0")
        self._service.terminate()
        self._service.wait(30)


@pytest.fixture
def podman(image: str) -> Iterator[Podman]:
    with short_folder() as folder:
        podman = Podman(folder, image)
        yield podman
        podman.close()


class Host:
    """Runs nstrace where these are the default sockets, in a mount namespace of its own."""

    def __init__(self, folder: Path) -> None:
        self.run = folder / "run"
        self.run.mkdir()

    def add(self, name: str, path: Path) -> None:
        """Make a socket a default one."""
        place = self.run / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path)

    def nstrace(self, *args: str) -> subprocess.Popen[str]:
        """Begin it."""
        script = f'mount --make-rprivate / && mount --bind {self.run} /run && exec "$@"'
        argv = ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-m", "tracer", *args]
        env = {name: value for name, value in os.environ.items() if name != "DOCKER_HOST"}
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)

    def says(self, *args: str) -> str:
        """What it prints, of a run that ends well."""
        with self.nstrace(*args) as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path)
    host.add("docker.sock", Path(ENGINE.removeprefix("unix://")))
    return host


@pytest.fixture
def name() -> str:
    return f"nstrace-{uuid.uuid4().hex[:8]}"


def test_docker_and_podman_at_once(podman: Podman, host: Host, name: str, start_container: Start) -> None:
    host.add("podman/podman.sock", podman.path)
    start_container(name=f"{name}-d")
    podman_id = podman.run(f"{name}-p", "sleep", "600")
    listed = {found["name"]: found for found in map(json.loads, host.says("containers", "--json").splitlines())}
    assert [listed[f"{name}-{which}"]["engine"] for which in "dp"] == ["docker", "podman"]
    assert [listed[f"{name}-{which}"]["runtime"] for which in "dp"] == ["docker", "podman"]
    inside = podman.podman("inspect", "-f", "{{.State.Pid}}", podman_id)
    assert host.says("translate", "-q", f"{name}-p/1").strip() == inside


def test_both_are_followed_by_one_pattern(podman: Podman, host: Host, name: str, start_container: Start) -> None:
    host.add("podman/podman.sock", podman.path)
    start_container(name=f"{name}-old")
    with host.nstrace("follow", "--json", f"{name}-*") as follow:
        lines = Lines(follow)
        lines.until(lambda events: any(event["event"] == "snapshot" for event in events))
        start_container(["true"], name=f"{name}-d").wait()
        podman.run(f"{name}-p", "true")
        events = lines.until(lambda events: ended(events) >= {f"{name}-d", f"{name}-p"})
        follow.terminate()
        follow.communicate(timeout=60)
    runtimes = {(event["container"]["name"], event["container"]["runtime"]) for event in events if event["container"]}
    assert runtimes >= {(f"{name}-d", "docker"), (f"{name}-p", "podman")}


def ended(events: list[dict[str, Any]]) -> set[str]:
    exits = [event for event in events if event["event"] == "exit" and event["ns_pid"] == 1]
    return {event["container"]["name"] for event in exits}


class Lines:
    """The events of a running process, as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        self._file, self._rest = process.stdout, b""
        self._events: list[dict[str, Any]] = []
        os.set_blocking(self._file.fileno(), False)

    def until(self, wanted: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """Wait until those so far are as wanted."""

        def are_there() -> bool:
            with suppress(BlockingIOError):
                *lines, self._rest = (self._rest + os.read(self._file.fileno(), 1 << 20)).split(b"\n")
                self._events += map(json.loads, lines)
            return wanted(self._events)

        wait_for(are_there)
        return self._events


SERVE = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from fake_engine import container, serving
with serving(Path(sys.argv[2])) as engine:
    engine.containers = [container(one, f"user-{at}") for at, one in enumerate(sys.argv[3:])]
    print("there", flush=True)
    sys.stdin.read()
"""


def test_a_users_engine_names_that_users_containers_alone(host: Host, name: str, start_container: Start) -> None:
    """It says names for a container of its own, for one that no engine knows, and for one of docker's."""
    web = start_container(name=name)
    own, foreign = uuid.uuid4().hex * 2, uuid.uuid4().hex * 2
    place = host.run / "user" / str(UID)
    (place / "podman").mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="nstrace-") as folder, ExitStack() as stack:
        Path(folder).chmod(0o777)
        shutil.copy(Path(__file__).parents[1] / "fake_engine.py", folder)  # ours may be a folder that nobody may enter
        python = os.path.realpath(sys.executable)
        argv = [python, "-c", SERVE, folder, f"{folder}/sock", own, foreign, web.id]
        engine = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=UID, group=UID)
        stack.enter_context(engine)
        assert engine.stdin and engine.stdout and engine.stdout.readline() == b"there\n"
        stack.callback(engine.stdin.close)
        (place / "podman/podman.sock").symlink_to(f"{folder}/sock")
        slice_ = f"user.slice/user-{UID}.slice/user@{UID}.service/libpod-{own}.scope"
        stack.enter_context(running_in(pids_hierarchy() / slice_, maker=UID))
        stack.enter_context(running_in(pids_hierarchy() / f"docker/{foreign}"))
        listed = {found["id"]: found for found in map(json.loads, host.says("containers", "--json").splitlines())}
    names = {which: (listed[which]["name"], listed[which]["engine"]) for which in (own, foreign, web.id)}
    assert names == {own: ("user-0", f"docker:{UID}"), foreign: (None, None), web.id: (name, "docker")}


def running_in(cgroup: Path, maker: int = 0) -> ExitStack:
    """A PID namespace in a new cgroup, until the end; the cgroups that were made are removed. maker: whose the folder
    around it is."""
    stack = ExitStack()
    made = [folder for folder in (cgroup, *cgroup.parents) if not folder.exists()]
    cgroup.mkdir(parents=True)
    if maker:
        os.chown(cgroup.parent, maker, maker)
    for folder in reversed(made):
        stack.callback(wait_for, partial(removed, folder))
    inside = "exec unshare --fork --pid --kill-child sleep 600"
    process = subprocess.Popen(["sh", "-c", f"echo $$ >{cgroup}/cgroup.procs; {inside}"])
    stack.callback(process.wait)
    stack.callback(process.kill)
    wait_for(lambda: [name_of(child) for child in children(process.pid)] == ["sleep"])
    return stack


def removed(folder: Path) -> bool:
    with suppress(OSError):
        folder.rmdir()
    return not folder.exists()
