"""Real containers of runtimes whose engine we do not ask: each answer against what the kernel says of its processes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from commands import objects
from conftest import short_folder
from following import Event, Following
from oracle import SOCKET, WORKLOAD, Pair, Receiver, nspid, pidns_inum
from runtimes import (
    LOOP,
    Containerd,
    Node,
    Podman,
    Rootless,
    bubblewrap,
    containerd,
    lxc,
    need,
    node,
    nspawn,
    root_filesystem,
    rootless,
    running,
)

pytestmark = pytest.mark.kernel
__all__ = ["containerd", "node", "rootless"]

COUNT = 20
COMMAND = ["/bin/sh", "-c", f"{WORKLOAD} pairs {SOCKET} {COUNT} burst; exec sleep 600"]


@pytest.fixture(autouse=True)
def somebody(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A container that is there before, since `Following.ready` waits for one. No engine answers."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/sock")
    other = f"other-{uuid.uuid4().hex[:8]}"
    with running("unshare", "-p", "-f", "--kill-child", "sleep", "600", cgroup=f"lxc.payload.{other}"):
        yield other


@pytest.fixture
def name() -> str:
    return f"box-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of a container, which has the workload's place and the oracle's."""
    made = root_filesystem(tmp_path / "root")
    (made / WORKLOAD[1:]).touch()
    (made / SOCKET[1:]).parent.mkdir()
    return made


def mounts(workload: Path, receiver: Receiver) -> dict[Path, str]:
    return {workload: WORKLOAD, receiver.directory: str(Path(SOCKET).parent)}


def remove_cgroups(*names: str) -> None:
    """What a runtime leaves in all hierarchies when it is killed."""
    top = Path("/sys/fs/cgroup")
    for place in (found for name in names for found in (*top.glob(name), *top.glob(f"*/{name}"))):
        with suppress(OSError):
            place.rmdir()


def of_id(container_id: str | None, inum: int, events: list[Event]) -> list[Event]:
    """The events of a container, or where it has no id of a namespace."""
    if container_id is None:
        return [event for event in events if event.get("pidns") == inum]
    return [event for event in events if (event.get("container") or {}).get("id") == container_id]


def check(
    first: int,
    container_id: str | None,
    runtime: str | None,
    receiver: Receiver,
    everything: Following,
    folder: Path,
    targets: list[str],
) -> None:
    """All answers about a container whose processes wait for `receiver`."""
    pairs = receiver.wait(COUNT)
    inum = pidns_inum(first)
    assert inum
    known = {first: nspid(first)} | {pair.host_tgid: [pair.host_tgid, pair.ns_pid] for pair in pairs}
    assert all(nspid(tgid) == numbers for tgid, numbers in known.items())
    assert {pair.pidns for pair in pairs} == {inum}
    _check_lists(known, container_id, runtime, first, inum, targets)
    files = [folder / f"{at}.arrows" for at in range(len(targets))]
    streams = [Following("-w", str(file), target).ready() for file, target in zip(files, targets, strict=True)]
    receiver.release()
    for stream, file in zip(streams, files, strict=True):
        _check_stream(stream, file, known, pairs, container_id)
    events = everything.until(lambda events: len(_ended(of_id(container_id, inum, events), pairs)) == COUNT)
    begun: dict[int, list[int]] = {}
    for event in of_id(container_id, inum, events):
        if event["event"] == "fork" or event.get("pid") == first:  # which LXC moves to where it belongs after its fork
            begun.setdefault(event["pid"], event["pids"])
    missing = {tgid: numbers for tgid, numbers in known.items() if begun.get(tgid) != numbers}
    assert not missing, (first, events[:20])


def _check_lists(
    known: dict[int, list[int]],
    container_id: str | None,
    runtime: str | None,
    first: int,
    inum: int,
    targets: list[str],
) -> None:
    for target in targets:
        listed = {process["pid"]: process["pids"] for process in objects("ps", target)}
        assert known.items() <= listed.items(), target
        assert all(finding["ok"] for finding in objects("verify", target))
    for tgid, numbers in known.items():
        (found,) = objects("translate", f"pidns:{inum}/{numbers[-1]}")
        assert found["pid"] == tgid
        assert (found["container"] or {}).get("id") == container_id
    (one,) = (one for one in objects("containers") if one["pidns"] == inum)
    assert (one["id"], one["runtime"], one["init_pid"]) == (container_id, runtime, first)


def _check_stream(
    stream: Following,
    file: Path,
    known: dict[int, list[int]],
    pairs: list[Pair],
    container_id: str | None,
) -> None:
    with stream:
        stream.until(lambda events: len(_ended(events, pairs)) == COUNT)
        events = stream.stop()
    before = {event["pid"]: event["pids"] for event in events if event["event"] == "snapshot"}
    assert known.items() <= before.items()
    assert {(event["container"] or {}).get("id") for event in events if "pid" in event} == {container_id}
    replayed = objects("replay", file)
    assert [event for event in replayed if "pid" in event] == [event for event in events if "pid" in event]


