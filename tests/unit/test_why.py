"""nstrace why: how lives and processes ended, of recordings made by hand. Run as users run it: without privileges."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import PIDNS, SECOND_NS, WEB, Row, batch, cgroup, exits, fork, row
from recordings import WALL_NS, record
from test_life_rows import CGROUP, JOB, OTHER_CGROUP, SIGKILL, Stream

from tracer.answers.why import by_cause, cause_of
from tracer.stream.batch import Batch, with_killers
from tracer.stream.lives import fact_row, note_signal
from tracer.stream.metadata import NEVER_RAN, Container, Killer, LifeFact, Pod, SignalSent
from tracer.stream.schema import Kind
from tracer.wiring.recorded_why import is_proc, ways

ROOT = Path(__file__).parents[2]
RUNC = Killer(pid=33, comm="runc")
OOM = Killer(pid=104, comm="sh", kernel=True, reason="oom")
SWEPT = Killer(kernel=True, reason="pidns_ended", proc_id=f"200-{10 * SECOND_NS}")


def at(seconds: float) -> int:
    return int(seconds * SECOND_NS)


def born(tgid: int, nr: int, seconds: float, inum: int = PIDNS) -> Row:
    return fork(tgid, [(inum, nr)], cgroup_id=CGROUP, start_ns=at(seconds))


def ended(tgid: int, nr: int, began: float, seconds: float, inum: int = PIDNS, **fields: Any) -> Row:
    return exits(tgid, [(inum, nr)], cgroup_id=CGROUP, start_ns=at(began), ts_ns=at(seconds), **fields)


def told() -> list[Batch]:
    """Two lives of web: its shell exits since its child was killed for memory; runc kills the next one, which does not
    heed SIGTERM. And job, which shares the host's namespace and lives on."""
    stream = Stream(cgroup(CGROUP, WEB), cgroup(OTHER_CGROUP, JOB))
    first = batch(
        cgroup(CGROUP, WEB),
        cgroup(OTHER_CGROUP, JOB),
        row(Kind.EXEC, 50, cgroup_id=OTHER_CGROUP, start_ns=at(1), ts_ns=at(1)),
        born(100, 1, 2),
        row(Kind.EXEC, 100, [(PIDNS, 1)], cgroup_id=CGROUP, start_ns=at(2), ts_ns=at(2), args=[b"sh"], exe=b"/bin/sh"),
        born(101, 7, 3),
        ended(
            101,
            7,
            3,
            4,
            parent_tgid=100,
            parent_start_ns=at(2),
            comm=b"hog",
            args=[b"hog", b"-m"],
            exe=b"/hog",
            status=SIGKILL,
        ),
        ended(100, 1, 2, 4.5, args=[b"sh", b"-c", b"hog -m"], exe=b"/sh", status=137 << 8),
    )
    lives = [stream.lives.take(part) for part in stream.attribution.split_and_learn(_killed(first, {6: OOM}))]
    second = batch(born(200, 1, 10, PIDNS + 1), born(201, 8, 11, PIDNS + 1))
    parts = [_taken(stream, second)]
    life = stream.lives.open(WEB.id)
    assert life
    note_signal(life, SignalSent("SIGTERM", at(20)))
    note_signal(life, SignalSent("SIGKILL", at(30)))
    third = batch(
        ended(200, 1, 10, 30, PIDNS + 1, status=SIGKILL, exe=b"/bin/server"),
        ended(201, 8, 11, 30.5, PIDNS + 1, status=SIGKILL, comm=b"worker"),
    )
    parts.append(_taken(stream, _killed(third, {0: RUNC, 1: SWEPT})))
    return [*lives, *parts]


def _killed(rows: Batch, killers: dict[int, Killer]) -> Batch:
    return with_killers(rows, [*killers], [msgspec.json.encode(killer) for killer in killers.values()])


def _taken(stream: Stream, rows: Batch) -> Batch:
    taken = stream.lives.take(rows)
    stream.table.apply(taken)
    return taken


@pytest.fixture
def arrows(tmp_path: Path) -> Path:
    record(tmp_path / "x.arrows", told())
    return tmp_path / "x.arrows"


def why(*args: str | Path, code: int = 0) -> str:
    """What it prints; of an error what it says."""
    argv = [sys.executable, "-m", "tracer", "why", *map(str, args)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=60, env=_environment())
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "TZ": "UTC", "PYTHONWARNINGS": "error::ImportWarning"}


def test_the_last_life(arrows: Path) -> None:
    assert why("web", "--from", arrows).splitlines() == [
        "web ended 2023-11-14 22:13:50.500 after 20.5 s: SIGKILL by runc",
        "  22:13:30.000 started",
        "  22:13:40.000 its engine sent SIGTERM",
        "  22:13:50.000 its engine sent SIGKILL",
        "  22:13:50.000 its engine had runc send SIGKILL; SIGTERM, which its engine sent before, had not ended it",
        "  22:13:50.000 its first process ended: /bin/server (200), SIGKILL by runc (33)",
        "  1 more process died with it: 1 worker",
    ]


