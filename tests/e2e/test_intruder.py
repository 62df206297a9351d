"""A hostile container, which lies in wait for whoever looks into its PID namespace (intruder.c)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_for
from oracle import compile_static

pytestmark = pytest.mark.e2e

Start = Callable[..., Any]
ALL_CAPABILITIES = {"cap_add": ["ALL"], "cap_drop": ["SYS_RESOURCE"]}
SECRET = "a-secret-of-the-host"
TRIES = 20  # the child may have been done before the intruder saw it


@pytest.fixture
def intruder(tmp_path: Path, start_container: Start) -> Start:
    """intruder(*argv, **options): a container that runs it, and is ready."""
    program = compile_static(Path(__file__).parents[1] / "intruder.c", tmp_path)

    def start(*argv: str, **options: Any) -> Any:
        options = {"security_opt": ["seccomp=unconfined"], "mounts": [f"{program}:/intruder:ro"]} | options
        container = start_container(["/intruder", *argv], **options)
        wait_for(lambda: bool(container.logs()))
        return container

    return start


def verify(*args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tracer", "verify", *args]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, env=os.environ | {"SECRET": SECRET})


def verify_until_caught(container: Any, *args: str) -> subprocess.CompletedProcess[str]:
    """The first run of verify in which the intruder has caught somebody."""
    seen = container.logs()
    for _ in range(TRIES):
        done = verify(container.name, *args)
        if container.logs() != seen:
            return done
    raise AssertionError("the intruder has caught nobody")


@pytest.mark.parametrize("capabilities", [{"cap_add": ["SYS_PTRACE"]}, ALL_CAPABILITIES], ids=["ptrace", "all"])
def test_whoever_robs_the_child_gets_nothing(capabilities: dict[str, Any], intruder: Start, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o644)
    container = intruder("rob", str(secret), SECRET, **capabilities)
    verify_until_caught(container)
    wait_for(lambda: b"\nend\n" in container.logs())
    told = container.logs().decode().splitlines()

    assert "attached ATTACHED" in told  # CAP_SYS_PTRACE of the initial user namespace may do that to anyone
    assert {line for line in told if SECRET in line or "FOUND" in line or "OPENED" in line} == set()
    assert [line for line in told if line.startswith(("root ", "cwd "))] == []
    assert [line.split()[2].partition(":")[0] for line in told if line.startswith("fd ")] == ["socket", "anon_inode"]
    assert {line for line in told if line.startswith("map /")} <= {"map /memfd:nstrace (deleted)"}
    assert "file No such file or directory" in told
    assert "text not found" in told
    assert any(line.startswith(("mounts not entered", "mounts No such file")) for line in told)
    shared = {line.split()[2] for line in told if line.startswith("ns ")} & {
        link.readlink().name for link in Path("/proc/self/ns").iterdir()
    }
    assert {name.partition(":")[0] for name in shared} <= {"user", "time"}
    if os.uname().machine == "x86_64":
        assert "made to open killed by 31" in told  # SIGSYS


@pytest.mark.parametrize("verb", ["stop", "kill"])
def test_whoever_stops_or_kills_the_child_costs_this_one_answer(
    verb: str, intruder: Start, start_container: Start
) -> None:
    hostile, other = intruder(verb), start_container()
    done = verify_until_caught(hostile, other.name, "--json")
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    told = {finding["container"]["name"]: finding for finding in findings if finding["nspid"] == 1}

    assert (told[hostile.name]["inside"], told[hostile.name]["not_known"]) == (None, ["inside"])
    assert (told[other.name]["inside"], told[other.name]["not_known"]) == (1, [])
    assert all(finding["ok"] for finding in findings)  # by the others' word
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [hostile.name in line and other.name not in line for line in lines if "is not known" in line] == [True]
    assert "all sources that answered agree" in lines[-1]
    assert "sudo" not in done.stderr


def test_a_question_mark_where_the_child_was_stopped(intruder: Start) -> None:
    done = verify_until_caught(intruder("stop"))
    assert all(line.split()[-2:] == ["?", "ok"] for line in done.stdout.splitlines()[1:])
    assert done.stdout.splitlines()[0].split()[-2:] == ["INSIDE", "RESULT"]
