"""Containers of runtimes without an engine that we ask: by cgroup and namespace, live, recorded and from /proc."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import objects, run
from conftest import wait_for
from following import Event, Following
from oracle import compile_static, pidns_inum
from runtimes import LOOP, need, running

pytestmark = pytest.mark.kernel

HEX = "c" * 52 + uuid.uuid4().hex[:12]
OTHER = "d" * 52 + uuid.uuid4().hex[:12]


@pytest.fixture(autouse=True)
def somebody() -> Iterator[None]:
    """A process that is there before: `Following.ready` waits for one."""
    with running("unshare", "-p", "-f", "--kill-child", "sleep", "600"):
        yield


def sleeps(events: list[Event]) -> list[Event]:
    return [event for event in events if event["event"] == "exec" and event["args"][0] == "sleep"]


@pytest.mark.parametrize(
    ("runtime", "name", "cgroup"),
    [
        ("containerd", "redis-1", "default/redis-1"),
        ("containerd", HEX, f"kubepods/besteffort/pod3f1c2e4a-9a11-4f0e-8d5a-1d2c3b4a5f60/{HEX}"),
        ("cri-o", OTHER, f"kubepods.slice/kubepods-pod3f1c2e4a_9a11_4f0e_8d5a_1d2c3b4a5f60.slice/crio-{OTHER}.scope"),
        ("lxc", "box", "lxc.payload.box"),
        ("nspawn", "deb", "machine.slice/machine-deb.scope/payload"),
    ],
)
def test_by_the_path_of_its_cgroup(runtime: str, name: str, cgroup: str, tmp_path: Path) -> None:
    arrows = tmp_path / "run.arrows"
    name = name if name in (HEX, OTHER) else cgroup  # else it is no id
    with Following("-w", str(arrows), "all") as follow:
        follow.ready()
        with running("unshare", "-p", "-f", "--kill-child", *LOOP, cgroup=cgroup) as first:
            events = follow.until(lambda events: len(sleeps(of(events, name))) >= 2)
            (listed,) = (one for one in objects("containers") if one["id"] == name)
            translated = objects("translate", first)[0]["container"]
        follow.stop()
    mine = of(events, name)
    assert {event["container"]["runtime"] for event in mine} == {runtime}
    assert (listed["runtime"], translated["id"]) == (runtime, name)
    pod = {"uid": "3f1c2e4a-9a11-4f0e-8d5a-1d2c3b4a5f60", "name": None, "namespace": None, "container": None}
    for container in (mine[-1]["container"], listed, translated):
        assert container.get("pod") == (pod if "kubepods" in cgroup else None)
    assert len(of(objects("replay", arrows), name)) >= len(mine)


def of(events: list[Event], container_id: str) -> list[Event]:
    return [event for event in events if (event.get("container") or {}).get("id") == container_id]


@pytest.mark.parametrize("program", ["unshare", "bwrap"])
def test_bare_namespaces(program: str) -> None:
    need(program)
    argv = {"unshare": ["unshare", "-p", "-f", "--kill-child"], "bwrap": ["bwrap", "--unshare-pid", "--bind", "/", "/",
            "--proc", "/proc", "--dev", "/dev"]}[program]  # fmt: skip
    with Following("all") as follow:
        follow.ready()
        with running(*argv, *LOOP) as first:
            inum = pidns_inum(first)
            found = follow.until(lambda events: len(sleeps([e for e in events if e.get("pidns") == inum])) >= 2)
            (listed,) = (one for one in objects("containers") if one["pidns"] == inum)
        follow.stop()
    mine = [event for event in found if event.get("pidns") == inum]
    assert {event["container"] for event in mine if not event["container"]} == {None}
    assert (listed["id"], listed["init_pid"]) == (None, first)
    assert next(event["ns_pid"] for event in mine if event["event"] == "fork") == 1


def test_runc(tmp_path: Path) -> None:
    need("runc")
    bundle, name = tmp_path / "bundle", f"nstrace-{uuid.uuid4().hex[:8]}"
    (bundle / "rootfs").mkdir(parents=True)
    (tmp_path / "pause.c").write_text("#include <unistd.h>\nint main(void) { return pause(); }\n")
    compile_static(tmp_path / "pause.c", bundle / "rootfs")
    subprocess.run(["runc", "spec"], cwd=bundle, check=True)
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"] |= {"terminal": False, "args": ["/pause", "600"]}
    spec["linux"]["cgroupsPath"] = f"/default/{name}"
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["destination"] == "/proc"]
    spec["root"]["readonly"] = False
    (bundle / "config.json").write_text(json.dumps(spec))
    container_id = f"default/{name}"
    with Following("all") as follow:
        follow.ready()
        with subprocess.Popen(["runc", "run", "--bundle", str(bundle), name], stdin=subprocess.DEVNULL) as runc:
            events = follow.until(lambda events: len(sleeps_of(events, container_id)) >= 1)
            first = sleeps_of(events, container_id)[0]["pid"]
            (listed,) = (one for one in objects("containers") if one["id"] == container_id)
            subprocess.run(["runc", "kill", name, "KILL"], check=True)
            runc.wait()
        follow.stop()
    assert (listed["init_pid"], listed["runtime"]) == (first, "containerd")
    assert next(event["event"] for event in of(events, container_id) if event["pid"] == first) == "fork"
    subprocess.run(["runc", "delete", "--force", name], check=False, capture_output=True)


def sleeps_of(events: list[Event], name: str) -> list[Event]:
    return [event for event in of(events, name) if event["event"] == "exec" and "600" in event["args"]]


def test_a_namespace_whose_first_process_is_a_zombie_is_verified() -> None:
    code = (
        "import ctypes, os, time\n"
        "assert ctypes.CDLL(None).unshare(0x20000000) == 0\n"
        "pid = os.fork()\n"
        "if not pid: os._exit(0)\n"
        "print(pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        try:
            zombie = int(parent.stdout.readline())
            wait_for(lambda: "\nState:\tZ" in Path(f"/proc/{zombie}/status").read_text())
            (finding,) = objects("verify", f"pid:{zombie}")
        finally:
            parent.kill()
    assert (finding["pid"], finding["nspid"], finding["ok"]) == (zombie, 1, True)
    assert finding["not_known"] == ["inside"]  # nobody is born there any more who could look


STATIC = uuid.uuid4().hex  # a static pod's uid is a hash of its manifest


@pytest.mark.parametrize(
    ("uid", "cgroup", "runtime"),
    [
        (str(uuid.uuid4()), "kubepods/pod{uid}/{id}", "containerd"),
        (str(uuid.uuid4()), "kubepods/besteffort/pod{uid}/{id}", "containerd"),
        (STATIC, "kubepods/burstable/pod{uid}/crio-{id}", "cri-o"),
        (
            str(uuid.uuid4()),
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice/cri-containerd-{id}.scope",
            "containerd",
        ),
        (
            STATIC,
            "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{slice}.slice/crio-{id}.scope",
            "cri-o",
        ),
        (str(uuid.uuid4()), "kubepods.slice/kubepods-pod{slice}.slice/docker-{id}.scope", "docker"),
    ],
)
def test_a_pod_is_a_target_without_any_engine(
    uid: str, cgroup: str, runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/sock")
    container_id, arrows = uuid.uuid4().hex * 2, tmp_path / "pod.arrows"
    path = cgroup.format(uid=uid, slice=uid.replace("-", "_"), id=container_id)
    targets = (f"pod:{uid}", f"pod:{uid[:13]}", container_id[:12], container_id)
    with running("unshare", "-p", "-f", "--kill-child", *LOOP, cgroup=path) as first:
        for target in targets:
            assert first in {process["pid"] for process in objects("ps", target)}
        (listed,) = objects("containers", f"pod:{uid}")
        for space in (f"pod:{uid}", container_id[:12]):
            assert objects("translate", f"{space}/{first}")[0]["pid"] == first  # it began in the host's namespace
        with Following("-w", str(arrows), f"pod:{uid}") as follow:
            events = follow.until(lambda events: len(sleeps(events)) >= 1)
            follow.stop()
    assert (listed["id"], listed["runtime"], listed["pod"]["uid"]) == (container_id, runtime, uid)
    assert {event["container"]["pod"]["uid"] for event in events if event.get("container")} == {uid}
    for target in targets:
        assert first in {event.get("pid") for event in objects("replay", arrows, target)}
        assert first in {process["pid"] for process in objects("ps", "--from", arrows, target)}


def test_a_number_is_in_one_container_of_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/sock")
    uid, ids = str(uuid.uuid4()), [uuid.uuid4().hex * 2 for _ in range(2)]
    argv = ("unshare", "-p", "-f", "--kill-child", *LOOP)
    paths = [f"kubepods/pod{uid}/{container_id}" for container_id in ids]
    with running(*argv, cgroup=paths[0]), running(*argv, cgroup=paths[1]):
        refused = run("translate", f"pod:{uid}/1")
        unknown = run("translate", f"pod:{uuid.uuid4()}/1")
    assert refused.returncode == unknown.returncode == 3
    assert all(container_id[:12] in refused.stderr for container_id in ids)
    assert "no container of the pod" in unknown.stderr


def test_a_task_of_ecs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/sock")
    container_id, task = uuid.uuid4().hex * 2, uuid.uuid4().hex
    with running("unshare", "-p", "-f", "--kill-child", *LOOP, cgroup=f"ecs/{task}/{container_id}") as first:
        assert first in {process["pid"] for process in objects("ps", container_id[:12])}
        with Following(container_id[:20]) as follow:
            events = follow.until(lambda events: len(sleeps(events)) >= 1)
            follow.stop()
    assert {(event["container"]["id"], event["container"]["task"]) for event in events} == {(container_id, task)}
