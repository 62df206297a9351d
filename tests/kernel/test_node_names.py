"""Names of containers that no engine knows: from the kubelet's folders of logs, and from the tools of runtimes."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from commands import objects, run
from conftest import wait_for
from following import Event, Following
from oracle import nspid
from runtimes import LOOP, Containerd, Node, containerd, node, running

pytestmark = pytest.mark.kernel
__all__ = ["containerd", "node"]

UID = "3f1c2e4a-9a11-4f0e-8d5a-1d2c3b4a5f60"
CRI = "/run/containerd/containerd.sock"


def new_id() -> str:
    return uuid.uuid4().hex * 2


def of(events: list[Event], container_id: str) -> list[Event]:
    return [event for event in events if (event.get("container") or {}).get("id") == container_id]


def exits(events: list[Event]) -> list[Event]:
    return [event for event in events if event["event"] == "exit"]


def test_pods_by_the_kubelets_folders(node: Node, tmp_path: Path) -> None:
    """A container of before, one that begins meanwhile, whose log is there only later, and that of the pod itself."""
    early, late, pause = new_id(), new_id(), new_id()
    pod = f"kubepods/besteffort/pod{UID}"
    arrows, own = tmp_path / "pod.arrows", tmp_path / "out"
    own.mkdir(mode=0o777)
    node.pod("shop", "web-0", UID, "nginx", early)
    unshare = ("unshare", "--pid", "--fork", "--kill-child", *LOOP)
    with ExitStack() as stack:
        first = stack.enter_context(running(*unshare, cgroup=f"{pod}/{early}"))
        stack.enter_context(running(*unshare, cgroup=f"{pod}/{pause}"))
        follow = stack.enter_context(Following("-w", str(arrows), "pod:shop/web-0", prefix=node.prefix))
        follow.until(lambda events: len(exits(of(events, early))) >= 2)
        stack.enter_context(running(*unshare, cgroup=f"{pod}/{late}"))
        node.pod("shop", "web-0", UID, "db", late)
        events = follow.until(lambda events: len(exits(of(events, late))) >= 10)
        listed = {found["id"]: found for found in objects("containers", prefix=node.prefix)}
        table = run("containers", "pod:shop/web-0", prefix=node.prefix).stdout
        for target in ("web-0_shop_nginx", "name:web-0_shop_nginx", early[:16], early):
            assert first in {process["pid"] for process in objects("ps", target, prefix=node.prefix)}
        assert objects("translate", first, prefix=node.prefix)[0]["container"]["name"] == "web-0_shop_nginx"
        verified = objects("verify", "web-0_shop_nginx", prefix=node.prefix)
        events = follow.stop()
    assert verified
    assert all(finding["ok"] for finding in verified)
    whole = {"uid": UID, "name": "web-0", "namespace": "shop"}
    names = {early: ("web-0_shop_nginx", "nginx"), late: ("web-0_shop_db", "db"), pause: (None, None)}
    for container_id, (name, container) in names.items():
        assert listed[container_id]["pod"] == whole | {"container": container}
        assert (listed[container_id]["name"], listed[container_id]["runtime"]) == (name, "containerd")
        assert listed[container_id]["engine"] == ("kubelet" if name else None)
        assert of(events, container_id)[-1]["container"]["pod"]["name"] == "web-0"
    assert of(events, late)[0]["container"]["pod"]["name"] == "web-0"  # from its first event on
    assert of(events, late)[-1]["container"]["name"] == "web-0_shop_db"
    assert "POD" in table
    assert "NAMESPACE" in table
    replayed = objects("replay", arrows, DOCKER_HOST="unix:///nowhere/sock")
    assert [event["container"] for event in replayed] == [event["container"] for event in events]


def test_containerd_by_ctr(node: Node, containerd: Containerd) -> None:
    """One whose id is its name, and one of nerdctl's, which is named while it is waited for."""
    link = node.path(CRI)
    link.parent.mkdir()
    link.symlink_to(containerd.address)
    redis = f"redis-{new_id()[:8]}"
    plain = containerd.run(redis, "/bin/sh", *LOOP[1:])
    assert next(one["pid"] for one in objects("ps", redis, prefix=node.prefix)) == plain
    late = new_id()
    with Following("-F", redis, "web*", prefix=node.prefix) as follow:
        follow.until(lambda events: len(exits(events)) >= 2)
        options = ("--cgroup", f"/k8s.io/{late}", "--label", "nerdctl/name=web")
        first = containerd.run(late, "/bin/sh", *LOOP[1:], namespace="k8s.io", options=options)
        numbers = nspid(first)
        events = follow.until(lambda events: len(exits(of(events, late))) >= 8)
        listed = {found["id"]: found for found in objects("containers", prefix=node.prefix)}
        translated = objects("translate", "web/1", prefix=node.prefix)
        verified = objects("verify", "web", prefix=node.prefix)
        containerd.remove(late, "k8s.io")
        follow.until(lambda events: any(event.get("pid") == first for event in exits(events)))
        follow.stop()
    assert (listed[f"default/{redis}"]["name"], listed[f"default/{redis}"]["engine"]) == (redis, "ctr")
    assert (listed[late]["name"], listed[late]["engine"], listed[late]["runtime"]) == ("web", "ctr", "containerd")
    assert translated[0]["pid"] == first
    assert {finding["ok"] for finding in verified} == {True}
    mine = [event for event in of(events, late) if event.get("pid") == first]
    assert [event["event"] for event in mine[:2]] == ["fork", "exec"]  # complete, though it was named later
    assert mine[0]["pids"] == numbers
    assert {event["container"]["name"] for event in of(events, late)} == {"web"}


