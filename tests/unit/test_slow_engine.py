"""Commands beside an engine that is slow or floods: each ends in time, and says in a line that it has no names."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_engine import A, FakeEngine, container, serving

ROOT = Path(__file__).parents[2]
LONG_S = 20.0  # it was more than 40 s
OWN = "OWN"  # in a command: the number of the process that runs the tests
COMMANDS = [
    ["containers"],
    ["ps", f"pid:{OWN}"],
    ["tree", f"pid:{OWN}"],
    ["translate", OWN],
    ["inspect", OWN],
    ["translate", "web/1"],
    ["verify", "web"],
    ["follow", "web"],
]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/sock")
    with serving(tmp_path / "sock") as engine:
        engine.containers = [container(A, "web")]
        yield engine


def slow_byte(fake: FakeEngine) -> None:
    def slowly(raw: bytes) -> Iterator[bytes]:
        for byte in raw:
            time.sleep(0.5)
            yield bytes([byte])

    fake.raw_version = slowly(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b" " * 1000)


def endless_list(fake: FakeEngine) -> None:
    fake.raw = itertools.chain([b"HTTP/1.1 200 OK\r\n\r\n["], itertools.repeat(b" " * 65536))


def hang(fake: FakeEngine) -> None:
    fake.hangs = True


def ended(words: list[str]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tracer", *(word.replace(OWN, str(os.getpid())) for word in words)]
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=LONG_S)


@pytest.mark.parametrize("trouble", [slow_byte, endless_list, hang], ids=lambda trouble: trouble.__name__)
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_each_command_ends_in_time(words: list[str], trouble: Callable[[FakeEngine], None], fake: FakeEngine) -> None:
    trouble(fake)
    done = ended(words)
    assert "Traceback" not in done.stderr
    if words == ["containers"]:
        assert "nstrace: no container names: " in done.stderr
    if "web" in words[-1] and not (words[0] == "follow" and os.geteuid()):
        assert done.returncode == 1
        assert f"container engine on {fake.address} sent more" in done.stderr or (
            f"no container engine answers on {fake.address}" in done.stderr
        )


def test_completion_ends_in_time(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.hangs = True
    for name, value in {"COMP_LINE": "nstrace ps ", "COMP_BREAKS": " ", "_NSTRACE_COMPLETE": "bash_complete"}.items():
        monkeypatch.setenv(name, value)
    done = ended([])
    assert (done.stderr, done.returncode) == ("", 0)
    assert "plain,host" in done.stdout
