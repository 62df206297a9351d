"""Cgroup paths of every runtime, as they were seen on hosts."""

import time

import pytest

from tracer.containers.cgroup_paths import Found, claims, ecs_task, find, pod_uid

A = "eda3b6fa0695ebf41f9c05b225403637aadbf7867d5db01b04e233028991f487"
B = "0123456789abcdef" * 4
C = "fedcba9876543210" * 4
POD = "pod3f1c2e4a-9a11-4f0e-8d5a-1d2c3b4a5f60"
SLICE = "kubepods-burstable-pod3f1c2e4a_9a11_4f0e_8d5a_1d2c3b4a5f60.slice"
USER = "/user.slice/user-1000.slice/user@1000.service"

PATTERNS = [
    ("docker, cgroupfs", f"/docker/{A}", Found("docker", A, 2)),
    ("docker, systemd", f"/system.slice/docker-{A}.scope", Found("docker", A, 2)),
    ("docker, slice handed to cgroupfs", f"/system.slice:docker:{A}", Found("docker", A, 1)),
    ("docker, rootless", f"{USER}/user.slice/docker-{A}.scope", Found("docker", A, 5)),
    ("docker, an init system inside", f"/docker/{A}/system.slice/cron.service", Found("docker", A, 2)),
    ("cri-dockerd", f"/kubepods.slice/kubepods-burstable.slice/{SLICE}/docker-{A}.scope", Found("docker", A, 4)),
    ("containerd, hex id", f"/default/{A}", Found("containerd", A, 2)),
    ("containerd, namespace of a user", f"/my-team.prod/{A}", Found("containerd", A, 2)),
    ("containerd, ctr run NAME", "/default/redis-1", Found("containerd", "default/redis-1", 2, "redis-1")),
    ("containerd, k8s.io", f"/k8s.io/{A}", Found("containerd", A, 2)),
    (
        "containerd, CRI, systemd",
        f"/kubepods.slice/kubepods-burstable.slice/{SLICE}/cri-containerd-{A}.scope",
        Found("containerd", A, 4),
    ),
    ("containerd, CRI, cgroupfs", f"/kubepods/besteffort/{POD}/{A}", Found("containerd", A, 4)),
    ("containerd, CRI, guaranteed", f"/kubepods/{POD}/{A}", Found("containerd", A, 3)),
    (
        "containerd, slice handed to cgroupfs",
        f"/system.slice/containerd.service/{SLICE}:cri-containerd:{A}",
        Found("containerd", A, 3),
    ),
    ("cri-o", f"/kubepods.slice/kubepods-burstable.slice/{SLICE}/crio-{A}.scope", Found("cri-o", A, 4)),
    ("cri-o, crun", f"/kubepods.slice/{SLICE}/crio-{A}.scope/container", Found("cri-o", A, 3)),
    ("cri-o, cgroupfs", f"/kubepods/burstable/{POD}/crio-{A}", Found("cri-o", A, 4)),
    ("podman, systemd", f"/machine.slice/libpod-{A}.scope", Found("podman", A, 2)),
    ("podman, crun", f"/machine.slice/libpod-{A}.scope/container", Found("podman", A, 2)),
    ("podman, cgroupfs", f"/libpod_parent/libpod-{A}", Found("podman", A, 2)),
    ("podman, cgroupfs, pod", f"/libpod_parent/{B}/libpod-{A}", Found("podman", A, 3)),
    ("podman, pod", f"/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope", Found("podman", A, 3)),
    ("podman, rootless", f"{USER}/user.slice/libpod-{A}.scope", Found("podman", A, 5)),
    ("podman, split", f"/system.slice/web.service/libpod-payload-{A}", Found("podman", A, 3)),
    ("nerdctl", f"/system.slice/nerdctl-{A}.scope", Found("nerdctl", A, 2)),
    ("nerdctl, rootless", f"{USER}/user.slice/nerdctl-{A}.scope", Found("nerdctl", A, 5)),
    ("Amazon's agent", f"/ecs/{A[:32]}/{A}", Found("docker", A, 3)),
    ("Amazon's agent, older", f"/ecs/cluster/0fa5e1b8-9a11-4f0e-8d5a-1d2c3b4a5f60/{A}", Found("docker", A, 4)),
    ("lxc", "/lxc.payload.c1", Found("lxc", "lxc.payload.c1", 1, "c1")),
    (
        "lxc, an init system inside",
        "/lxc.payload.my.box-2/init.scope",
        Found("lxc", "lxc.payload.my.box-2", 1, "my.box-2"),
    ),
    ("lxc 4.0.0", "/lxc.payload/c1", Found("lxc", "lxc.payload/c1", 2, "c1")),
    ("lxc, old", "/lxc/c1", Found("lxc", "lxc/c1", 2, "c1")),
    ("lxc, below a folder", "/lxc/lxc.payload.c1", Found("lxc", "lxc/lxc.payload.c1", 2, "c1")),
    (
        "nspawn, service",
        "/machine.slice/systemd-nspawn@deb.service/payload",
        Found("nspawn", "machine.slice/systemd-nspawn@deb.service/payload", 3, "deb"),
    ),
    (
        "nspawn, scope",
        "/machine.slice/machine-deb.scope/payload/init.scope",
        Found("nspawn", "machine.slice/machine-deb.scope/payload", 3, "deb"),
    ),
    (
        "nspawn, escaped",
        r"/machine.slice/machine-my\x2dbox.scope/payload",
        Found("nspawn", r"machine.slice/machine-my\x2dbox.scope/payload", 3, "my-box"),
    ),
    ("GitHub Actions", f"/actions_job/{A}", Found("actions", A, 2)),
]

