"""What kernel and e2e tests stand on: whether they can run here, a container engine, the workload and the oracle."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from oracle import DEADLINE_S, SOCKET, WORKLOAD, WORKLOAD_SOURCE, Ledger, Receiver, compile_static, pids_hierarchy

ROOT = Path(__file__).parents[1]
REQUIRE = os.environ.get("NSTRACE_REQUIRE") == "1"
ENGINE = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
# Whatever began the tests may have these ignored, and all that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
os.environ["NSTRACE_CONFIG"] = ""  # whoever runs the tests may have settings
hypothesis.settings.register_profile("nstrace", deadline=None)  # on a busy host any example may take long
hypothesis.settings.load_profile("nstrace")
os.environ["PYTHONWARNINGS"] = "error::ImportWarning"  # of what we start: an import after privileges were dropped


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker, why_not in (("kernel", why_no_kernel), ("e2e", why_no_engine)):
            if item.get_closest_marker(marker) and (reason := why_not()):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    return fail_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    return fail_skipped((yield))


def fail_skipped(report: Any) -> Any:
    """With NSTRACE_REQUIRE=1 a test that was skipped has failed. An expected failure is not a skip."""
    if REQUIRE and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"NSTRACE_REQUIRE=1, and this was skipped: {reason}"
    return report


@cache
def why_no_kernel() -> str:
    if os.geteuid():
        return "needs root"
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return "needs a kernel with BTF (/sys/kernel/btf/vmlinux)"
    return ""


@cache
def why_no_engine() -> str:
    if os.geteuid():
        return "needs root"
    if not ENGINE.startswith("unix://"):
        return f"needs a local container engine, not {ENGINE}"
    return why_no_answer(ENGINE)


def why_no_answer(address: str) -> str:
    """Why an engine cannot be used; empty: it answers."""
    import docker

    try:
        with closing(docker.DockerClient(address, timeout=10)) as client:
            client.ping()
    except (docker.errors.DockerException, OSError) as error:
        return f"no container engine answers at {address}: {error}"
    return ""


def wait_for(condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    """Until it holds; AssertionError after the deadline."""
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, f"not within {deadline_s} s"
        time.sleep(0.02)


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a short name, since sockets are below it; of Podman, which cleans up when its container is gone."""
    folder = Path(tempfile.mkdtemp(prefix="nstrace-podman-"))
    try:
        yield folder
    finally:
        wait_for(lambda: _is_removed(folder))


def _is_removed(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """A docker.DockerClient."""
    import docker

    with closing(docker.DockerClient(ENGINE)) as client:
        yield client


@pytest.fixture(scope="session")
def image(engine: Any) -> str:
    """The name of an image with a shell and busybox, from scripts/image."""
    name = os.environ.get("NSTRACE_TEST_IMAGE", "nstrace-test")
    subprocess.run([ROOT / "scripts/image", name], check=True, env={**os.environ, "DOCKER_HOST": ENGINE})
    return name


@pytest.fixture(scope="session")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """workload.c, compiled."""
    return compile_static(WORKLOAD_SOURCE, tmp_path_factory.mktemp("workload"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def holding_receiver() -> Iterator[Receiver]:
    """A receiver that answers only after release(): until then the processes are alive."""
    with Receiver(hold=True) as receiver:
        yield receiver


@pytest.fixture
def start_container(engine: Any, image: str, workload: Path) -> Iterator[Callable[..., Any]]:
    """A function that starts a container and gives it back; all are removed in the end.

    start(command, receiver=None, mounts=(), **options): options as for docker's containers.create(). The workload is at
    oracle.WORKLOAD, the receiver's socket at oracle.SOCKET. Without a command it sleeps.
    """
    started = []

    def start(
        command: Any = ("sleep", "600"), receiver: Receiver | None = None, mounts: Sequence[str] = (), **options: Any
    ) -> Any:
        mounts = [*mounts, f"{workload}:{WORKLOAD}:ro"]
        if receiver:
            mounts.append(f"{receiver.directory}:{Path(SOCKET).parent}")
        options = {"name": f"nstrace-{uuid.uuid4().hex[:8]}", "network_mode": "none"} | options
        container = engine.containers.create(
            image, command if isinstance(command, str) else list(command), volumes=mounts, **options
        )
        started.append(container)
        container.start()
        return container

    yield start
    for container in started:
        container.remove(force=True)


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """in_zone(name): from now on that is this host's time zone."""

    def set_zone(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def inner_engine(start_container: Callable[..., Any], receiver: Receiver, tmp_path: Path) -> Iterator[Any]:
    """Docker in Docker: a docker.DockerClient of an engine that runs in a container (client.outer), with the test
    image (client.image). client.workload(verb, arg...): a container of it that runs the workload."""
    import docker

    socket, data = tmp_path / "engine", tmp_path / "data"
    socket.mkdir()
    data.mkdir()
    machine = ("/usr:/usr:ro", "/usr/lib:/lib:ro", "/usr/lib64:/lib64:ro", "/etc/ssl:/etc/ssl:ro")
    outer = start_container(
        "dockerd --storage-driver=vfs --iptables=false --ip6tables=false --ip-forward=false --bridge=none"
        " -H unix:///engine/sock",
        receiver,
        mounts=(f"{data}:/var/lib/docker", f"{socket}:/engine", "/sys/fs/cgroup:/sys/fs/cgroup:rw", *machine),
        environment={"PATH": "/usr/sbin:/usr/bin:/bin"},
        cap_add=["ALL"],
        cap_drop=["SYS_RESOURCE"],
        security_opt=["seccomp=unconfined"],
        tmpfs={"/run": "", "/tmp": ""},
    )
    address = f"unix://{socket}/sock"
    wait_for(lambda: not why_no_answer(address))
    subprocess.run([ROOT / "scripts/image", "inner"], check=True, env={**os.environ, "DOCKER_HOST": address})
    client: Any = docker.DockerClient(address)  # to which we add
    with closing(client):
        client.outer, client.image = outer, "inner"
        mounts = [f"{WORKLOAD}:{WORKLOAD}:ro", f"{Path(SOCKET).parent}:{Path(SOCKET).parent}"]
        client.workload = lambda *args: client.containers.run(
            client.image, [WORKLOAD, *map(str, args)], volumes=mounts, network_mode="none", detach=True
        )
        yield client
        for container in client.containers.list():
            container.remove(force=True)


@pytest.fixture
def run_ledger() -> Callable[..., Ledger]:
    """run(container, verb, arg...): run the workload in a container, by docker exec, and give its ledger."""

    def run(container: Any, *args: object) -> Ledger:
        done = container.exec_run([WORKLOAD, *map(str, args)], demux=True)
        assert done.exit_code == 0, done.output
        return Ledger.parse(done.output[0])

    return run


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """A cgroup with room for 8 processes, lest a fork bomb have the machine; all in it are killed in the end."""
    own = pids_hierarchy() / f"nstrace-test-{os.getpid()}"
    own.mkdir()
    try:
        (own / "pids.max").write_text("8")
        yield own
    finally:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for tgid in (own / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(tgid), 9)
            with suppress(OSError):
                own.rmdir()
                break
            time.sleep(0.01)