def test_a_name_is_that_of_who_had_it_at_the_end(tmp_path: Path) -> None:
    """The container that was called web first is called old when it ends, which is later."""
    old = msgspec.structs.replace(WEB, name="old", earlier=["web"])
    web = msgspec.structs.replace(WEB, id="c" * 64, incarnation=2)
    bare = Container("k8s.io/web", "containerd", "bare")
    ends = [
        fact_row(LifeFact("stopped", who, exit_code=code), at(seconds))
        for who, code, seconds in ((bare, 3, 3), (web, 21, 4), (old, 0, 6))
    ]
    record(tmp_path / "x.arrows", [batch(cgroup(CGROUP, WEB), cgroup(OTHER_CGROUP, JOB)), *ends])
    said = {text: why(text, "--from", tmp_path / "x.arrows").splitlines()[0] for text in ("web", "old", "k8s.io/web")}
    assert said == {
        "web": "web#2 ended 2023-11-14 22:13:24.000: exit code 21",
        "old": "old ended 2023-11-14 22:13:26.000: exit code 0",
        "k8s.io/web": "bare ended 2023-11-14 22:13:23.000: exit code 3",
    }


def test_a_life_before_another(arrows: Path) -> None:
    lines = why("web", "--from", arrows, "--at", "+6s").splitlines()
    assert lines == [
        "web ended 2023-11-14 22:13:24.500 after 2.5 s: exit code 137, memory had run out before",
        "  22:13:22.000 started",
        "  22:13:24.000 out of memory: hog (101) was killed",
        "  22:13:24.000 hog -m (101), SIGKILL out of memory: a shell makes exit code 137 of that",
        "  22:13:24.500 its first process ended: sh -c 'hog -m' (100), exit 137",
        "  the last to end before:",
        "    22:13:24.000     101>7 SIGKILL out of memory after 1.0 s: hog -m",
        "  no other process died with it",
    ]


def test_a_life_is_that_of_the_agents_latest_run_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agent.toml").write_text(f'[record]\nfolder = "{tmp_path}/store"\n')
    (tmp_path / "store").mkdir(mode=0o700)
    monkeypatch.setenv("NSTRACE_AGENT_CONFIG", str(tmp_path / "agent.toml"))
    for number, run in enumerate("ab", 1):
        record(tmp_path / "store" / f"agent.{number:06}.arrows", told(), run=32 * run)
    for text, is_said in (("web#1", True), ("web", False)):
        argv = [sys.executable, "-m", "tracer", "why", text]
        done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=60, env=_environment())
        assert done.returncode == 0 and done.stdout.startswith("web ended"), done.stderr
        assert ("nstrace: a life of the run since 2023-11-14" in done.stderr) == is_said


def test_json_says_all_of_it(arrows: Path) -> None:
    said = json.loads(why("a" * 12, "--json", "--from", arrows))
    assert {name: said[name] for name in ("cause", "signal", "exit_code", "processes", "duration_ns", "died")} == {
        "cause": "SIGKILL by runc", "signal": "SIGKILL", "exit_code": None, "processes": 1, "duration_ns": at(20.5),
        "died": {"worker": 1},
    }  # fmt: skip
    assert (said["container"]["name"], said["killed_by"], said["first"]["pids"]) == (
        "web",
        dict.fromkeys(("pids", "container", "reason", "proc_id")) | {"pid": 33, "comm": "runc", "kernel": False},
        [200, 1],
    )
    assert [step["signal"] for step in said["signals"]] == ["SIGTERM", "SIGKILL"]


def test_all_ends_by_cause(arrows: Path) -> None:
    lines = why("--all", "--from", arrows).splitlines()
    assert [line.split() for line in lines] == [
        ["1", "exit", "code", "137,", "memory", "had", "run", "out", "before"],
        ["2023-11-14", "22:13:24.500", "web", "after", "2.5", "s"],
        ["1", "SIGKILL", "by", "runc"],
        ["2023-11-14", "22:13:50.500", "web", "after", "20.5", "s,", "1", "more", "process"],
    ]
    assert len(why("--all", "--json", "web", "--from", arrows).splitlines()) == 2
    assert "no life of job ended" in why("--all", "job", "--from", arrows, code=3)


