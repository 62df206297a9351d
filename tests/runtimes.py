"""Runtimes that tests run containers with, and namespaces and cgroups made by hand for those that cannot run here."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from conftest import wait_for
from oracle import pids_hierarchy

LOOP = ["sh", "-c", "while true; do sleep 0.2; done"]
DEADLINE_S = 60.0


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is missing: scripts/test installs it")


def first_below(pid: int) -> int | None:
    """The first process, below this one, that is number 1 of a namespace of its own."""
    with suppress(OSError, ValueError, IndexError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            status = Path(f"/proc/{child}/status").read_text()
            numbers = status.partition("NSpid:")[2].splitlines()[0].split()
            if len(numbers) > 1 and numbers[-1] == "1":
                return int(child)
            if found := first_below(int(child)):
                return found
    return None


@contextmanager
def running(*argv: str, cgroup: str = "") -> Iterator[int]:
    """Runs a container in the foreground; the host PID of its first process. cgroup: one to begin in."""
    own = pids_hierarchy() / cgroup

    def enter() -> None:
        if cgroup:
            (own / "cgroup.procs").write_text(str(os.getpid()))

    own.mkdir(parents=True, exist_ok=True)
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, preexec_fn=enter, start_new_session=True)
    try:
        wait_for(lambda: first_below(child.pid) is not None)
        first = first_below(child.pid)
        assert first
        yield first
    finally:
        if first := first_below(child.pid):
            os.kill(first, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        wait_for(partial(_is_removed, own, cgroup))


def _is_removed(own: Path, cgroup: str) -> bool:
    for directory in [own, *own.parents][: cgroup.count("/") + 1] if cgroup else ():
        with suppress(OSError):
            directory.rmdir()
    return not cgroup or not own.exists()


def root_filesystem(folder: Path) -> Path:
    """A folder with a shell and what it needs, to be the root of a container."""
    (folder / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", folder / "bin/busybox")
    for name in ("sh", "sleep", "true", "cat", "id", "echo"):
        (folder / "bin" / name).symlink_to("busybox")
    for name in ("proc", "sys", "dev", "tmp", "etc", "run", "root", "usr"):
        (folder / name).mkdir()
    (folder / "etc/os-release").write_text("ID=nstrace-test\nVERSION_ID=1\n")
    return folder


class Containerd:
    """containerd with everything below a folder. address: of its socket. root: of its containers."""

    def __init__(self, folder: Path) -> None:
        self.address, self.root = folder / "sock", root_filesystem(folder / "image")
        self._folder = folder
        (folder / "config.toml").write_text(
            f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\n  address = "{self.address}"\n'
        )
        with (folder / "log").open("wb") as log:
            argv = ["containerd", "-c", str(folder / "config.toml")]
            self._daemon = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        wait_for(self._answers, DEADLINE_S)
        self._started: list[tuple[str, str]] = []

    def _answers(self) -> bool:
        assert self._daemon.poll() is None, (self._folder / "log").read_text()[-2000:]
        argv = ["ctr", "--address", str(self.address), "--connect-timeout", "1s", "version"]
        return subprocess.run(argv, capture_output=True).returncode == 0

    def ctr(self, *args: str) -> str:
        """What ctr prints."""
        argv = ["ctr", "--address", str(self.address), *args]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, name: str, *command: str, namespace: str = "default", options: tuple[str, ...] = ()) -> int:
        """Start a container. Returns the host PID of its first process."""
        self._started.append((namespace, name))
        what = ("run", "--detach", "--null-io", *options, "--rootfs", str(self.root), name, *command)
        self.ctr("--namespace", namespace, *what)
        tasks = [line.split() for line in self.ctr("--namespace", namespace, "tasks", "ls").splitlines()]
        return next(int(task[1]) for task in tasks if task[0] == name)

    def remove(self, name: str, namespace: str = "default") -> None:
        """Kill a container and forget it."""
        self._started.remove((namespace, name))
        where = ("ctr", "--address", str(self.address), "--namespace", namespace)
        subprocess.run([*where, "tasks", "rm", "--force", name], capture_output=True, timeout=DEADLINE_S)
        subprocess.run([*where, "containers", "rm", name], capture_output=True, timeout=DEADLINE_S)

    def close(self) -> None:
        """End it with all that it runs."""
        for namespace, name in list(self._started):
            self.remove(name, namespace)
        self._daemon.terminate()
        self._daemon.wait(DEADLINE_S)


@pytest.fixture
def containerd() -> Iterator[Containerd]:
    """Its folder has a short name, since sockets are below it."""
    need("containerd")
    need("ctr")
    with tempfile.TemporaryDirectory(prefix="nstrace-ctr-", ignore_cleanup_errors=True) as folder:
        engine = Containerd(Path(folder))
        try:
            yield engine
        finally:
            engine.close()


class Node:
    """A mount namespace with folders of its own in the place of /run, /var/log and /usr/local/bin. prefix: begins a
    command that is run in it."""

    PLACES = ("run", "var/log", "usr/local/bin")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for place in self.PLACES:
            (folder / place).mkdir(parents=True)
        binds = " && ".join(f"mount --bind {folder}/{place} /{place}" for place in self.PLACES)
        script = f"mount --make-rprivate / && {binds} && echo there && exec sleep 3600"
        self._holder = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE)
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"there\n"
        self.prefix = ("nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt")

    def path(self, place: str) -> Path:
        """Where something is from outside that is at this place for who is in it."""
        return self._folder / place.removeprefix("/")

    def pod(self, namespace: str, pod: str, uid: str, container: str = "", container_id: str = "") -> None:
        """Folders and links as a kubelet makes them."""
        folder = self.path("/var/log/pods") / f"{namespace}_{pod}_{uid}" / container
        folder.mkdir(parents=True, exist_ok=True)
        links = self.path("/var/log/containers")
        links.mkdir(exist_ok=True)
        if container_id:
            (folder / "0.log").touch()
            target = f"/var/log/pods/{namespace}_{pod}_{uid}/{container}/0.log"
            (links / f"{pod}_{namespace}_{container}-{container_id}.log").symlink_to(target)

    def program(self, name: str, script: str) -> None:
        """A script in a folder where tools are looked for."""
        path = self.path("/usr/local/bin") / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def close(self) -> None:
        """Leave it."""
        self._holder.kill()
        self._holder.communicate()


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node where no engine answers."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/sock")
    tmp_path.chmod(0o755)
    node = Node(tmp_path / "node")
    try:
        yield node
    finally:
        node.close()


def lxc(folder: Path, name: str, root: Path, mounts: dict[Path, str], *command: str) -> list[str]:
    """What runs a container of LXC in the foreground, which keeps what it has below a folder."""
    entries = [f"lxc.mount.entry = {path} {place[1:]} none bind 0 0" for path, place in mounts.items()]
    (folder / name).mkdir()
    config = [
        *(f"lxc.uts.name = {name}", f"lxc.rootfs.path = dir:{root}", "lxc.net.0.type = empty"),
        *("lxc.mount.auto = proc:mixed", "lxc.apparmor.profile = unconfined", "lxc.autodev = 0"),
        *entries,
    ]
    (folder / name / "config").write_text("\n".join(config) + "\n")
    return ["lxc-start", "--foreground", "-P", str(folder), "-n", name, "--", *command]


def nspawn(name: str, root: Path, mounts: dict[Path, str], *command: str) -> list[str]:
    """What runs a container of systemd-nspawn in the foreground, where systemd itself may not run."""
    binds = [f"--bind={path}:{place}" for path, place in mounts.items()]
    where = ("--directory", str(root), "--machine", name)
    return ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", *where, *binds, *command]


def bubblewrap(root: Path, mounts: dict[Path, str], *command: str) -> list[str]:
    """What runs a command in namespaces of its own in the foreground."""
    binds = [word for path, place in mounts.items() for word in ("--bind", str(path), place)]
    return ["bwrap", "--unshare-pid", "--as-pid-1", "--bind", str(root), "/", "--proc", "/proc", *binds, *command]


_PODMAN_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def podman_below(folder: Path) -> tuple[list[str], dict[str, str]]:
    """The command podman, and its environment: root's, with everything below a folder."""
    conf = folder / "containers.conf"
    conf.write_text(_PODMAN_CONF)
    places = (f"--{name}={folder}/{name}" for name in ("root", "runroot", "tmpdir"))
    return ["podman", *places, "--storage-driver=vfs", "--runtime=runc"], os.environ | {"CONTAINERS_CONF": str(conf)}