NESTED = [
    ("docker in docker", f"/docker/{A}/docker/{B}", Found("docker", B, 4)),
    ("kind", f"/docker/{A}/kubelet/kubepods/besteffort/{POD}/{B}", Found("containerd", B, 7)),
    (
        "kind, systemd",
        f"/system.slice/docker-{A}.scope/kubelet.slice/kubelet-kubepods.slice/cri-containerd-{B}.scope",
        Found("containerd", B, 5),
    ),
    ("kubelet's own slice", f"/kubelet-kubepods/{POD}/{A}", Found("containerd", A, 3)),
    ("docker in lxc", f"/lxc.payload.c1/system.slice/docker-{A}.scope", Found("docker", A, 3)),
    (
        "lxc in lxc of the same name",
        "/lxc.payload.c1/lxc.payload.c1",
        Found("lxc", "lxc.payload.c1/lxc.payload.c1", 2, "c1"),
    ),
    ("podman in docker: its monitor is docker's", f"/docker/{A}/libpod-conmon-{B}.scope", Found("docker", A, 2)),
    ("an init system repeats its path", f"/docker/{A}/docker/{A}/init.scope", Found("docker", A, 2)),
]

RELATIVE = [
    ("docker", f"/../../docker/{A}", Found("docker", A, 4)),
    ("systemd", f"/../../../system.slice/docker-{A}.scope/x", Found("docker", A, 5)),
    ("sibling", f"/../cri-containerd-{A}.scope", Found("containerd", A, 2)),
    ("containerd", f"/../../default/{A}", Found("containerd", A, 4)),
    ("ctr", "/../default/redis", Found("containerd", "default/redis", 3, "redis")),
    ("lxc", "/../lxc.payload.c1", Found("lxc", "lxc.payload.c1", 2, "c1")),
    ("no slash in front", f"docker/{A}", Found("docker", A, 2)),
    ("removed", f"/docker/{A} (deleted)", Found("docker", A, 2)),
]

