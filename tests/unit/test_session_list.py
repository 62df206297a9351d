"""nstrace sessions: who is listed of a host and of a recording, and what the lists look like."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import PIDNS, SECOND_NS, WEB, batch, cgroup, entry, exits, fork, session
from recordings import record

from tracer.answers.census import Census, Entry
from tracer.answers.sessions import of_census
from tracer.stream.metadata import Container, ExecFact

DB = Container("b" * 64, "docker", "db")
HOST = entry([1], comm=b"systemd")
INIT = entry([100, 1], HOST, WEB)


def said(tgid: int, container: Container = WEB, **fields: Any) -> ExecFact:
    return ExecFact("e" * 64, container.id, tgid, "www", ["sh"], **fields)


def roots(*entries: Entry, execs: tuple[ExecFact, ...] = ()) -> dict[int, str | None]:
    """The first processes of sessions, with their kind."""
    return {one.pids[0]: one.kind for one in of_census(Census([HOST, INIT, *entries]), execs)}


def test_who_has_its_parent_outside_came_from_outside() -> None:
    visitor = entry([110, 7], HOST, WEB)
    assert roots(visitor, entry([111, 8], visitor, WEB, ns_ppid=7), entry([112, 9], INIT, WEB, ns_ppid=1)) == {
        110: None
    }
    assert roots(entry([113, 10], HOST, WEB, state="Z")) == {}


def test_a_namespace_inside_is_no_visit() -> None:
    inner = entry([120, 5, 1], INIT, WEB)
    entered = entry([121, 6, 2], INIT, WEB)
    assert roots(inner, entered) == {}
    other = entry([130, 8, 1], INIT, DB, inums=(PIDNS, PIDNS + 7))
    runc = entry([131, 9], INIT, WEB, ns_ppid=1)
    assert roots(other, runc, entry([132, 10, 2], runc, DB, inums=(PIDNS, PIDNS + 7))) == {132: None}


def test_in_a_shared_namespace_an_engine_alone_knows() -> None:
    first, later = entry([140], HOST, DB), entry([141], HOST, DB)
    assert roots(first, later) == {}
    assert roots(first, later, execs=(said(141, DB),)) == {141: "exec"}
    assert roots(first, later, execs=(said(141),)) == {}  # it speaks of another container


def test_what_may_be_a_health_check_is_not_said_to_be_an_exec() -> None:
    assert roots(entry([110, 7], HOST, WEB), execs=(said(110, probes=[]),)) == {110: None}


def test_who_lives_in_it() -> None:
    visitor = entry([110, 7], HOST, WEB)
    child = entry([111, 8], visitor, WEB, ns_ppid=7)
    (found,) = of_census(Census([HOST, INIT, visitor, child, entry([112, 9], child, WEB, ns_ppid=8)]), [said(110)])
    assert (found.living, found.user, found.command, found.exec_id) == ((110, 111, 112), "www", ("sh",), "e" * 64)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two sessions in web; the first leaves a process behind, the second goes on."""
    inside = [(PIDNS, 7)]
    said_of: dict[str, Any] = {"pids": [110, 7], "since_ns": 2 * SECOND_NS, "kind": "exec", "user": "0"}
    said_of["command"] = ["sh", "\x1b"]
    second = {"start_ns": 5 * SECOND_NS, "ts_ns": 5 * SECOND_NS}
    rows = [
        cgroup(7, WEB),
        fork(100, [(PIDNS, 1)], cgroup_id=7),
        session("began", WEB, 1, pids=[110, 7], since_ns=2 * SECOND_NS),
        fork(110, inside, cgroup_id=7, session=1, start_ns=2 * SECOND_NS),
        session("described", WEB, 1, **said_of),
        fork(111, [(PIDNS, 8)], cgroup_id=7, session=1, start_ns=3 * SECOND_NS),
        exits(110, inside, cgroup_id=7, session=1, start_ns=2 * SECOND_NS, ts_ns=4 * SECOND_NS),
        session("ended", WEB, 1, **said_of, exit_code=3, left=[111]),
        session("began", WEB, 2, pids=[120, 9], since_ns=5 * SECOND_NS, kind="enter"),
        fork(120, [(PIDNS, 9)], cgroup_id=7, session=2, **second),
        exits(111, [(PIDNS, 8)], cgroup_id=7, session=1, start_ns=3 * SECOND_NS, ts_ns=6 * SECOND_NS),
    ]  # fmt: skip
    for made, at in zip(rows, (1, 1, 2, 2, 2, 3, 4, 4, 5, 5, 6), strict=True):
        made.event["ts_ns"] = at * SECOND_NS
    record(tmp_path / "web.arrows", [batch(*rows)])
    return tmp_path / "web.arrows"


def run(*words: object) -> str:
    argv = [sys.executable, "-m", "tracer", "sessions", *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_of_a_recording(file: Path) -> None:
    header, *lines = run("--from", file, "--time", "utc").splitlines()
    assert " ".join(header.split()) == "SESSION PID NSPID KIND USER SINCE ENDED PROCS COMMAND"
    assert lines[0].split()[:5] == ["web@1", "110", "7", "exec", "0"]
    assert lines[0].endswith("exit 3     0 sh '\\x1b'")
    assert lines[1].split()[:5] == ["web@2", "120", "9", "enter", "?"]
    assert run("--from", file, "-q", "web") == "110\n120\n"


@pytest.mark.parametrize("named_at", [3, 6], ids=["while it lasts", "after its end"])
def test_a_name_that_came_late_is_its_name(named_at: int, tmp_path: Path) -> None:
    nameless = msgspec.structs.replace(WEB, name=None)
    rows = [
        cgroup(7, nameless),
        fork(100, [(PIDNS, 1)], cgroup_id=7),
        session("began", nameless, 1, 7, pids=[110, 7]),
        fork(110, [(PIDNS, 7)], cgroup_id=7, session=1, start_ns=2 * SECOND_NS),
        exits(110, [(PIDNS, 7)], cgroup_id=7, session=1, start_ns=2 * SECOND_NS),
        session("ended", nameless, 1, 7, pids=[110, 7]),
    ]
    for made in rows:
        made.event["chain"]["inum"][0], made.event["chain"]["gen"][0] = rows[1].event["chain"][["inum", "gen"]][0]
    rows.insert(named_at, cgroup(7, WEB))
    record(tmp_path / "web.arrows", [batch(*rows)])
    assert run("--from", tmp_path / "web.arrows").splitlines()[1].split()[0] == "web@1"


def test_of_a_moment(file: Path) -> None:
    def numbers(at: str) -> list[tuple[int, list[int]]]:
        found = map(json.loads, run("--from", file, "--at", at, "--json").splitlines())
        return [(one["number"], one["processes"]) for one in found]

    assert numbers("+0s") == []
    assert numbers("+1s") == [(1, [110])]
    assert numbers("+3.5s") == [(1, [111])]  # it has ended, and one lives on
    assert numbers("-0s") == [(2, [120])]


def test_as_json(file: Path) -> None:
    first = json.loads(run("--from", file, "--json").splitlines()[0])
    assert (first["number"], first["container"]["name"], first["kind"], first["command"]) == (
        1,
        "web",
        "exec",
        ["sh", "\x1b"],
    )
    assert (first["exit_code"], first["left"]) == (3, [111])
    assert first["pids"] == [110, 7]


def test_a_target_that_is_not_in_it_is_an_error(file: Path) -> None:
    argv = [sys.executable, "-m", "tracer", "sessions", "--from", str(file), "nobody"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (3, "")