class Podman:
    """Podman of root's, without a service, with everything below a folder."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._podman, self._env = podman_below(folder)
        subprocess.run(["tar", "-C", str(root), "-cf", str(folder / "image.tar"), "."], check=True)
        self._run("import", str(folder / "image.tar"), "test")

    def _run(self, *args: str) -> str:
        done = subprocess.run([*self._podman, *args], env=self._env, capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def create(self, mounts: dict[Path, str], *command: str) -> str:
        """Make a container. Returns its id."""
        binds = [word for path, place in mounts.items() for word in ("--volume", f"{path}:{place}")]
        return self._run("create", "--network=none", *binds, "test", *command)

    def start(self, container_id: str) -> int:
        """Start it. Returns the host PID of its first process."""
        self._run("start", container_id)
        return int(self._run("inspect", "--format", "{{.State.Pid}}", container_id))

    def remove(self, container_id: str) -> None:
        """End it, and forget it."""
        self._run("rm", "--force", "--time", "0", container_id)


class Rootless:
    """Podman of a user who is made for it, with a service on a socket. uid, path: the user's, and the socket's."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._user, self._folder = f"nstrace-{os.getpid()}", folder
        subprocess.run(["useradd", "--no-create-home", "--home-dir", str(folder), self._user], check=True)
        try:
            self._begin(root)
        except BaseException:
            self.close()
            raise

    def _begin(self, root: Path) -> None:
        self.uid = pwd.getpwnam(self._user).pw_uid
        self.path = self._folder / "run/podman/podman.sock"
        self.path.parent.mkdir(parents=True)
        self.path.parent.parent.chmod(0o700)
        (self._folder / "containers.conf").write_text(_PODMAN_CONF)
        subprocess.run(["tar", "-C", str(root), "-cf", str(self._folder / "image.tar"), "."], check=True)
        subprocess.run(["chown", "-R", f"{self.uid}:{self.uid}", str(self._folder)], check=True)
        self.podman("import", str(self._folder / "image.tar"), "test")
        argv = self._argv("system", "service", "--time=0", f"unix://{self.path}")
        with (self._folder / "log").open("wb") as log:
            self._service = subprocess.Popen(argv, stdout=log, stderr=log, cwd=self._folder, start_new_session=True)
        wait_for(self.path.exists)

    def _argv(self, *args: str) -> list[str]:
        known = {"HOME": self._folder, "XDG_RUNTIME_DIR": self._folder / "run", "PATH": os.environ["PATH"]}
        known |= {"CONTAINERS_CONF": self._folder / "containers.conf", "TMPDIR": self._folder}
        user = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]
        environment = [f"{name}={value}" for name, value in known.items()]
        return [*user, "env", "-i", *environment, "podman", "--storage-driver=vfs", "--runtime=runc", *args]

    def podman(self, *args: str) -> str:
        """What podman prints."""
        done = subprocess.run(self._argv(*args), capture_output=True, text=True, timeout=DEADLINE_S, cwd=self._folder)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run(self, name: str, *command: str) -> str:
        """Start a container. Returns its id."""
        return self.podman("run", "--detach", "--network=none", "--name", name, "test", *command)

    def close(self) -> None:
        """End all that the user runs, and remove the user."""
        with suppress(AssertionError, AttributeError, subprocess.TimeoutExpired):
            self.podman("rm", "--all", "--force", "--time", "0")
        with suppress(AttributeError):
            self._service.terminate()
            self._service.wait(DEADLINE_S)
        wait_for(partial(_is_without_processes, self.uid))
        subprocess.run(["userdel", self._user], check=True, capture_output=True)


def _is_without_processes(uid: int) -> bool:
    """Whether a user has none, who is sent away: what podman keeps its namespaces by."""
    found = [path for path in Path("/proc").glob("[0-9]*") if _owner(path) == uid]
    for path in found:
        with suppress(ProcessLookupError):
            os.kill(int(path.name), signal.SIGKILL)
    return not found


def _owner(path: Path) -> int | None:
    with suppress(OSError):
        return path.stat().st_uid
    return None


@pytest.fixture
def rootless(tmp_path: Path) -> Iterator[Rootless]:
    """Its folder has a short name, since sockets are below it."""
    for program in ("podman", "runc", "newuidmap"):
        need(program)
    with tempfile.TemporaryDirectory(prefix="nstrace-user-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        user = Rootless(Path(folder), root_filesystem(tmp_path / "rootfs"))
        try:
            yield user
        finally:
            user.close()
