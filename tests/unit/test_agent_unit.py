"""The unit of systemd: what it permits, and that systemd accepts it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tracer.agent import unit
from tracer.agent.config import Config, Metrics, Publish, Record, Trigger
from tracer.errors import NstraceError


def keys(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def test_there_is_a_network_only_where_it_is_needed() -> None:
    alone = keys(unit.text_of(Config(), None))
    assert (alone["PrivateNetwork"], alone["RestrictAddressFamilies"]) == ("yes", "AF_UNIX")
    for config in (Config(metrics=Metrics()), Config(publish=Publish("a", "nats", ("nats://a",))),
                   Config(triggers=(Trigger("oom", run=("logger",)),))):  # fmt: skip
        with_it = keys(unit.text_of(config, None))
        assert "PrivateNetwork" not in with_it and "IPAddressDeny" not in with_it
        assert with_it["RestrictAddressFamilies"] == "AF_UNIX AF_INET AF_INET6"


def test_only_its_own_folders_can_be_written() -> None:
    assert keys(unit.text_of(Config(), None))["StateDirectory"] == "nstrace"
    other = keys(unit.text_of(Config(record=Record(folder=Path("/srv/nstrace/store"))), None))
    assert "StateDirectory" not in other and other["ReadWritePaths"] == "/srv/nstrace"
    assert other["ProtectSystem"] == "strict"


def test_names_are_quoted(tmp_path: Path) -> None:
    named = tmp_path / 'a "b" 100%.toml'
    command = keys(unit.text_of(Config(), str(named)))["ExecStart"]
    assert command.endswith('a \\"b\\" 100%%.toml"')


def test_without_systemd_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(NstraceError, match="systemd does not run here"):
        unit.install(Config(), None)
    with pytest.raises(NstraceError, match="systemd does not run here"):
        unit.uninstall()


@pytest.mark.parametrize("config", [Config(), replace(Config(), metrics=Metrics())])
def test_systemd_accepts_it(config: Config, tmp_path: Path) -> None:
    text = unit.text_of(config, None)
    assert "\n\n\n" not in text and "{" not in text
    if shutil.which("systemd-analyze"):
        path = tmp_path / "nstrace.service"
        path.write_text(text)
        done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