NONE = [
    ("root", "/"),
    ("nothing", ""),
    ("a private namespace's root", "/../.."),
    ("a service", "/system.slice/docker.service"),
    ("a user", f"{USER}/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope"),
    ("cri-o's monitor", f"/kubepods.slice/{SLICE}/crio-conmon-{A}.scope"),
    ("cri-o's monitor, cgroupfs", f"/kubepods/{POD}/crio-conmon-{A}"),
    ("podman's monitor", f"/machine.slice/libpod-conmon-{A}.scope"),
    ("podman's monitor, cgroupfs", f"/libpod_parent/libpod-conmon-{A}"),
    ("podman's monitor of a pod", f"/libpod_parent/{B}/libpod-conmon-{A}"),
    ("lxc's monitor", "/lxc.monitor.c1"),
    ("lxc's monitor, below a folder", "/lxc/lxc.monitor.c1"),
    ("lxc's monitor, 4.0.0", "/lxc.monitor/c1"),
    ("nspawn's supervisor", "/machine.slice/systemd-nspawn@deb.service/supervisor"),
    ("nspawn's unit", "/machine.slice/systemd-nspawn@deb.service"),
    ("a virtual machine", r"/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt/emulator"),
    ("a pod", f"/kubepods/besteffort/{POD}"),
    ("a pod's slice", f"/kubepods.slice/{SLICE}"),
    ("folders of runtimes", "/docker"),
    ("docker's mounts", f"/system.slice/var-lib-docker-containers-{A}-mounts-shm.mount"),
    ("63 digits", f"/docker/{A[:63]}"),
    ("65 digits", f"/system.slice/docker-{A}0.scope"),
    ("capitals", f"/system.slice/docker-{A.upper()}.scope"),
    ("not the whole name", f"/system.slice/my-docker-{A}.scope"),
    ("a line end behind", f"/docker/{A}\n"),
    ("a name that is no identifier", r"/default/\xff\x1b"),
    ("default, but not at the top", "/system.slice/default/redis"),
    ("hex below a unit", f"/system.slice/{A}"),
]


@pytest.mark.parametrize(("path", "found"), [pytest.param(path, found, id=name) for name, path, found in PATTERNS])
def test_every_runtime(path: str, found: Found) -> None:
    assert find(path) == found


@pytest.mark.parametrize(("path", "found"), [pytest.param(path, found, id=name) for name, path, found in PATTERNS])
def test_depth_is_the_containers_own_cgroup(path: str, found: Found) -> None:
    parts = path.split("/")[1:]
    assert find("/" + "/".join(parts[: found.depth])) == found
    assert find("/" + "/".join(parts[: found.depth - 1])) is None
    assert find(path + "/some/thing/below") == found


@pytest.mark.parametrize(("path", "found"), [pytest.param(path, found, id=name) for name, path, found in NESTED])
def test_the_innermost_wins(path: str, found: Found) -> None:
    assert find(path) == found


@pytest.mark.parametrize(("path", "found"), [pytest.param(path, found, id=name) for name, path, found in RELATIVE])
def test_seen_from_elsewhere(path: str, found: Found) -> None:
    assert find(path) == found


LISTED = [
    ("a folder", f"/foo/{A}", Found("docker", A, 2)),
    ("folders", f"/foo/bar/{A}/init.scope", Found("docker", A, 3)),
    ("below a unit", f"/system.slice/{A}", Found("docker", A, 2)),
    ("a pod's path", f"/kubepods/besteffort/{POD}/{A}", Found("docker", A, 4)),
    ("the innermost", f"/foo/{A}/bar/{B}", Found("docker", B, 4)),
    ("one of another engine inside", f"/foo/{A}/default/box", Found("docker", A, 2)),
    ("another runtime's inside", f"/foo/{A}/docker/{C}", Found("docker", C, 4)),
    ("it repeats its path", f"/foo/{A}/foo/{A}", Found("docker", A, 2)),
    ("its monitor", f"/machine.slice/libpod-conmon-{A}.scope", None),
    ("not listed", f"/foo/bar/{C}", None),
    ("not the whole name", f"/foo/x{A}", None),
]