def test_a_process(arrows: Path) -> None:
    assert why("201", "--from", arrows).splitlines() == [
        "201 ended 2023-11-14 22:13:50.500 after 19.5 s: SIGKILL with PID 1",
        "  it was 201>8 in web: worker",
        "  its container ended then: SIGKILL by runc (33)",
    ]
    assert "hog -m" in why("web/7", "--from", arrows)
    assert json.loads(why("web/1", "--json", "--from", arrows))["signal"] == "SIGKILL"
    assert json.loads(why("web/1", "--json", "--from", arrows, "--at", "+6s"))["exit_code"] == 137


def test_nothing_to_say_is_3(arrows: Path) -> None:
    assert "no life of job ended" in why("job", "--from", arrows, code=3)
    assert "no container named 'wep' was recorded\n  did you mean web?" in why("wep", "--from", arrows, code=3)
    assert "no process 50 ended" in why("50", "--from", arrows, code=3)
    assert "999" in why("999", "--from", arrows, code=3)
    assert "a later TIME" in why("web", "--from", arrows, "--at", "+2s", code=3)


def test_wrong_use_is_2(arrows: Path) -> None:
    why(code=2)
    why("web", "db", code=2)
    why("web", "--at", "+1s", code=2)
    why("--all", code=2)
    why("web/", "--from", arrows, code=2)


def test_what_was_recorded_before_lives_were_is_worked_out(tmp_path: Path) -> None:
    plain = [part.select(part.rows["kind"] != Kind.CONTAINER) for part in told()]
    record(tmp_path / "old.arrows", plain)
    assert why("web", "--from", tmp_path / "old.arrows").splitlines()[0].endswith("after 20.5 s: SIGKILL by runc")


def killed_child(nr: int, began: float, seconds: float, parent: tuple[int, float]) -> Row:
    return ended(
        100 + nr, nr, began, seconds, parent_tgid=parent[0], parent_start_ns=at(parent[1]), comm=b"child", status=15
    )


def child(nr: int, began: float, seconds: float, code: int) -> Row:
    whose = {"parent_tgid": 100, "parent_start_ns": at(2)}
    return ended(100 + nr, nr, began, seconds, comm=b"other", status=code << 8, **whose)


@pytest.mark.parametrize(
    ("before", "is_told"),
    [
        ([killed_child(7, 3, 4, (100, 2))], True),
        ([child(8, 3, 3.5, 0), killed_child(7, 3, 4, (100, 2))], True),
        ([killed_child(7, 3.1, 4, (108, 3)), child(8, 3, 4.1, 143)], True),  # as docker run --init passes it on
        ([killed_child(7, 3.1, 4, (108, 3)), child(8, 3, 4.1, 124)], False),  # timeout(1) has killed its own
        ([killed_child(7, 3, 4, (100, 2)), child(8, 4, 4.2, 0)], False),  # the shell waited for another since
    ],
)
def test_an_exit_code_is_explained_by_the_last_child_alone(before: list[Row], is_told: bool, tmp_path: Path) -> None:
    stream = Stream(cgroup(CGROUP, WEB))
    rows = batch(cgroup(CGROUP, WEB), born(100, 1, 2), *before, ended(100, 1, 2, 4.5, status=143 << 8))
    parts = [stream.lives.take(part) for part in stream.attribution.split_and_learn(rows)]
    record(tmp_path / "y.arrows", parts)
    said = why("web", "--from", tmp_path / "y.arrows")
    assert said.splitlines()[0].endswith("after 2.5 s: exit code 143")
    assert ("a shell makes exit code 143 of that" in said) == is_told


INNER = PIDNS + 7


def test_the_first_process_of_a_namespace_inside_does_not_end_the_container(tmp_path: Path) -> None:
    inside = [(PIDNS, 7), (INNER, 1)], [(PIDNS, 8), (INNER, 2)]
    stream = Stream(cgroup(CGROUP, WEB))
    rows = batch(
        cgroup(CGROUP, WEB),
        born(100, 1, 2),
        *(fork(107 + at_, chain, cgroup_id=CGROUP, start_ns=at(3 + at_)) for at_, chain in enumerate(inside)),
        exits(107, inside[0], cgroup_id=CGROUP, start_ns=at(3), ts_ns=at(5), status=5 << 8),
        exits(108, inside[1], cgroup_id=CGROUP, start_ns=at(4), ts_ns=at(5.1), status=SIGKILL),
        ended(100, 1, 2, 9, status=7 << 8),
    )
    swept = Killer(pid=107, kernel=True, reason="pidns_ended", proc_id=f"107-{at(3)}")
    parts = [stream.lives.take(part) for part in stream.attribution.split_and_learn(_killed(rows, {5: swept}))]
    record(tmp_path / "x.arrows", parts)
    for proc in ("107", "108"):
        assert "its container" not in why(proc, "--from", tmp_path / "x.arrows")
    assert "its container ended then: exit 7" in why("100", "--from", tmp_path / "x.arrows")


