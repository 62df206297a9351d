"""The shells' completion: whole words, in time, and never an error."""

from __future__ import annotations

import os
import shutil
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
from completions import bash, raw
from fake_engine import A, B, container, serving

from tracer.cli import VERBS
from tracer.wiring import completing

ROOT = Path(__file__).parents[2]


def test_verbs_and_options() -> None:
    assert {"follow", "ps", "inspect"} <= set(bash("nstrace "))
    assert bash("nstrace ver") == ["verify"]
    assert bash("nstrace wh") == ["why"]
    assert bash("nstrace verify --ex") == ["--explain"]
    assert bash("nstrace verify --color=a") == ["auto", "always"]  # bash keeps what stands before the =


def test_targets_without_any_engine() -> None:
    assert {"all", "host", "label:", "pid:"} <= set(bash("nstrace ps "))
    assert bash("nstrace follow ho") == ["host"]


def test_names_and_compose_projects_of_an_engine(tmp_path: Path) -> None:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "api"}
    with serving(tmp_path / "sock") as engine:
        engine.containers = [container(A, "shop-api-1", Labels=labels), container(B, "db")]
        where = {"DOCKER_HOST": engine.address}
        assert bash("nstrace follow compose:", **where) == ["api", "shop", "shop/api"]
        assert bash("nstrace follow name:s", **where) == ["shop-api-1"]


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


def test_names_of_files_are_left_to_the_shell() -> None:
    lines = ["replay x", "export x", "ps --from x", "translate --from x", "record -w x", "follow -w x", "run --to x"]
    for line in (*lines, "run -- cat x", "run -- ./x"):
        assert raw(f"nstrace {line}") == [f"file,{line.rpartition(' ')[2]}"], line


def test_kinds_of_events_and_programs(tmp_path: Path) -> None:
    assert bash("nstrace follow --events fork,ex") == ["fork,exec", "fork,exec_failed", "fork,exit"]
    assert bash("nstrace follow --events fork,exec,exit,exec_failed,ex") == []
    (tmp_path / "maker").touch()
    (tmp_path / "ma$(reboot)").touch()
    assert bash("nstrace run -- ma", PATH=str(tmp_path)) == ["maker"]


def test_descriptions_are_whole() -> None:
    for shell, word in (("zsh", "1"), ("fish", "")):
        said = raw("", _NSTRACE_COMPLETE=f"{shell}_complete", COMP_WORDS="nstrace ", COMP_CWORD=word)
        assert all(any(text in line for line in said) for text in VERBS.values())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_in_a_real_shell(shell: str, tmp_path: Path) -> None:
    """zsh completes on a terminal alone: it gets one of its own (zpty)."""
    if not shutil.which(shell):
        pytest.skip(f"needs {shell}")
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "nstrace").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tracer "$@"\n')
    (commands / "nstrace").chmod(0o755)
    (tmp_path / "web.arrows").touch()
    (tmp_path / "script").write_text("\n".join(raw("", _NSTRACE_COMPLETE=f"{shell}_source")))
    lines = ["nstrace ver", "nstrace replay we", "nstrace verify --color=al", "nstrace ps --from=we"]
    expected = ["verify", "web.arrows", "--color=always", "--from=web.arrows"]
    path = f"{commands}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DOCKER_HOST": "unix:///nowhere", "HOME": str(tmp_path), "TERM": "dumb"}
    done = subprocess.run(
        [shell, *(["-f"] if shell == "zsh" else []), "-c", REAL_SHELLS[shell], shell, *lines],
        capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert [word for word in expected if word in done.stdout] == expected, (done.stdout, done.stderr)


REAL_SHELLS = {
    "bash": """
        . ./script
        compopt() { [ "$2" != default ] || COMPREPLY=($(compgen -f -- "${COMP_LINE##*[ =]}")); }
        for COMP_LINE; do
            COMP_POINT=${#COMP_LINE}
            _nstrace_completion nstrace
            case $COMP_LINE in *=*) printf %s "${COMP_LINE##* }" | sed 's/=.*/=/' ;; esac
            echo "${COMPREPLY[@]}"
        done
    """,
    "fish": "source script; for line in $argv[2..]; complete -C $line; end",
    "zsh": """
        zmodload zsh/zpty
        zpty shell zsh -f -i
        until_seen() { zpty -r shell seen "*$1*" }
        zpty -w shell 'autoload -Uz compinit; compinit -u -D; source ./script; echo rea""dy'
        until_seen ready
        for line; do
            zpty -w -n shell $line$'\\t'
            case $line in *ver) word=verify ;; *=al) word=always ;; *) word=web.arrows ;; esac
            until_seen $word; print -r -- $seen
            zpty -w -n shell $'\\C-u'
        done
        zpty -d shell
    """,
}


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "SUDO_", "ZDOTDIR"))}
    return {**variables, "HOME": str(tmp_path / "home")}


@pytest.mark.parametrize(
    ("shell", "file", "rc"),
    [
        ("bash", ".local/share/bash-completion/completions/nstrace", ".bashrc"),
        ("zsh", ".local/share/nstrace/completion.zsh", ".zshrc"),
        ("fish", ".config/fish/completions/nstrace.fish", None),
    ],
)
def test_install_once_and_again(shell: str, file: str, rc: str | None, home: dict[str, str]) -> None:
    folder = Path(home["HOME"])
    folder.mkdir()
    if rc:
        (folder / rc).write_text("existing")
    argv = [sys.executable, "-m", "tracer", "completion", "install"]
    environment = {**home, "SHELL": f"/usr/bin/{shell}"}
    texts = []
    for said in ("wrote", "up to date"):
        done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=environment)
        assert (done.returncode, done.stderr) == (0, "")
        assert said in done.stdout and f"a new {shell} completes nstrace" in done.stdout
        texts.append([path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()])
    assert texts[0] == texts[1]
    assert "_NSTRACE_COMPLETE" in (folder / file).read_text()
    if rc and (folder / rc).read_text() != "existing":  # bash finds it by itself where bash-completion is
        assert (folder / rc).read_text() == f"existing\nsource {folder / file}  # nstrace completion\n"


def test_what_cannot_be_installed(home: dict[str, str], tmp_path: Path) -> None:
    def refused(*words: str, **variables: str) -> list[str]:
        argv = [sys.executable, "-m", "tracer", "completion", *words]
        done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env={**home, **variables})
        assert done.returncode in (1, 2)
        first, second = done.stderr.splitlines()
        return [first, second]

    assert "there is no completion for the shell 'tcsh'" in refused("install", SHELL="/bin/tcsh")[0]
    assert "SHELL is not set" in refused("install", SHELL="")[0]
    assert "install goes before the name of a shell" in refused("bash", "zsh")[0]
    (tmp_path / "home").write_text("a file")
    assert "cannot be written" in refused("install", "fish")[0]


def test_an_engine_that_hangs_delays_no_key(tmp_path: Path) -> None:
    with serving(tmp_path / "sock") as engine:
        bash("nstrace ps xyz", DOCKER_HOST="unix:///nowhere/sock")  # Python has compiled all modules
        began = time.monotonic()
        bash("nstrace ps xyz", DOCKER_HOST="unix:///nowhere/sock")
        without_s = time.monotonic() - began
        engine.hangs = True
        began = time.monotonic()
        assert bash("nstrace ps al", DOCKER_HOST=engine.address) == ["all"]
        took_s = time.monotonic() - began
        engine.released.set()
    assert took_s - without_s < 1.0, "0.3 s, and what a busy machine adds"
