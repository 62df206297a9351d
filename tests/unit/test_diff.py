"""nstrace diff: what differs is said once, on the right side, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import builders
import msgspec
import pytest
from builders import PIDNS, SECOND_NS, WEB, Row, batch, cgroup, exits, row
from recordings import record, rotated

from tracer.answers.difference import Difference, Ran, differences
from tracer.stream.batch import Batch
from tracer.stream.schema import Flag, Kind
from tracer.views.difference import difference_text

ROOT = Path(__file__).parents[2]
SECOND = msgspec.structs.replace(WEB, incarnation=2)
OK = Ran(3, 0, 0, ("0",), 1000)


def test_sides_and_changes() -> None:
    slow = OK._replace(median_ns=30_000_000)
    a = {"ls": OK, "only a": OK, "fails": OK, "slower": OK, "a bit slower": OK, "often": OK}
    b = {"ls": OK, "only b": OK._replace(runs=1), "fails": OK._replace(failed=1, codes=("0", "3")), "slower": slow}
    b |= {"a bit slower": OK._replace(median_ns=5000), "often": OK._replace(runs=9)}
    assert differences(a, b) == [
        Difference("only a", OK, None, ()),
        Difference("only b", None, b["only b"], ()),
        Difference("often", OK, b["often"], ("runs",)),
        Difference("fails", OK, b["fails"], ("failed", "codes")),
        Difference("slower", OK, slow, ("median_ns",)),
    ]
    assert differences(a, a) == []
    lines = list(difference_text(differences(a, b), "web", "web#2", 80))
    assert lines[0] == "only in web:" and max(map(len, lines)) <= 80
    assert ["3", "0>1", "0", "0>0,3", "1", "us", "fails"] in [line.split() for line in lines]


def life(cgroup_id: int, jobs: dict[bytes, int]) -> list[Row]:
    rows = []
    for nr, (job, status) in enumerate(jobs.items(), 10 * cgroup_id):
        shared: dict[str, Any] = {"cgroup_id": cgroup_id, "exe": b"/bin/" + job.split()[0], "args": job.split()}
        rows.append(row(Kind.EXEC, nr, [(PIDNS + cgroup_id, nr)], **shared))
        rows.append(exits(nr, [(PIDNS + cgroup_id, nr)], status=status, ts_ns=2 * SECOND_NS, **shared))
    return rows


def story(first: dict[bytes, int], second: dict[bytes, int]) -> Batch:
    return batch(cgroup(7, WEB), cgroup(8, SECOND), *life(7, first), *life(8, second))


def diff(*words: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-W", "error::ImportWarning", "-m", "tracer", "diff", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=100, cwd=ROOT)


def test_a_life_goes_on_when_its_container_is_renamed(tmp_path: Path) -> None:
    old = msgspec.structs.replace(SECOND, name="web-old", incarnation=1, earlier=["web"])
    begun, renamed = builders.life("started", SECOND), builders.life("renamed", old, old_name="web")
    begun.event["ts_ns"] += 1
    renamed.event["ts_ns"] += SECOND_NS
    story = [
        batch(cgroup(7, WEB), builders.life("started", WEB), *life(7, {b"first": 0})),
        batch(cgroup(8, SECOND), begun, *life(8, {b"second": 0})),
        batch(cgroup(8, old), renamed, *life(8, {b"later": 0})),
    ]
    record(tmp_path / "x.arrows", story)
    for second in ("web#2", "web-old"):
        done = diff("--json", tmp_path / "x.arrows", "web", second)
        assert {json.loads(line)["command"] for line in done.stdout.splitlines()} == {"first", "second", "later"}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("diff") / "web.arrows"
    record(path, [story({b"ls -l": 0, b"job 1": 0, b"old": 0}, {b"ls -l": 0, b"job 1": 9, b"new": 3 << 8})])
    return path


def test_lives_of_a_container(file: Path) -> None:
    done = diff("--json", file, "web#1", "web#2")
    assert (done.returncode, done.stderr) == (1, "")
    found = {line["command"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert list(found) == ["old", "new", "job 1"]
    assert found["old"]["b"] is None and found["old"]["a"]["codes"] == ["0"]
    assert found["new"]["b"] == {"runs": 1, "failed": 1, "killed": 0, "codes": ["3"], "median_ns": SECOND_NS}
    assert found["job 1"]["changed"] == ["killed", "codes"] and found["job 1"]["b"]["codes"] == ["SIGKILL"]
    text = diff(file, "web", "web#2").stdout
    assert text.startswith("only in web:\n") and "only in web#2:" in text and "in both, web > web#2:" in text


def test_programs_and_what_is_the_same(file: Path) -> None:
    done = diff("--by", "program", "--json", file, "web", "web#2")
    assert [json.loads(line)["command"] for line in done.stdout.splitlines()] == ["/bin/old", "/bin/new", "/bin/job"]
    same = diff(file, "web", "web")
    assert (same.returncode, same.stdout, same.stderr) == (0, "", "")
    assert diff(file, file).returncode == 0


def test_what_sets_a_container_up_is_not_what_it_runs(tmp_path: Path) -> None:
    init: dict[str, Any] = {"cgroup_id": 8, "args": [b"runc", b"init"], "comm": b"runc", "exe": b"/"}
    came, went = row(Kind.SNAPSHOT, 90, flags=Flag.MOVED, **init), exits(90, **init | {"comm": b"runc:[0:PARENT]"})
    again = row(Kind.EXEC, 91, **init | {"exe": b"/proc/self/exe"})  # of docker exec
    there = row(Kind.SNAPSHOT, 92, cgroup_id=7, args=[b"main"], exe=b"/bin/main")  # in the first life, when it began
    then = row(Kind.EXEC, 93, cgroup_id=8, args=[b"main"], exe=b"/bin/main")
    lives = [cgroup(7, WEB), cgroup(8, SECOND), *life(7, {b"ls": 0}), *life(8, {b"ls": 0})]
    record(tmp_path / "web.arrows", [batch(*lives, came, went, again, there, then)])
    for by in ("command", "program"):
        done = diff("--by", by, tmp_path / "web.arrows", "web", "web#2")
        assert (done.returncode, done.stdout) == (0, "")


def test_what_cannot_be_compared(file: Path) -> None:
    assert diff(file, "web", "web#3").returncode == 3
    assert diff(file, "web", "it's").returncode == 3
    for words in ([file], [file, file, file], [file, "web"], ["--from", file, file, "web", "web#2"], ["--from", file]):
        assert diff(*words).returncode == 2
    done = diff("web#1", "web#2")
    said = "what ran in a life that has ended is known from a recording alone"
    hint = "nstrace record -F web records its lives; then nstrace diff --from FILE web#1 web#2"
    assert (done.returncode, done.stderr) == (2, f"nstrace: {said}\n  {hint}\n")


def test_folders_and_what_was_rotated(file: Path, tmp_path: Path) -> None:
    wanted = diff("--json", file, "web", "web#2").stdout
    first, second = (
        story({b"ls -l": 0, b"job 1": 0, b"old": 0}, {}),
        story({}, {b"ls -l": 0, b"job 1": 9, b"new": 3 << 8}),
    )
    (tmp_path / "parts").mkdir()
    rotated(tmp_path / "parts" / "web.arrows", [first, second])
    assert len(list((tmp_path / "parts").iterdir())) > 1
    for words in (["--from", tmp_path / "parts"], [tmp_path / "parts"], ["--from", tmp_path / "parts" / "web.arrows"]):
        assert diff("--json", *words, "web#1", "web#2").stdout == wanted
    assert diff(tmp_path / "parts", file.parent).returncode == 0
    assert diff(tmp_path / "parts", file).returncode == 0
    (tmp_path / "web").mkdir()  # a folder of the container's name
    assert diff("--json", file, tmp_path / "web", "web#2").returncode == 3


def test_without_a_file_it_is_the_agents_latest_run_with_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agent.toml").write_text(f'[record]\nfolder = "{tmp_path}/store"\n')
    (tmp_path / "store").mkdir(mode=0o700)
    monkeypatch.setenv("NSTRACE_AGENT_CONFIG", str(tmp_path / "agent.toml"))
    stories = (
        story({b"first": 0}, {b"second": 0}),  # an earlier run
        story({b"third": 0, b"ls": 0}, {b"fourth": 0, b"ls": 0}),
        batch(cgroup(7, WEB), *life(7, {b"fifth": 0})),  # the life that goes on, or another one: web is its first
    )
    for number, (told, run) in enumerate(zip(stories, "abc", strict=True), 1):
        record(tmp_path / "store" / f"agent.{number:06}.arrows", [told], run=32 * run)
    done = diff("--json", "web", "web#2")
    assert done.returncode == 1, done.stderr
    assert sorted(json.loads(line)["command"] for line in done.stdout.splitlines()) == ["fourth", "third"]
    assert "lives of the run since" in done.stderr and "3 files" in done.stderr
    done = diff("web#7", "web#2")
    assert done.returncode == 3 and "no run of the agent has web#7 and web#2" in done.stderr


def test_each_run_counts_lives_of_its_own(file: Path, tmp_path: Path) -> None:
    record(tmp_path / "a.arrows", [story({b"ls": 0}, {b"ls": 0})], run="a" * 32)
    record(tmp_path / "b.arrows", [story({b"ls": 0}, {b"ls": 0})], run="b" * 32)
    done = diff("--from", tmp_path, "web", "web#2")
    assert done.returncode == 2 and done.stderr.startswith("nstrace: these are 2 recordings: ")
