"""What may not be seen is not said to be nothing: without root, and with a /proc that hides other users' processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from conftest import ROOT
from lying import run_lying
from stack import Space

pytestmark = pytest.mark.kernel

Run = Callable[..., subprocess.CompletedProcess[str]]
HIDING = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
# Imports all of nstrace, and then becomes another user: the checkout may be root's alone.
CODE = """
import importlib, os, pkgutil, sys, tracer.cli
for module in pkgutil.walk_packages(tracer.__path__, "tracer."):
    if module.name != "tracer.__main__":
        importlib.import_module(module.name)
tracer.secrets.values.load()
os.setgroups([])
os.setresgid(1234, 1234, 1234)
os.setresuid(1234, 1234, 1234)
tracer.cli.main(sys.argv[1:])
"""


@pytest.fixture
def space() -> Iterator[Space]:
    """A PID namespace of root's."""
    space = Space("sleep", "600")
    yield space
    space.kill()


def unprivileged(*args: str, hiding: bool = False) -> subprocess.CompletedProcess[str]:
    before = ["unshare", "--mount", "sh", "-c", HIDING, "sh"] if hiding else []
    env = {"PATH": os.environ["PATH"], "DOCKER_HOST": "unix:///nowhere/sock"}
    return subprocess.run(
        [*before, sys.executable, "-c", CODE, *args], capture_output=True, text=True, env=env, cwd=ROOT
    )


@pytest.mark.usefixtures("space")
def test_verify_without_root_has_compared_nothing() -> None:
    done = unprivileged("verify")
    assert (done.returncode, done.stdout) == (4, "")
    assert "nothing could be compared" in done.stderr and "agree" not in done.stderr
    assert done.stderr.splitlines()[-1].strip() == "run it with sudo"


def test_verify_of_our_own_without_root_says_what_was_not_asked() -> None:
    done = unprivileged("verify", "host", hiding=True)
    assert done.returncode == 4
    assert "INSIDE of" in done.stderr and "all sources that answered agree" in done.stderr


def test_verify_by_root_without_a_capability(space: Space) -> None:
    argv = ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-m", "tracer", "verify", f"pidns:{space.inum}"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 4
    assert "INSIDE of" in done.stderr and "CAP_SYS_ADMIN" in done.stderr and "sudo" not in done.stderr
    assert done.stdout.split()[-2:] == ["?", "ok"]


@pytest.mark.parametrize("args", [["translate", "1"], ["inspect", "1"]], ids=" ".join)
def test_a_process_that_is_hidden_is_not_said_to_be_nobody(args: list[str]) -> None:
    done = unprivileged(*args, hiding=True)
    assert done.returncode == 4
    assert "no process" not in done.stderr and "cannot be read" in done.stderr


@pytest.mark.parametrize("verb", ["ps", "tree", "containers"])
@pytest.mark.usefixtures("space")
def test_lists_say_that_others_are_hidden(verb: str) -> None:
    assert "other users' processes are not shown" in unprivileged(verb, hiding=True).stderr


def test_nothing_to_compare_is_no_agreement() -> None:
    nobody = "lambda _host: __import__('tracer.answers.census', fromlist=['Census']).Census([])"
    done = run_lying({"tracer.host.verification.take_census": nobody}, "verify")
    assert (done.returncode, done.stdout) == (3, "")
    assert "no process" in done.stderr and "agree" not in done.stderr
