"""The name of a recording that the user has not named."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tracer.wiring.recorders import name_for

NOW = time.strptime("2026-11-29 14:03:05", "%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("targets", "name"),
    [
        ((), "all"),
        (("web",), "web"),
        (("web-*", "label:tier=db"), "web-label-tier-db"),
        (("../../etc/x", "-rf", ".."), "etc-x-rf"),
        (("*",), "all"),
        (("日本",), "all"),
        (("x" * 300,), "x" * 40),
    ],
)
def test_it_says_what_and_when(
    targets: tuple[str, ...], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert name_for(targets, NOW) == f"{name}-20261129-140305.arrows"


def test_it_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("web-20261129-140305.arrows").touch()
    Path("web-20261129-140305-2.arrows").symlink_to("nothing")
    assert name_for(["web"], NOW) == "web-20261129-140305-3.arrows"
