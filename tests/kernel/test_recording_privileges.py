"""Root gives its privileges up before it reads a recording, and needs nothing any more that only root may read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from recordings import record, storm

pytestmark = pytest.mark.kernel
ENV = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A folder of root's alone, with the package and a recording in it."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    shutil.copytree(ROOT / "tracer", folder / "tracer")
    record(folder / "web.arrows", [storm(1, 10), storm(11, 10)])
    return folder


def nstrace(private: Path, *args: str) -> list[str]:
    code = f"import sys; sys.path.insert(0, {str(private)!r}); from tracer.cli import main; main()"
    return [sys.executable, "-c", code, *args]


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


def test_replay_runs_as_nobody(private: Path) -> None:
    data = (private / "web.arrows").read_bytes()
    replaying = subprocess.Popen(
        nstrace(private, "replay", "--json", "-"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENV,
        cwd=private,
        bufsize=0,
    )
    assert replaying.stdin and replaying.stdout
    replaying.stdin.write(data[:-3000])
    replaying.stdin.flush()
    assert replaying.stdout.readline().startswith(b'{"time":')  # it has parsed the first batch
    seen = status(replaying.pid)
    assert seen["Uid"].split() == seen["Gid"].split() == ["65534"] * 4
    assert seen["Groups"] == ""
    assert {int(seen[name], 16) for name in ("CapPrm", "CapEff", "CapInh")} == {0}
    assert seen["NoNewPrivs"] == "1"
    assert len(replaying.communicate(data[-3000:])[0].splitlines()) == 59
    assert replaying.returncode == 0


@pytest.mark.parametrize("args", [[], ["--json"], ["--speed", "100"], ["--from", "+5ms"], ["nosuch"]], ids=str)
def test_replay_from_a_place_that_only_root_reads(args: list[str], private: Path) -> None:
    done = subprocess.run(nstrace(private, "replay", "web.arrows", *args), capture_output=True, env=ENV, cwd=private)
    assert done.returncode in (0, 3), done.stderr
    assert b"Traceback" not in done.stderr
    assert b"unexpected" not in done.stderr


@pytest.mark.parametrize("args", [["parquet"], ["csv"], ["jsonl"], ["parquet", "--partition"]], ids=" ".join)
def test_export_to_a_place_that_only_root_writes(args: list[str], private: Path) -> None:
    subprocess.run(nstrace(private, "export", "web.arrows", "--to", *args), check=True, env=ENV, cwd=private)
    out = private / f"web.{args[0]}"
    made = [out, *out.rglob("*")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(0, 0)}
    assert [path.name for path in private.iterdir() if path.name.startswith(".")] == []


def test_under_sudo_it_is_the_calling_user(private: Path) -> None:
    env = {**ENV, "SUDO_UID": "1234", "SUDO_GID": "2345"}
    subprocess.run(nstrace(private, "export", "web.arrows", "--to", "csv"), check=True, env=env, cwd=private)
    made = (private / "web.csv").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (1234, 2345, 0o600)


def test_export_to_stdout_from_a_place_that_only_root_reads(private: Path) -> None:
    argv = nstrace(private, "export", "web.arrows", "--to", "jsonl", "-w", "-")
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, env=ENV, cwd=private)
    assert done.stdout.count(b"\n") == 60
