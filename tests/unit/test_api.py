"""nstrace from Python: recordings and living processes."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from engine_processes import children
from fake_engine import A, container, serving
from recordings import WALL_NS, facts, record, storm

import tracer
from tracer.errors import ExitCode
from tracer.stream.typed import Exec, Exit


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