@pytest.mark.parametrize(("path", "found"), [pytest.param(path, found, id=name) for name, path, found in LISTED])
def test_what_an_engine_lists_wherever_it_stands(path: str, found: Found | None) -> None:
    assert find(path, {A: "docker", B: "docker"}.get) == found


@pytest.mark.parametrize("path", [pytest.param(path, id=name) for name, path in NONE])
def test_no_container(path: str) -> None:
    assert find(path) is None


@pytest.mark.parametrize(
    "path",
    [
        "/kubepods-" * 400,
        "/" + "kubepods-" * 450,
        "/a" * 2000,
        "/default/" + "a." * 2000,
        "/" + "-" * 4000,
        "/docker" * 580,
        "/x/y" + f"/{A}" * 60,
        "/x" * 2000 + f"/{A}" * 30,
    ],
)
def test_hostile_paths_take_no_time(path: str) -> None:
    began = time.process_time()
    assert find(path) is None
    assert time.process_time() - began < 0.5


UID = POD.removeprefix("pod")
STATIC = "pod" + "0123456789abcdef" * 2
IN_PODS = [
    (f"/kubepods/besteffort/{POD}/{A}", UID),
    (f"/kubepods/{POD}/crio-{A}", UID),
    (f"/kubelet-kubepods/{POD}/{A}", UID),
    (f"/kubepods.slice/kubepods-burstable.slice/{SLICE}/cri-containerd-{A}.scope", UID),
    (f"/kubepods.slice/{SLICE}/crio-{A}.scope", UID),
    (f"/system.slice/containerd.service/{SLICE}:cri-containerd:{A}", UID),
    (f"/kubepods/burstable/{STATIC}/{A}", STATIC.removeprefix("pod")),
    (f"/kubepods.slice/kubepods-{STATIC}.slice/cri-containerd-{A}.scope", STATIC.removeprefix("pod")),
    (f"/docker/{B}/kubelet.slice/kubelet-kubepods.slice/kubelet-{SLICE}/cri-containerd-{A}.scope", UID),
    (f"/docker/{A}", None),
    (f"/{POD}/{A}", None),
    (f"/kubepods/podcast/{A}", None),
    (f"/kubepods/{POD}0/{A}", None),
]


@pytest.mark.parametrize(("path", "uid"), IN_PODS)
def test_the_pod_of_a_container(path: str, uid: str | None) -> None:
    assert pod_uid(path) == uid


@pytest.mark.parametrize(
    ("path", "task"),
    [
        (f"/ecs/{A[:32]}/{A}", A[:32]),
        (f"/ecs/cluster/0fa5e1b8-9a11-4f0e-8d5a-1d2c3b4a5f60/{A}", "0fa5e1b8-9a11-4f0e-8d5a-1d2c3b4a5f60"),
        (f"/../../ecs/{A[:32]}/{A}", A[:32]),
        (f"/ecs/{A}", None),
        (f"/docker/ecs/x/{A}", None),
    ],
)
def test_the_task_of_a_container(path: str, task: str | None) -> None:
    assert ecs_task(path) == task


@pytest.mark.parametrize("path", ["/kubepods/" + "/pod" * 900, "/kubepods" + "-pod0123456789abcdef" * 180])
def test_hostile_pods_take_no_time(path: str) -> None:
    began = time.process_time()
    assert pod_uid(path) is None
    assert ecs_task("/ecs" + path) is None
    assert time.process_time() - began < 0.5


def test_all_that_a_path_names_outermost_first() -> None:
    assert claims(f"/lxc.payload.c1/docker/{A}/docker/{A}/docker/{B}/x") == [
        Found("lxc", "lxc.payload.c1", 1, "c1"), Found("docker", A, 3), Found("docker", B, 7)
    ]  # fmt: skip