def _ended(events: list[Event], pairs: list[Pair]) -> set[int]:
    ids = {pair.host_tgid for pair in pairs}
    return {event["pid"] for event in events if event["event"] == "exit" and event["pid"] in ids}


def test_containerd(
    containerd: Containerd, somebody: str, name: str, workload: Path, holding_receiver: Receiver, tmp_path: Path
) -> None:
    (containerd.root / WORKLOAD[1:]).touch()
    (containerd.root / SOCKET[1:]).parent.mkdir()
    binds = mounts(workload, holding_receiver)
    options = [
        word
        for path, place in binds.items()
        for word in ("--mount", f"type=bind,src={path},dst={place},options=rbind:rw")
    ]
    with Following("-F", name, somebody) as everything:
        everything.ready()
        first = containerd.run(name, *COMMAND, options=tuple(options))
        check(
            *(first, f"default/{name}", "containerd", holding_receiver, everything, tmp_path),
            [name, f"default/{name}", f"name:{name}", f"{name[:-2]}*"],
        )
        containerd.remove(name)
        everything.stop()


def test_lxc(somebody: str, name: str, root: Path, workload: Path, holding_receiver: Receiver, tmp_path: Path) -> None:
    need("lxc-start")
    (tmp_path / "lxc").mkdir()
    argv = lxc(tmp_path / "lxc", name, root, mounts(workload, holding_receiver), *COMMAND)
    with Following("-F", name, somebody) as everything:
        everything.ready()
        with running(*argv) as first:
            container_id = f"lxc.payload.{name}"
            targets = [name, container_id, f"{name[:-2]}*"]
            check(first, container_id, "lxc", holding_receiver, everything, tmp_path, targets)
        everything.stop()
    remove_cgroups(f"lxc.payload.{name}", f"lxc.monitor.{name}")


def test_podman_without_its_service(
    somebody: str, root: Path, workload: Path, holding_receiver: Receiver, tmp_path: Path
) -> None:
    """By its id alone, which the path of its cgroup has."""
    need("podman")
    need("runc")
    with short_folder() as folder:
        podman = Podman(folder, root)
        container_id = podman.create(mounts(workload, holding_receiver), *COMMAND)
        with Following("-F", container_id, somebody) as everything:
            everything.ready()
            first = podman.start(container_id)
            targets = [container_id, container_id[:12]]
            try:
                check(first, container_id, "podman", holding_receiver, everything, tmp_path, targets)
            finally:
                podman.remove(container_id)
            everything.stop()


@pytest.mark.parametrize("program", ["systemd-nspawn", "bwrap"])
def test_namespaces_without_a_cgroup(
    program: str, name: str, root: Path, workload: Path, holding_receiver: Receiver, tmp_path: Path
) -> None:
    """systemd does not run on every machine that tests run on: without it nspawn makes no cgroup that it would be known
    by (`test_runtimes` has the paths), and bubblewrap makes none anywhere."""
    need(program)
    binds = mounts(workload, holding_receiver)
    argv = nspawn(name, root, binds, *COMMAND) if program == "systemd-nspawn" else bubblewrap(root, binds, *COMMAND)
    with Following("all") as everything:
        everything.ready()
        with running(*argv) as first:
            inum = pidns_inum(first)
            check(first, None, None, holding_receiver, everything, tmp_path, [f"pidns:{inum}", f"pid:{first}"])
        everything.stop()
    remove_cgroups("payload", "supervisor")


def test_podman_of_a_user(rootless: Rootless, node: Node, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Its containers have no cgroup of their own here. Its engine names them, and claims nobody else's process."""
    monkeypatch.setenv("DOCKER_HOST", "")
    place = node.path(f"/run/user/{rootless.uid}/podman/podman.sock")
    place.parent.mkdir(parents=True)
    place.symlink_to(rootless.path)
    container_id = rootless.run(name, *LOOP)
    first = int(rootless.podman("inspect", "--format", "{{.State.Pid}}", name))
    assert nspid(first)[-1] == 1
    for target in (name, container_id[:12], container_id):
        assert first in {process["pid"] for process in objects("ps", target, prefix=node.prefix)}
        (found,) = objects("translate", f"{target}/1", prefix=node.prefix)
        assert (found["pid"], found["pids"]) == (first, nspid(first))
        with Following(target, prefix=node.prefix) as follow:
            events = follow.until(lambda events: sum(event["event"] == "exit" for event in events) >= 3)
            follow.stop()
        assert {event["container"]["name"] for event in events} == {name}
        assert {event["ppid"] for event in events if event["event"] == "fork"} == {first}
    assert all(finding["ok"] for finding in objects("verify", name, prefix=node.prefix))
    (listed,) = (one for one in objects("containers", prefix=node.prefix) if one["id"] == container_id)
    assert (listed["name"], listed["engine"], listed["init_pid"]) == (name, f"podman:{rootless.uid}", first)
