"""What kernel and e2e tests stand on: whether they can run here, a container engine, the workload and the oracle."""

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from oracle import SOCKET, WORKLOAD, Ledger, Receiver, compile_workload

ROOT = Path(__file__).parents[1]
REQUIRE = os.environ.get("NSTRACE_REQUIRE") == "1"
ENGINE = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker, why_not in (("kernel", why_no_kernel), ("e2e", why_no_engine)):
            if item.get_closest_marker(marker) and (reason := why_not()):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[Any]:
    return fail_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[Any]:
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
    import docker

    if os.geteuid():
        return "needs root"
    if not ENGINE.startswith("unix://"):
        return f"needs a local container engine, not {ENGINE}"
    try:
        with closing(docker.DockerClient(ENGINE, timeout=10)) as client:
            client.ping()
    except (docker.errors.DockerException, OSError) as error:
        return f"no container engine answers at {ENGINE}: {error}"
    return ""


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
def workload(pytestconfig: pytest.Config) -> Path:
    """workload.c, compiled into pytest's cache."""
    return compile_workload(pytestconfig.cache.mkdir("workload"))


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

    start(command, receiver=None, **options): options as for docker's containers.create(). The workload is at
    oracle.WORKLOAD, the receiver's socket at oracle.SOCKET. Without a command it sleeps.
    """
    started = []

    def start(command: Any = ("sleep", "600"), receiver: Receiver | None = None, **options: Any) -> Any:
        mounts = [f"{workload}:{WORKLOAD}:ro"]
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
def run_ledger() -> Callable[..., Ledger]:
    """run(container, verb, arg...): run the workload in a container, by docker exec, and give its ledger."""

    def run(container: Any, *args: object) -> Ledger:
        done = container.exec_run([WORKLOAD, *map(str, args)], demux=True)
        assert done.exit_code == 0, done.output
        return Ledger.parse(done.output[0])

    return run