def test_ctr_containers_of_one_name(node: Node, containerd: Containerd) -> None:
    """In three namespaces of containerd's, one of which ctr alone knows to be one: three containers."""
    link = node.path(CRI)
    link.parent.mkdir()
    link.symlink_to(containerd.address)
    name = f"web-{new_id()[:8]}"
    spaces = ("default", "k8s.io", "prod")
    firsts = {f"{space}/{name}": containerd.run(name, "/bin/sh", *LOOP[1:], namespace=space) for space in spaces}
    listed = [one for one in objects("containers", prefix=node.prefix) if one["name"] == name]
    assert {one["id"]: one["init_pid"] for one in listed} == firsts
    for container_id, first in firsts.items():
        assert objects("translate", f"{container_id}/1", prefix=node.prefix)[0]["pid"] == first
        assert nspid(first)[-1] == 1
    container_id = f"prod/{name}"
    with Following(container_id, prefix=node.prefix) as follow:
        events = follow.until(lambda events: len(exits(events)) >= 2)
        follow.stop()
    assert {event["container"]["id"] for event in events} == {container_id}
    assert {event["incarnation"] for event in events if "pid" in event} == {1}
    refused = run("ps", name, prefix=node.prefix)
    assert refused.returncode == 3
    assert f"3 containers are called '{name}'" in refused.stderr
    for space in spaces:
        containerd.remove(name, space)


@pytest.fixture
def cri(node: Node) -> Iterator[Node]:
    """A node with the socket of a runtime, for which crictl is asked."""
    path = node.path(CRI)
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        yield node


def answer(container_id: str, **labels: str) -> str:
    known = {"pod.name": "web-0", "pod.namespace": "shop", "pod.uid": UID, "container.name": "nginx"}
    kept = {f"io.kubernetes.{label}": value for label, value in known.items()} | labels
    listed = {"id": container_id, "image": {"image": "docker.io/library/nginx:1.27"}, "labels": kept}
    return json.dumps({"containers": [listed]})


def test_crictl_and_what_it_may(cri: Node, tmp_path: Path) -> None:
    """The program says what it has, as labels."""
    container_id = new_id()
    labels = {"caps": "$caps", "nnp": "$bounds", "wrote": "$touched", "env": "$names", "words": "$words"}
    script = f"""
words="$*"
caps=$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)
bounds=$(sed -n 's/^NoNewPrivs:[[:space:]]*//p' /proc/self/status)
touched=$(echo x 2>/dev/null >/run/touched && cat /run/touched)
names=$(echo $(env | cut -d= -f1))
[ "$5" = ps ] || exit 1
cat <<END
{answer(container_id, **labels)}
END
"""
    cri.program("crictl", script)
    cgroup = f"kubepods/pod{UID}/{container_id}"
    with running("unshare", "--pid", "--fork", "--kill-child", *LOOP, cgroup=cgroup):
        (listed,) = objects("containers", "image:nginx", prefix=cri.prefix, SECRET="x", LD_PRELOAD="")
        with Following("web-0_shop_nginx", "image:nginx", prefix=cri.prefix) as follow:
            events = follow.until(lambda events: len(exits(events)) >= 3)
            follow.stop()
    assert (listed["id"], listed["name"]) == (container_id, "web-0_shop_nginx")
    assert (listed["engine"], listed["image"]) == ("crictl", "docker.io/library/nginx:1.27")
    assert listed["pod"] == {"uid": UID, "name": "web-0", "namespace": "shop", "container": "nginx"}
    said = listed["labels"]
    assert (int(said["caps"], 16), said["nnp"], said["wrote"]) == (0, "1", "")
    assert set(said["env"].split()) <= {"PATH", "LC_ALL", "HOME", "INCUS_CONF", "PWD", "SHLVL", "_", "OLDPWD"}
    assert said["words"] == f"--runtime-endpoint unix://{CRI} --timeout 2s ps -a -o json"
    assert {event["container"]["name"] for event in events} == {"web-0_shop_nginx"}


@pytest.mark.parametrize("script", ["sleep 61234 & exec sleep 61235", "while :; do printf '%s' \"$0$0$0$0\"; done"])
def test_a_tool_that_hangs_or_floods_costs_seconds_and_is_ended(cri: Node, script: str) -> None:
    cri.program("crictl", script)
    container_id = new_id()
    cgroup = f"kubepods/pod{UID}/{container_id}"
    with running("unshare", "--pid", "--fork", "--kill-child", *LOOP, cgroup=cgroup) as first:
        began_s = time.monotonic()
        listed = objects("containers", prefix=cri.prefix)
        assert time.monotonic() - began_s < 6
        with Following("all", prefix=cri.prefix) as follow:
            follow.until(lambda events: len([one for one in exits(events) if one.get("ppid") == first]) >= 15)
            follow.stop()
    assert container_id in {found["id"] for found in listed}
    wait_for(lambda: not _runs("61234", "61235", "crictl"))


def _runs(*words: str) -> bool:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes())
        except OSError:
            continue
    return any(word.encode() in line.split(b"\0") or f"/{word}".encode() in line for line in lines for word in words)


@pytest.mark.parametrize("mode", ["program", "folder"])
def test_a_tool_that_others_than_root_may_replace_is_not_run(cri: Node, mode: str) -> None:
    container_id = new_id()
    cri.program("crictl", f"cat <<'END'\n{answer(container_id)}\nEND")
    folder = cri.path("/usr/local/bin")
    (folder / "crictl" if mode == "program" else folder).chmod(0o777)
    cgroup = f"kubepods/pod{UID}/{container_id}"
    with running("unshare", "--pid", "--fork", "--kill-child", *LOOP, cgroup=cgroup):
        found = {one["id"]: one for one in objects("containers", prefix=cri.prefix)}
    assert found[container_id]["name"] is None