def test_the_container_that_has_the_name_when_it_ends(tmp_path: Path) -> None:
    """web becomes old, and another one gets its name; later old ends too."""
    old = msgspec.structs.replace(WEB, name="old", earlier=["web"])
    new = msgspec.structs.replace(WEB, id="e" * 64, incarnation=2)
    began = batch(cgroup(CGROUP, WEB), born(100, 1, 2))
    newer = fact_row(LifeFact("started", new), at(3))
    ends = [
        fact_row(LifeFact("stopped", new, exit_code=21, duration_ns=at(1)), at(4)),
        fact_row(LifeFact("stopped", old, exit_code=9, duration_ns=at(4)), at(6)),
    ]
    record(tmp_path / "x.arrows", [began, newer, *ends])
    assert why("web", "--from", tmp_path / "x.arrows").startswith("web#2 ended 2023-11-14 22:13:24")
    assert why("old", "--from", tmp_path / "x.arrows").startswith("old ended 2023-11-14 22:13:26")
    record(tmp_path / "y.arrows", [began, ends[1]])
    assert why("web", "--from", tmp_path / "y.arrows").startswith("old ended")
    record(tmp_path / "z.arrows", [began, newer, ends[1]])
    assert "no life of web ended" in why("web", "--from", tmp_path / "z.arrows", code=3)


LABELS = {"tier": "db", "com.docker.compose.project": "shop", "com.docker.compose.service": "db"}
CALLED_4711 = msgspec.structs.replace(
    WEB, name="4711", labels=LABELS, image="pg:17", pod=Pod("a" * 36, "db-0", "shop", "db")
)


@pytest.mark.parametrize(
    ("text", "is_it"),
    [
        ("name:4711", True),
        ("label:tier=db", True),
        ("compose:shop/*", True),
        ("image:pg*", True),
        ("47*", True),
        ("pod:shop/db-0", True),
        ("a" * 12, True),
        ("name:" + "a" * 12, False),
        ("label:tier=web", False),
    ],
)
def test_a_container_is_meant_as_by_a_target(text: str, is_it: bool) -> None:
    assert not is_proc(text)
    assert any(means(CALLED_4711) for means in ways(text)) == is_it


@pytest.mark.parametrize("text", ["4711", "web/1", "pidns:4026531836/3", "pid:9/1", "pod:shop/db-0/1", "name:4711/1"])
def test_what_means_a_process(text: str) -> None:
    assert is_proc(text)


def test_a_container_whose_name_looks_like_a_pid(tmp_path: Path) -> None:
    stopped = fact_row(LifeFact("stopped", CALLED_4711, exit_code=21, duration_ns=at(1)), at(4))
    record(tmp_path / "x.arrows", [stopped])
    assert why("name:4711", "--from", tmp_path / "x.arrows").startswith("4711 ended 2023-11-14 22:13:24")
    assert "no process 4711" in why("4711", "--from", tmp_path / "x.arrows", code=3)


def test_several_recordings(arrows: Path, tmp_path: Path) -> None:
    record(tmp_path / "y.arrows", told()[:1], began_ns=str(WALL_NS + at(100)))
    assert "SIGKILL" in why("web", "--from", arrows)


@pytest.mark.parametrize(
    ("stopped", "cause"),
    [
        ({"exit_code": 0}, "exit code 0"),
        ({"exit_code": 137, "oom": True}, "exit code 137, memory had run out before"),
        ({"signal": "SIGKILL", "oom": True}, "SIGKILL, sender not known, memory had run out before"),
        ({"exit_code": 1, "oom": True}, "exit code 1"),
        ({"signal": "SIGKILL", "killed_by": OOM}, "out of memory"),
        ({"signal": "SIGTERM", "killed_by": RUNC}, "SIGTERM by runc"),
        ({"signal": "SIGTERM", "killed_by": RUNC, "first_pid": 33}, "SIGTERM by itself"),
        ({"signal": "SIGKILL", "killed_by": Killer(pid=104, kernel=True), "first_pid": 104}, "SIGKILL by the kernel"),
        ({"signal": "SIGTERM", "killed_by": RUNC, "first_pid": 34}, "SIGTERM by runc"),
        ({"exit_code": 1, "doubt": NEVER_RAN}, "its command was never run"),
        ({"signal": "SIGKILL", "killed_by": SWEPT}, "SIGKILL by the kernel (pidns_ended)"),
        ({"signal": "SIGSEGV", "killed_by": Killer(kernel=True)}, "SIGSEGV by the kernel"),
        ({"signal": "SIGKILL"}, "SIGKILL, sender not known"),
        ({}, "not known: its end was not seen"),
    ],
)
def test_causes(stopped: dict[str, Any], cause: str) -> None:
    assert cause_of(LifeFact("stopped", WEB, **stopped)) == cause
    assert by_cause([]) == {}
