"""What scripts/setup asks pip for, and what it does with pip's answers. pip is a script here that says what it is told
to say."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MISSING = "ERROR: No matching distribution found for x==1"
WRONG = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."
LOCKED = "install -qq --require-hashes -r requirements-dev.lock"
ITSELF = "install -qq --no-deps --no-build-isolation -e ."
DECLARED = "install -qq -e .[dev]"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("scripts/setup", "pyproject.toml", "requirements-dev.lock", "release/nstrace"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    packages = tmp_path / "scripts/packages"
    packages.write_text("#!/bin/sh\n")
    packages.chmod(0o755)
    for place in (tmp_path / ".venv", tmp_path / "build/lowest"):
        programs = place / "bin"
        programs.mkdir(parents=True)
        (place / "pyvenv.cfg").write_text("include-system-site-packages = true\n")
        (programs / "sh").symlink_to("/bin/sh")
        pip = programs / "pip"
        says = 'case "$*" in *hashes*) printf "%s" "$SAYS" >&2; [ -z "$SAYS" ] ;; esac'
        pip.write_text(f'#!{programs}/sh\n[ "$1" = --version ] || echo "$*" >>{tmp_path}/asked\n{says}\n')
        pip.chmod(0o755)
    return tmp_path


def asked(checkout: Path, says: str, *args: str) -> tuple[int, list[str]]:
    """The exit code of scripts/setup, and what pip was asked for."""
    (checkout / "asked").write_text("")
    environment = {"PATH": "/usr/bin:/bin", "SAYS": says}
    argv = ["bash", "scripts/setup", *args]
    done = subprocess.run(argv, cwd=checkout, env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, (checkout / "asked").read_text().splitlines()


def test_what_is_locked_is_installed(checkout: Path) -> None:
    assert asked(checkout, "") == (0, [LOCKED, ITSELF])


def test_a_file_that_the_index_lacks_is_no_end(checkout: Path) -> None:
    assert asked(checkout, MISSING) == (0, [LOCKED, DECLARED])


@pytest.mark.parametrize("says", [WRONG, f"{MISSING}\n{WRONG}", "ERROR: no network"])
def test_a_file_that_is_another_is_the_end(says: str, checkout: Path) -> None:
    assert asked(checkout, says) == (1, [LOCKED])
    assert not (checkout / ".venv/setup-stamp").exists()


def test_the_lowest_versions_are_not_locked(checkout: Path) -> None:
    code, (install,) = asked(checkout, WRONG, "--lowest")
    assert code == 0
    assert "click==8.1 " in install and "hashes" not in install and install.endswith("-e .")
