"""nstrace without a command: the first thing that people type."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tracer.cli import VERBS, nstrace
from tracer.version import VERSION

ROOT = Path(__file__).parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tracer", *words], capture_output=True, text=True, cwd=ROOT)


def test_a_short_help_that_fits_a_terminal() -> None:
    for words in ([], ["--debug"]):
        done = run(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout.splitlines()) <= 20
        assert max(map(len, done.stdout.splitlines())) <= 80
        assert all(verb in done.stdout for verb in VERBS)


def test_its_examples_are_commands() -> None:
    lines = [line.strip() for line in run().stdout.splitlines() if line.startswith("  sudo nstrace ")]
    assert len(lines) == 3
    for line in lines:
        _sudo, _nstrace, verb, *words = shlex.split(line.partition("  ")[0])
        command = nstrace.get_command(None, verb)  # type: ignore[arg-type]
        assert command
        command.make_context(verb, words)


def test_the_long_help_and_a_wrong_command_are_as_ever() -> None:
    for word in ("-h", "--help"):
        assert all(f"  {verb} " in run(word).stdout for verb in VERBS)
    for word in ("nonsense", "--nonsense"):
        done = run(word)
        assert (done.returncode, done.stdout) == (2, "")
        assert "nstrace --help" in done.stderr


def test_a_misspelt_command_gets_a_suggestion() -> None:
    done = run("folow", "web")
    assert (done.returncode, done.stdout) == (2, "")
    said = ["nstrace: no such command 'folow'", "  did you mean: nstrace follow web"]
    assert done.stderr.splitlines() == said
    assert "did you mean" not in run("zzz").stderr
    assert "did you mean: nstrace follow -o json" in run("logs", "-o", "json").stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["follow", "--dration", "5", "web"], "did you mean: nstrace follow --duration 5 web"),
        (["follow", "--dration=5", "web"], "did you mean: nstrace follow --duration=5 web"),
        (["follow", "-json", "a b"], "did you mean: nstrace follow --json 'a b'"),
        (["ps", "-p", "15"], "did you mean: nstrace ps pid:15"),
        (["follow", "--container=web", "-q"], "did you mean: nstrace follow web -q"),
        (["ps", "-c"], "see nstrace ps --help"),
        (["follow", "--zzzzzz"], "see nstrace follow --help"),
        (["follow", "-z"], "see nstrace follow --help"),
        (["--verson"], "did you mean: nstrace --version"),
        (["--nonsense"], "see nstrace --help"),
    ],
)
def test_a_misspelt_option_gets_a_suggestion(words: list[str], said: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0].startswith("nstrace: no such option '-")
    assert done.stderr.splitlines()[1:] == [f"  {said}"]


def test_help_by_name() -> None:
    assert run("help").stdout == run("--help").stdout
    assert run("help", "ps").stdout == run("ps", "--help").stdout
    assert run("help", "folow").stderr.splitlines()[1] == "  did you mean: nstrace help follow"


def test_its_version() -> None:
    for option in ("-V", "--version"):
        assert run(option).stdout == f"nstrace, version {VERSION}\n"
