"""The command as it is installed: what it runs where it is root, and that nothing of the caller's is run with it."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracer.version import VERSION

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "release/nstrace"
LEAVES_A_MARK = "import os; open(os.environ['MARKS'] + '/' + {!r} + str(os.getpid()), 'w')\n"


@pytest.fixture(scope="module", params=["build_wheel", "build_editable"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs of an environment into which pip has put us. It also sees what a user's HOME has."""
    folder = tmp_path_factory.mktemp(request.param)
    build = f"import sys; from hatchling.build import *; print({request.param}(sys.argv[1]))"
    made = subprocess.run([sys.executable, "-c", build, folder], cwd=ROOT, check=True, capture_output=True, text=True)
    venv.create(folder / "venv", with_pip=True, system_site_packages=True)
    programs = folder / "venv/bin"
    wheel = folder / made.stdout.splitlines()[-1]
    install: list[str | Path] = [
        programs / "python3",
        "-m",
        "pip",
        "install",
        "-qq",
        "--no-deps",
        "--no-index",
        "--force-reinstall",
        wheel,
    ]
    subprocess.run(install, check=True, stdin=subprocess.DEVNULL)
    (packages,) = (folder / "venv/lib").glob("python*/site-packages")
    (packages / "zz-libraries.pth").write_text("\n".join(site.getsitepackages()))
    return programs


def test_a_wheel_has_the_completions_of_all_shells(installed: Path) -> None:
    if "build_wheel" not in str(installed):
        return  # an editable one leaves files where they are
    places = (
        "bash-completion/completions/nstrace",
        "fish/vendor_completions.d/nstrace.fish",
        "zsh/site-functions/_nstrace",
    )
    for place in places:
        assert "_NSTRACE_COMPLETE" in (installed.parent / "share" / place).read_text()


@pytest.fixture
def hostile(tmp_path: Path) -> dict[str, str]:
    """An environment in which Python runs what others have written, as soon as it starts. MARKS: a folder that shows
    what was run."""
    home, path, marks = (tmp_path / name for name in ("home", "path", "marks"))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = home / ".local/lib" / version / "site-packages"
    for folder in (packages, path, marks):
        folder.mkdir(parents=True)
    (packages / "usercustomize.py").write_text(LEAVES_A_MARK.format("usercustomize"))
    for name in ("sitecustomize", "click", "tracer"):
        (path / f"{name}.py").write_text(LEAVES_A_MARK.format(name))
    (path / "startup.py").write_text(LEAVES_A_MARK.format("startup"))
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(path), "MARKS": str(marks)}
    return {**environment, "PYTHONSTARTUP": str(path / "startup.py"), "PYTHONINSPECT": "1"}


def run(argv: list[str | Path], environment: dict[str, str]) -> tuple[str, set[str]]:
    """What a command prints, and what has run meanwhile."""
    done = subprocess.run(
        argv, env=environment, cwd=environment["PYTHONPATH"], capture_output=True, text=True, timeout=60, input=""
    )
    assert done.returncode == 0, done.stderr
    marks = Path(environment["MARKS"])
    return done.stdout, {mark.name.rstrip("0123456789") for mark in marks.iterdir()}


def test_where_it_is_root_nothing_of_the_callers_runs(installed: Path, hostile: dict[str, str]) -> None:
    if os.geteuid():
        pytest.skip("is about root")
    _said, ran = run([installed / "python3", "-c", ""], hostile)
    assert {"usercustomize", "sitecustomize"} <= ran  # such an environment it is
    shutil.rmtree(hostile["MARKS"])
    Path(hostile["MARKS"]).mkdir()
    for place in (installed, Path(hostile["HOME"])):
        if place != installed:
            (place / "nstrace").symlink_to(installed / "nstrace")
        said, ran = run([place / "nstrace", "--version"], hostile)
        assert (said.split()[-1], ran) == (VERSION, set())


def test_it_does_something(installed: Path, hostile: dict[str, str]) -> None:
    said, _ran = run([installed / "nstrace", "completion", "bash"], {**hostile, "PYTHONPATH": hostile["MARKS"]})
    assert "_NSTRACE_COMPLETE" in said
    assert (installed / "nstrace").read_bytes() == SCRIPT.read_bytes()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everyone may enter, with the script and a Python that says what it is given."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        shutil.copy(SCRIPT, folder)
        python = Path(folder, "python3")
        python.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
        python.chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("path", ["nstrace", "a link", "in PATH", "as the shell's file"])
@pytest.mark.parametrize("is_root", [True, False])
def test_how_python_is_started(path: str, is_root: bool, place: Path) -> None:
    if os.geteuid():
        pytest.skip("changes the user: needs root")
    (place / "elsewhere").mkdir()
    (place / "elsewhere/nstrace").symlink_to("../nstrace")
    ways: dict[str, list[str | Path]] = {
        "nstrace": [place / "nstrace"],
        "a link": [place / "elsewhere/nstrace"],
        "in PATH": ["env", "nstrace"],
        "as the shell's file": ["sh", "./nstrace"],
    }
    done = subprocess.run(
        [*ways[path], "a b", "", "-c*"],
        cwd=place,
        env={"PATH": f"{place}:/usr/bin:/bin"},
        user=0 if is_root else 65534,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    assert done.stdout == f"{'-I' if is_root else '-P'}|-m|tracer|a b||-c*|"


def test_without_a_python_beside_it_is_the_distributions(place: Path) -> None:
    (place / "python3").unlink()
    said = subprocess.run(
        ["sh", "-x", place / "nstrace", "--version"], capture_output=True, text=True, timeout=60
    ).stderr
    assert "exec /usr/bin/python3 " in said
