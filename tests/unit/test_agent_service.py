"""When the agent takes its recorder for dead."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tracer.agent import service as service_module
from tracer.agent.beats import Beat
from tracer.agent.child import Child
from tracer.agent.config import Config
from tracer.agent.service import Service
from tracer.agent.store import Store


class Host:
    """A service on it, without any process: its time, and what was said and sent."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        self.told: list[str] = []
        self.sent: list[int] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(service_module, "notify", lambda *words: self.told.extend(words))
        monkeypatch.setattr(Child, "start", lambda _child: None)
        monkeypatch.setattr(Child, "signal", lambda _child, number: self.sent.append(number))
        self.service = Service(None, Config(), Store(folder / "store"), -1)
        self.service._start_recorder()

    def after(self, seconds: float) -> list[str]:
        """What systemd is told, so much later."""
        self.now_s += seconds
        self.told.clear()
        self.service._check_recorder()
        return self.told


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_a_recorder_that_starts_has_time(host: Host) -> None:
    assert host.after(70) == host.after(160) == ["WATCHDOG=1"]
    assert host.sent == []
    assert host.after(20) == []
    assert host.sent == [signal.SIGKILL]


def test_one_that_has_said_something_and_says_no_more_is_ended(host: Host) -> None:
    host.now_s += 200
    host.service._hear(Beat(1, 0, 0, 0, 0))
    assert host.after(50) == [] and host.sent == []
    assert host.after(20) == [] and host.sent == [signal.SIGKILL]
