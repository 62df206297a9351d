"""The shells' completion: whole words, in time, and never an error."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import CompletionItem

from tracer.wiring import completing

ROOT = Path(__file__).parents[2]


def bash(line: str, **environment: str) -> list[str]:
    """What bash is offered for this line."""
    variables = {"COMP_LINE": line, "COMP_BREAKS": " \t\n\"'><=;|&(:", "_NSTRACE_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-m", "tracer"], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "DOCKER_HOST": "unix:///nowhere/sock", **variables, **environment},
    )  # fmt: skip
    assert (done.stderr, done.returncode) == ("", 0)
    return [item.removeprefix("plain,") for item in done.stdout.split()]


def test_verbs_and_options() -> None:
    assert {"follow", "ps", "inspect"} <= set(bash("nstrace "))
    assert bash("nstrace ver") == ["verify"]
    assert bash("nstrace verify --ex") == ["--explain"]
    assert bash("nstrace verify --color=a") == ["auto", "always"]  # bash keeps what stands before the =


def test_targets_without_any_engine() -> None:
    assert {"all", "host", "label:", "pid:"} <= set(bash("nstrace ps "))
    assert bash("nstrace follow ho") == ["host"]


def test_words_with_a_colon_are_whole() -> None:
    assert bash("nstrace follow host pidn") == ["pidns:"]
    assert all(item.isdigit() for item in bash("nstrace ps pidns:"))


@pytest.mark.parametrize("line", ["nstrace ps '", "nstrace nonsense ", "nstrace ps label:", "nstrace translate x/", ""])
def test_never_an_error(line: str) -> None:
    bash(line)
    bash(line, DOCKER_HOST="tcp://192.0.2.1:2375")


def item(value: str) -> CompletionItem[str]:
    return CompletionItem(value)


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets TARGET be what the test says; gives what is offered."""
    from tracer.host import completions

    monkeypatch.setattr("tracer.system.privileges.drop_but_look", lambda: None)  # these are of this process

    def offered(incomplete: str, targets: Any) -> list[str]:
        monkeypatch.setattr(completions, "targets", targets)
        context = click.Context(click.Command("ps"))
        return [found.value for found in completing.complete_target(context, click.Argument(["x"]), incomplete)]

    return offered


def test_the_words_of_strangers_stay_out_of_the_command_line(offer: Any) -> None:
    hostile = ["label:a=$(reboot)", "label:a=`x`", "label:a=b c", "label:a;b", "label:a\nb", "label:a=b", "-x", "é"]
    assert offer("", lambda _names, _text: iter(map(item, hostile))) == ["label:a=b"]


def test_what_was_offered_before_the_time_was_over_counts(offer: Any) -> None:
    def slow(_names: object, _text: str) -> Iterator[CompletionItem[str]]:
        yield item("web")
        threading.Event().wait(60)
        yield item("never")

    began = time.monotonic()
    assert offer("w", slow) == ["web"]
    assert time.monotonic() - began < 30


def test_a_failure_is_silent(offer: Any) -> None:
    def fails(_names: object, _text: str) -> Iterator[CompletionItem[str]]:
        yield item("web")
        raise RuntimeError

    assert offer("", fails) == ["web"]


def test_the_function_in_a_real_bash() -> None:
    script = """
        eval "$(nstrace completion bash)"
        for COMP_LINE in "nstrace ver" "nstrace ps label" "nstrace verify --color=n"; do
            COMP_POINT=${#COMP_LINE}
            _nstrace_completion nstrace
            echo "${COMPREPLY[@]}"
        done
    """
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env={**os.environ, "PATH": path})
    assert done.stdout.splitlines() == ["verify", "label:", "never"]
    assert "compopt" in done.stderr or not done.stderr  # bash says so where nobody waits for a completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tracer", "completion", shell], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "_NSTRACE_COMPLETE" in done.stdout and "nstrace" in done.stdout
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True)
