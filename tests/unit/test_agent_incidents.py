"""Where a window begins and ends: by the clock of the recording that has the event, and nobody else's."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tracer.agent.config import Trigger
from tracer.agent.incidents import Incident, Limits, _remove_unfinished, _retire
from tracer.agent.notes import Note, pack, unpack
from tracer.agent.pending import Pending
from tracer.recording.files import created

NOTE = Note(1, 5_000_000_001, 1_700_000_000_000_000_007, "web", "exit-sh")


def test_a_note_comes_as_it_was_sent() -> None:
    assert unpack(pack(NOTE), 2) == NOTE
    assert unpack(pack(NOTE._replace(container="../x/y", cause=".")), 2) == NOTE._replace(container="_x_y", cause="_")


@pytest.mark.parametrize(
    "packet",
    [
        *(pack(NOTE)[:-1], pack(NOTE) + b"x", b""),
        pack(NOTE._replace(trigger=2)),
        pack(NOTE._replace(wall_offset_ns=(1 << 63) - 1)),
        pack(NOTE._replace(wall_offset_ns=-NOTE.at_ns)),
        pack(NOTE).replace(b"web", b"w/b"),
    ],
)
def test_what_no_recorder_sends_is_no_note(packet: bytes) -> None:
    assert unpack(packet, 2) is None


class AtOnce:
    """In place of a process of its own."""

    def __init__(self, _name: str, work: Callable[[], int]) -> None:
        self.start = work


def test_its_window_has_the_event_to_the_nanosecond(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Incident] = []
    monkeypatch.setattr("tracer.agent.pending.Child", AtOnce)
    monkeypatch.setattr("tracer.agent.pending.keep", lambda incident, *_: kept.append(incident))
    monkeypatch.setattr("tracer.agent.pending.path_for", lambda *_: Path("kept"))
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _clock: NOTE.at_ns + 1)
    pending = Pending(cast(Any, None), lambda _line: None, lambda: None, lambda: None)
    pending.note(NOTE, Trigger("exit_code = 77", before_s=1, after_s=0))
    pending.go_on(NOTE.at_ns, Limits(1, 1, 0))
    at_ns = NOTE.at_ns + NOTE.wall_offset_ns
    assert [(incident.begin_ns, incident.end_ns) for incident in kept] == [(at_ns - 1_000_000_000, at_ns)]


def test_one_whose_keeper_is_killed_is_said_to_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("tracer.agent.pending.keep", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    monkeypatch.setattr("tracer.agent.pending.path_for", lambda *_: Path("kept"))
    pending = Pending(cast(Any, None), said.append, lambda: None, lambda: None)
    pending.note(NOTE, Trigger("exit_code = 77", before_s=1, after_s=0))
    pending.finish(Limits(1, 1, 0))
    assert said[1:] == ["an incident was not kept: the keeper of incidents has ended (signal 9)"]
    assert pending.kept == 0


def test_one_whose_keeper_hangs_holds_up_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    paths = iter([tmp_path / "first", tmp_path / "second"])
    monkeypatch.setattr("tracer.agent.pending._KEEPER_S", 0.3)
    monkeypatch.setattr("tracer.agent.pending.keep", hang_or_keep)
    monkeypatch.setattr("tracer.agent.pending.path_for", lambda *_: next(paths))
    pending = Pending(cast(Any, None), said.append, lambda: None, lambda: None)
    for _one in range(2):
        pending.note(NOTE, Trigger("exit_code = 77", before_s=1, after_s=0))
    deadline = time.monotonic() + 60
    while not pending.kept and time.monotonic() < deadline:
        pending.go_on(NOTE.at_ns, Limits(1, 1, 0))
        pending.reap()
        time.sleep(0.01)
    assert said[2:] == ["an incident was not kept: the keeper of incidents has ended (signal 9)"]
    assert (pending.kept, (tmp_path / "second").exists()) == (1, True)


def test_what_a_killed_keeper_has_left_goes(tmp_path: Path) -> None:
    path = tmp_path / "20261129T140305.123Z-web-exit-sh.arrows"

    def killed() -> None:
        with created(path, force=False, is_whole=True) as fd:
            os.write(fd, b"x")
            os.kill(os.getpid(), signal.SIGKILL)

    if (pid := os.fork()) == 0:
        killed()
    os.waitpid(pid, 0)
    assert len(list(tmp_path.iterdir())) == 1
    for name in ("mine", ".mine", path.name):
        (tmp_path / name).touch()
    _remove_unfinished(tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"mine", ".mine", path.name}


def hang_or_keep(_incident: Incident, path: Path, *_: object) -> int:
    if path.name == "first":
        os.kill(os.getpid(), signal.SIGSTOP)
    path.touch()
    return 0


@pytest.mark.parametrize(("most", "left"), [(4, "1234"), (3, "134"), (2, "14"), (1, "1")])
def test_the_latest_stays_whatever_the_clock_says(most: int, left: str, tmp_path: Path) -> None:
    for number in range(1, 5):
        (tmp_path / f"2026112{number}T000000.000Z-web-exit-sh.arrows").touch()
    _retire(tmp_path / "20261121T000000.000Z-web-exit-sh.arrows", Limits(most, most, 0))
    assert "".join(sorted(path.name[7] for path in tmp_path.iterdir())) == left


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ((100, 3), "123 db db-exit host"),  # its own share
        ((5, 100), "23 db db-exit host"),  # whoever has most makes room
        ((4, 3), "3 db db-exit host"),
        ((3, 100), "3 db-exit host"),
        ((1, 100), "3"),
    ],
)
def test_who_crashes_again_and_again_pushes_out_its_own(limits: tuple[int, int], left: str, tmp_path: Path) -> None:
    for hour, container in enumerate(("db", "db-exit", "host")):
        (tmp_path / f"20261120T0{hour}0000.000Z-{container}-exit-sh.arrows").touch()
    for number in range(4):
        latest = tmp_path / f"2026112{number + 1}T000000.000Z-web-exit-a.b.arrows"
        latest.touch()
        _retire(latest, Limits(*limits, 0))
    kept = sorted(path.name for path in tmp_path.iterdir())
    days = "".join(str(int(name[7]) - 1) for name in kept if "-web-" in name)
    others = [name.partition("-")[2].removesuffix("-exit-sh.arrows") for name in kept if "-web-" not in name]
    assert " ".join([days, *others]) == left
