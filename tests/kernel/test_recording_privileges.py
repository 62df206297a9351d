"""Root gives its privileges up before it reads a recording, and needs nothing any more that only root may read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders import PIDNS, WEB, batch, cgroup, fork, row
from conftest import ROOT
from recordings import record, storm

from tracer.events import Batch, Kind

pytestmark = pytest.mark.kernel
ENV = {name: os.environ[name] for name in ("PATH", "PYTHONWARNINGS")} | {"LANG": "C.UTF-8"}

# In a mount namespace of its own, folders that only root may enter take the places of those that are given, up to --,
# with the same folders in them. Then the command behind -- is run.
CLOSED = """
hold=$1
shift
while [ "$1" != -- ]; do
    mount --bind "$1" "$hold"
    mount -t tmpfs -o mode=0700 closed "$1"
    for folder in $(cd "$hold" && find . -mindepth 1 -maxdepth 1 -type d); do
        mkdir "$1/$folder"
        mount --bind "$hold/$folder" "$1/$folder"
    done
    shift
done
shift
exec "$@"
"""


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A folder of root's alone, with a recording in it."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    (tmp_path / "hold").mkdir()
    inside = [(PIDNS, 900)]
    living = batch(
        cgroup(7, WEB),
        row(Kind.SNAPSHOT, 500, [(PIDNS, 1)], cgroup_id=7, exe=b"/bin/init", args=[b"init"], parent_tgid=0),
        fork(501, inside, cgroup_id=7, parent_tgid=500, comm=b"\xf0\x9f\x90\xb3"),
        row(Kind.EXEC, 501, inside, cgroup_id=7, exe=b"/bin/sh", args=["é日".encode(), b"\xff"], parent_tgid=500),
    )
    record(folder / "web.arrows", [Batch.concat([living, storm(2, 10)]), storm(12, 10)])
    return folder


def python(private: Path, code: str, *args: str) -> list[str]:
    """A command line that runs code where only root may enter the checkout, and its packages wherever they are."""
    prefix = Path(sys.prefix)
    folders = [ROOT] if prefix.is_relative_to(ROOT) else [ROOT, prefix]
    closed = ["unshare", "--mount", "sh", "-euc", CLOSED, "sh", private.with_name("hold"), *folders, "--"]
    return [*map(str, closed), sys.executable, "-c", code, *args]


def nstrace(private: Path, *args: str) -> list[str]:
    """As `python`: the command."""
    return python(private, "from tracer.cli import main; main()", *args)


def run(private: Path, *args: str, exit_code: int = 0, **environment: str) -> str:
    """What the command prints."""
    env = ENV | environment
    done = subprocess.run(nstrace(private, *args), capture_output=True, text=True, env=env, cwd=private)
    assert done.returncode == exit_code, done.stderr
    assert "unexpected" not in done.stderr
    return done.stdout


def test_others_may_not_enter_the_checkout(private: Path) -> None:
    code = "import os; os.setresuid(65534, 65534, 65534); import tracer.cli"
    done = subprocess.run(python(private, code), capture_output=True, text=True, env=ENV, cwd=private)
    assert "No module named 'tracer'" in done.stderr


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
    assert len(replaying.communicate(data[-3000:])[0].splitlines()) == 62
    assert replaying.returncode == 0


@pytest.mark.parametrize("args", [[], ["--json"], ["--speed", "1000"], ["--from", "+5ms"]], ids=str)
def test_replay_from_a_place_that_only_root_reads(args: list[str], private: Path) -> None:
    assert len(run(private, "replay", "web.arrows", *args).splitlines()) >= 50


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_moment_from_a_place_that_only_root_reads(form: str, private: Path) -> None:
    for verb in ("ps", "tree", "containers"):
        assert "500" in run(private, verb, "--from", "web.arrows", "-o", form)


@pytest.mark.parametrize("args", [[], ["--json"], ["-q"], ["--at", "+5ms"], ["--during", "..+1s"]], ids=str)
def test_translate_from_a_place_that_only_root_reads(args: list[str], private: Path) -> None:
    assert "501" in run(private, "translate", "--from", "web.arrows", "web/900", *args)


@pytest.mark.parametrize(
    "args", ["replay web.arrows nosuch", "ps --from web.arrows nosuch", "translate --from web.arrows wab/900"]
)
def test_errors_from_a_place_that_only_root_reads(args: str, private: Path) -> None:
    run(private, *args.split(), exit_code=3)


def test_what_stdout_cannot_encode_from_a_place_that_only_root_reads(private: Path) -> None:
    assert "\\u65e5" in run(private, "ps", "--from", "web.arrows", PYTHONIOENCODING="ascii")


@pytest.mark.parametrize("args", [["parquet"], ["csv"], ["jsonl"], ["parquet", "--partition"]], ids=" ".join)
def test_export_to_a_place_that_only_root_writes(args: list[str], private: Path) -> None:
    run(private, "export", "web.arrows", "--to", *args)
    out = private / f"web.{args[0]}"
    made = [out, *out.rglob("*")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(0, 0)}
    assert [path.name for path in private.iterdir() if path.name.startswith(".")] == []


def test_under_sudo_it_is_the_calling_user(private: Path) -> None:
    run(private, "export", "web.arrows", "--to", "csv", SUDO_UID="1234", SUDO_GID="2345")
    made = (private / "web.csv").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (1234, 2345, 0o600)


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_export_to_stdout_from_a_place_that_only_root_reads(form: str, private: Path) -> None:
    argv = nstrace(private, "export", "web.arrows", "--to", form, "-w", "-")
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, env=ENV, cwd=private)
    assert done.stdout.count(b"\n") == {"jsonl": 63, "csv": 64}.get(form, done.stdout.count(b"\n"))


def test_from_python_nothing_is_dropped_and_all_formats_work(private: Path) -> None:
    code = "import tracer; file = tracer.open('web.arrows'); print(len(file.to_pandas()), len(file.to_arrow()))"
    done = subprocess.run(python(private, code), check=True, capture_output=True, text=True, env=ENV, cwd=private)
    assert done.stdout.split() == ["63", "63"]
