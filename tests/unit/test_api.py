"""nstrace from Python: recordings and living processes."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
from builders import PIDNS, SECOND_NS, Row, batch, exits, row
from engine_processes import children
from fake_engine import A, container, serving
from recordings import WALL_NS, facts, record, storm

import tracer
from tracer.errors import ExitCode
from tracer.stream.schema import Kind
from tracer.stream.typed import Exec, Exit
from tracer.version import VERSION


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "web.arrows"
    record(path, [facts(), storm(1, 3)])
    return path


def test_importing_is_cheap() -> None:
    code = "import sys, tracer; assert not {'click', 'numpy', 'msgspec', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_who_it_was(file: Path) -> None:
    recorded = tracer.open(file)
    (found,) = recorded.translate("web/2")
    assert (found.result, found.entry.numbers, found.entry.args) == (1002, (1002, 2), b"ls\x002\x00")
    began = found.entry.started_ns
    moment = datetime.fromtimestamp(began // 10**9, UTC).replace(microsecond=began % 10**9 // 1000)
    assert recorded.translate("1002", at=moment)[0].result == 2
    with pytest.raises(tracer.NstraceError) as caught:
        recorded.translate("web/7")
    assert caught.value.exit_code == ExitCode.NO_TARGET


def test_a_table_in_one_call(file: Path) -> None:
    table = tracer.open(file).to_arrow()
    assert table.column("event").to_pylist() == ["fork", "exec", "exit"] * 3
    assert table.column("pids").to_pylist()[3] == [1002, 2]
    assert set(table.column("container").to_pylist()) == {"web"}


def test_events_one_by_one(file: Path) -> None:
    recorded = tracer.open(file)
    plain, typed = list(recorded.events("exec,exit")), list(recorded.typed_events(["exec", "exit"]))
    assert [(event["event"], event["pids"]) for event in plain[:2]] == [("exec", [1001, 1]), ("exit", [1001, 1])]
    assert [msgspec.to_builtins(event) | {"event": event.event} for event in typed] == [
        event | {"tid": None, "ns_tid": None, "inferred": False, "carried": False} for event in plain
    ]
    assert isinstance(typed[0], Exec) and isinstance(typed[1], Exit)
    assert typed[0].container and typed[0].container.name == "web"
    assert len(list(recorded.events())) == 9
    with pytest.raises(tracer.NstraceError, match="'forks' is not an event"):
        recorded.events("forks")


def test_no_descriptor_is_left_open(file: Path) -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    recorded = tracer.open(file)
    recorded.to_arrow()
    recorded.translate("web/2")
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def test_a_frame_in_one_call(file: Path) -> None:
    frame = tracer.open(file).to_pandas()
    assert frame.groupby("event").size().to_dict() == {"exec": 3, "exit": 3, "fork": 3}
    assert frame["time"].min().value == WALL_NS + 1_001_000_000


def test_an_empty_recording_is_an_empty_table(tmp_path: Path) -> None:
    record(tmp_path / "x.arrows", [])
    assert len(tracer.open(tmp_path / "x.arrows").to_arrow()) == 0


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.arrows").write_bytes(b"nothing")
    with pytest.raises(tracer.NstraceError):
        tracer.open(tmp_path / "x.arrows")
    with pytest.raises(tracer.NstraceError):
        tracer.open(tmp_path / "none.arrows")


def test_a_living_process() -> None:
    child = subprocess.Popen(["/bin/sleep", "600"])
    try:
        found = tracer.translate(str(child.pid))
        assert (found.entry.numbers[0], found.entry.args) == (child.pid, b"/bin/sleep\x00600\x00")
    finally:
        child.kill()
        child.wait()
    with pytest.raises(tracer.NstraceError):
        tracer.translate(str(child.pid))


def test_an_event_that_there_is_not() -> None:
    with pytest.raises(tracer.NstraceError, match="'forks' is not an event"):
        next(tracer.follow(events=["forks"]))


def test_own_pid() -> None:
    assert tracer.translate(str(os.getpid())).result > 0


@pytest.mark.parametrize("at_a_time", [list, tuple, iter])
def test_files_one_by_one_or_in_a_list(file: Path, at_a_time: Callable[[list[Any]], Any]) -> None:
    for named in (file, str(file), os.fsencode(file)):
        assert len(tracer.open(named).to_arrow()) == len(tracer.open(at_a_time([named])).to_arrow()) == 9


def test_processes_by_number() -> None:
    for mine in (os.getpid(), np.int32(os.getpid()), str(os.getpid())):
        assert tracer.translate(mine).pid == os.getpid()


def test_recorded_processes_by_number(file: Path) -> None:
    assert [found.pid for found in tracer.open(file).translate(1002)] == [1002]
    assert tracer.open(file).translate("web/2")[0].pid == 1002


unchecked: Any = tracer  # as a caller without a type checker sees it


@pytest.mark.parametrize(
    "call",
    [
        lambda file: unchecked.open(),
        lambda file: unchecked.open(3),
        lambda file: unchecked.open(None),
        lambda file: unchecked.translate(None),
        lambda file: unchecked.translate(1.5),
        lambda file: unchecked.translate(["web/1"]),
        lambda file: unchecked.follow(4711),
        lambda file: unchecked.follow(["web", 4711]),
        lambda file: unchecked.follow("web", duration="5"),
        lambda file: unchecked.open(file).translate("web/2", at=1_700_000_000),
    ],
)
def test_an_argument_of_a_wrong_type_is_a_type_error(file: Path, call: Callable[[Path], object]) -> None:
    with pytest.raises(TypeError):
        call(file)


@pytest.mark.parametrize(
    "call",
    [
        lambda: tracer.open([]),
        lambda: tracer.translate(-1),
        lambda: tracer.translate(0),
        lambda: tracer.translate(1 << 40),
        lambda: tracer.follow([]),
        lambda: tracer.follow("web", duration=0),
        lambda: tracer.follow("web", duration=float("nan")),
        lambda: tracer.follow("web", events="fork,exit,forks"),
    ],
)
def test_a_wrong_value_is_an_error_with_a_hint(call: Callable[[], object]) -> None:
    with pytest.raises(tracer.NstraceError) as caught:
        call()
    assert caught.value.message
    assert caught.value.hint


def test_the_documented_calls_are_there() -> None:
    for function in ("translate", "open", "follow"):
        assert f"tracer.{function}(" in (tracer.__doc__ or "")
    assert set(tracer.__all__) <= set(dir(tracer))


def test_who_it_is_leaves_no_process_and_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where threads run, as they do in the programs of others."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/sock")
    before = sorted(Path("/proc/self/fd").iterdir()), children(os.getpid())
    with serving(tmp_path / "sock") as engine:
        engine.containers = [container(A, "web")]
        with pytest.raises(tracer.NstraceError, match="web"):
            tracer.translate("web/1")
        assert "/containers/json" in engine.asked
    assert (sorted(Path("/proc/self/fd").iterdir()), children(os.getpid())) == before


@pytest.fixture
def moments(tmp_path: Path) -> Path:
    """init with three workers and a nested one in web; another namespace, later."""
    path = tmp_path / "moments.arrows"
    web = [snapshot(200 + nr, nr + 1, parent=200 if nr else 1) for nr in range(4)]
    nested = snapshot(210, 9, 1, parent=201)
    alone = row(Kind.SNAPSHOT, 300, [(4026532472, 1)], args=[b"job"], ts_ns=4 * SECOND_NS, start_ns=4 * SECOND_NS)
    record(path, [facts(), batch(*web, nested), batch(alone, exits(203, [(PIDNS, 4)], cgroup_id=7, **at(5)))])
    return path


def at(second: int) -> dict[str, int]:
    return {"ts_ns": second * SECOND_NS, "start_ns": SECOND_NS + 203}


def snapshot(tgid: int, *numbers: int, parent: int) -> Row:
    inside = [(PIDNS + level, nr) for level, nr in enumerate(numbers)]
    args = [b"sleep", b"6\x1b[2J"]
    return row(
        Kind.SNAPSHOT, tgid, inside, args=args, cgroup_id=7, ts_ns=2 * SECOND_NS, start_ns=SECOND_NS + tgid,
        parent_tgid=parent, parent_start_ns=SECOND_NS + parent,
    )  # fmt: skip


def test_the_version_is_the_commands() -> None:
    assert tracer.__version__ == VERSION


def test_processes_of_a_moment(moments: Path) -> None:
    found = tracer.ps("web", from_file=moments, at="+2s")
    assert [process.pid for process in found] == [200, 201, 202, 203, 210]
    assert (len(found), found[4].pids, found[4].ns_pid, found[-1].level) == (5, (210, 9, 1), 1, 2)
    assert (found[1].ppid, found[1].name, found[1].argv) == (200, "sh", ["sleep", "6\x1b[2J"])
    assert found[0].started == datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC)
    assert found[1:3] == (found[1], found[2])
    assert [process.pid for process in tracer.ps("web", from_file=moments)] == [200, 201, 202, 210]
    assert found.to_dicts()[0]["pids"] == (200, 1)


def test_what_is_shown_of_results(moments: Path) -> None:
    for found in (tracer.ps(from_file=moments), tracer.containers(from_file=moments), tracer.tree(from_file=moments)):
        assert repr(found) == str(found)
        assert all(line.isprintable() for line in repr(found).splitlines())
    assert repr(tracer.ps(from_file=moments)).splitlines()[0].split()[:2] == ["CONTAINER", "PID"]
    process = tracer.ps("web", from_file=moments)[0]
    assert repr(process) == r"<process 200>1 in web: sleep '6\x1b[2J'>"
    (web, alone) = tracer.containers(from_file=moments)
    assert [repr(web), repr(alone)] == [
        "<container web: init 200>1, 4 processes>",
        "<pidns:4026532472: init 300>1, 1 process>",
    ]


def test_a_long_result_is_cut_in_its_repr_alone(tmp_path: Path) -> None:
    record(tmp_path / "x.arrows", [facts(), batch(*(snapshot(200 + nr, nr + 1, parent=1) for nr in range(100)))])
    found = tracer.ps("web", from_file=tmp_path / "x.arrows")
    assert len(str(found).splitlines()) == 101
    assert repr(found).splitlines()[-1] == "... and 42 more lines: print() shows all"
    assert len(repr(found).splitlines()) == 60


def test_containers_of_a_moment(moments: Path) -> None:
    web, alone = tracer.containers(from_file=moments)
    assert (web.name, web.runtime, web.image, web.level, web.init.pid, web.processes) == (
        "web", "docker", "nginx:1.27", 1, 200, 4,
    )  # fmt: skip
    assert (web.labels, web.since.year) == ({"tier": "front"}, 2023)
    assert (alone.name, alone.id, alone.pidns and alone.pidns.inum) == (None, None, 4026532472)
    assert [one.name for one in tracer.containers("web", from_file=moments, at=web.since + timedelta(seconds=1))] == [
        "web"
    ]


def test_a_tree_of_a_moment(moments: Path) -> None:
    found = tracer.tree("web", from_file=moments)
    (root,) = found.roots
    assert [child.process.pid for child in root.children] == [201, 202]
    assert [child.process.pid for child in root.children[0].children] == [210]
    assert [(node.depth, node.process.pid) for node in found] == [(0, 200), (1, 201), (2, 210), (1, 202)]
    assert repr(root) == r"<<process 200>1 in web: sleep '6\x1b[2J'> with 2 children>"


def test_what_is_missing_is_noted(moments: Path) -> None:
    found = tracer.ps("web", "we", from_file=moments)
    assert found.notes and "no process in we" in found.notes[0]
    assert tracer.ps("web", from_file=moments).notes == ()


def test_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    before = sorted(Path("/proc/self/fd").iterdir()), children(os.getpid())
    own = next(process for process in tracer.ps("host") if process.pid == os.getpid())
    assert own.argv and own.ppid == os.getppid()
    assert abs((datetime.now(UTC) - own.started).total_seconds()) < 3600
    assert os.getpid() in {node.process.pid for node in tracer.tree("host")}
    assert all(one.processes for one in tracer.containers())
    assert (sorted(Path("/proc/self/fd").iterdir()), children(os.getpid())) == before


def test_the_package_of_the_same_name_is_the_function_too(moments: Path) -> None:
    assert isinstance(sys.modules["tracer"].containers, ModuleType | FunctionType)
    importlib.import_module("tracer.containers.names")
    assert isinstance(sys.modules["tracer"].containers, ModuleType)
    assert len(tracer.containers(from_file=moments)) == 2


def test_a_recording_says_what_it_is(moments: Path) -> None:
    recorded = tracer.open(moments)
    assert (recorded.begin.isoformat(), recorded.end.isoformat()) == (
        "2023-11-14T22:13:21+00:00", "2023-11-14T22:13:25+00:00",
    )  # fmt: skip
    assert repr(recorded).startswith(f"<recording {moments}: host ")
    assert [event.event for event in recorded] == [event["event"] for event in recorded.events()]


def test_a_recording_is_closed_at_once(moments: Path) -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    with tracer.open(moments) as recorded:
        events = recorded.events()
        next(events)
        recorded.translate("web/1")
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
    assert list(events) == []
    for question in (recorded.events, recorded.to_arrow, lambda: recorded.translate("web/1"), recorded.ps):
        with pytest.raises(ValueError, match="closed"):
            list(question())


def test_events_have_a_datetime_and_a_line(moments: Path) -> None:
    last = list(tracer.open(moments))[-1]
    assert last.when == datetime(2023, 11, 14, 22, 13, 25, tzinfo=UTC)
    assert repr(last).startswith(
        "Exit(time='2023-11-14T22:13:25.000000000Z', container='web', pids=[203, 4], comm='sh'"
    )
    assert "None" not in repr(last)


def test_how_a_recorded_process_ended(moments: Path) -> None:
    (found,) = tracer.open(moments).translate("web/4")
    assert found.life and found.life.ended == datetime(2023, 11, 14, 22, 13, 25, tzinfo=UTC)
    assert (found.life.exit_code, found.life.signal, found.pids, found.process) == (0, None, (203, 4), found.entry)
    assert repr(found) == r"<web/4 is 203: <process 203>4 in web: sleep '6\x1b[2J'>>"


@pytest.mark.parametrize("call", [tracer.ps, tracer.containers, tracer.tree])
def test_wrong_arguments_of_lists(call: Callable[..., object], moments: Path) -> None:
    with pytest.raises(TypeError):
        call(4711)
    with pytest.raises(TypeError):
        call(from_file=moments, at=3)
    for arguments in ({"at": "+1s"}, {"from_file": moments, "at": "+1h"}, {"from_file": moments / "x"}):
        with pytest.raises(tracer.NstraceError):
            call(**arguments)
    with pytest.raises(tracer.NstraceError) as caught:
        call("nosuch", from_file=moments)
    assert caught.value.exit_code == ExitCode.NO_TARGET
