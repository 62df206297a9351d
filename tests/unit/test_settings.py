"""Settings: from a file and from variables, always overridden by options."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tracer import config_file
from tracer.cli import nstrace
from tracer.errors import NstraceError
from tracer.settings import SETTINGS

ROOT = Path(__file__).parents[2]


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DOCKER_HOST": "unix:///nowhere", **variables}
    argv = [sys.executable, "-m", "tracer", *words]
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60)


def values(text: str, tmp_path: Path, **variables: str) -> dict[str, tuple[object, str]]:
    """What nstrace config shows with this file."""
    (tmp_path / "config.toml").write_text(text)
    done = run("config", "--json", NSTRACE_CONFIG=str(tmp_path / "config.toml"), **variables)
    assert (done.returncode, done.stderr) == (0, "")
    lines = map(json.loads, done.stdout.splitlines())
    return {line["setting"]: (line["value"], line["from"].replace(f"{tmp_path}/", "")) for line in lines}


def test_a_variable_overrides_the_file_which_overrides_the_default(tmp_path: Path) -> None:
    text = 'color = "never"\nredact = true\ntarget = "web"'
    found = values(text, tmp_path, NSTRACE_COLOR="always", NSTRACE_TARGET="'web-*' label:tier=db", NSTRACE_REDACT="")
    assert found == {
        "color": ("always", "NSTRACE_COLOR"),
        "container_width": (None, "default"),
        "redact": (True, "config.toml"),
        "target": (["web-*", "label:tier=db"], "NSTRACE_TARGET"),
        "time": ("local", "default"),
        "memory": (None, "default"),
    }
    assert values("", tmp_path, NSTRACE_REDACT="on", NSTRACE_CONTAINER_WIDTH="30")["container_width"][0] == 30


def test_every_setting_is_an_option_or_argument_of_some_command() -> None:
    context = click.Context(nstrace)
    commands = [nstrace.get_command(context, verb) for verb in nstrace.list_commands(context)]
    params = {param.name for command in commands if command for param in command.params}
    assert {setting.param for setting in SETTINGS} <= params


@pytest.mark.parametrize(
    ("text", "what", "how"),
    [
        ("colour = 'never'", "config.toml: there is no setting 'colour'", "did you mean color?"),
        ("zzz = 1", "there is no setting 'zzz'", "settings are color, container_width"),
        ("color = 3", "config.toml: color = 3 is not valid", "color is auto, always or never"),
        ("color = ['never']", "is not valid", "color is auto, always or never"),
        ("redact = 'yes'", "redact = 'yes' is not valid", "redact is true or false"),
        ("container_width = true", "is not valid", "a whole number from"),
        ("container_width = 10000", "is not valid", "a whole number from"),
        ("target = ['web', 3]", "is not valid", "a TARGET, or a list of them"),
        ("target = '--debug'", "is not valid", "a TARGET, or a list of them"),
        ("color = ", "config.toml is not valid TOML", "for example"),
        ("[" * 20000, "config.toml is not valid TOML", "for example"),
        ("#" * 70000, "config.toml is longer than 65536 bytes", "NSTRACE_CONFIG="),
        ("\udcff", "config.toml is not valid TOML", "for example"),
    ],
)
def test_what_is_wrong_is_said_with_the_name_of_the_file(text: str, what: str, how: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    for words in (["config"], ["ps"], ["replay", "x"]):
        done = run(*words, NSTRACE_CONFIG=str(path))
        first, second = done.stderr.splitlines()
        assert (done.returncode, done.stdout) == (1 if "longer" in what else 2, "")
        assert what in first and how in second
    assert run("ps", "--help", NSTRACE_CONFIG=str(path)).returncode == 0  # whoever needs help gets it
    assert run("config", "--path", NSTRACE_CONFIG=str(path)).stdout == f"{path}\n"


def test_a_variable_that_is_wrong() -> None:
    done = run("ps", NSTRACE_COLOR="blue")
    said = ["nstrace: NSTRACE_COLOR='blue' is not valid", "  color is auto, always or never"]
    assert (done.returncode, done.stderr.splitlines()) == (2, said)


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NSTRACE_CONFIG")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert config_file.path() == Path("/home/me/.config/nstrace/config.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert config_file.path() == Path("/home/me/.config/nstrace/config.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/elsewhere")
    assert config_file.path() == Path("/elsewhere/nstrace/config.toml")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_UID", "65534")  # nobody: everywhere the same
    monkeypatch.setenv("SUDO_GID", "65534")
    assert config_file.path() == Path("/nonexistent/.config/nstrace/config.toml")
    monkeypatch.setenv("NSTRACE_CONFIG", "")
    assert config_file.path() is None and config_file.read()


def test_no_other_user_chooses_what_root_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("redact = true")
    monkeypatch.setenv("NSTRACE_CONFIG", str(path))
    assert config_file.read()[SETTINGS[2]].value is True
    path.chmod(0o666)
    with pytest.raises(NstraceError, match="can be written by everyone: it is not read"):
        config_file.read()
    path.chmod(0o644)
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1000)
    monkeypatch.setattr("os.fstat", lambda fd: _owned(os.stat(fd), 4711))  # noqa: PTH116 - a descriptor
    with pytest.raises(NstraceError, match="belongs to user 4711: it is not read"):
        config_file.read()
    monkeypatch.setenv("SUDO_UID", "4711")
    monkeypatch.setenv("SUDO_GID", "4711")
    assert config_file.read()[SETTINGS[2]].value is True


def test_a_folder_that_is_closed_to_us_has_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As root's is to a service of another user, whose HOME is still root's."""

    def refused(*_args: object, **_named: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.delenv("NSTRACE_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(os, "open", refused)
    assert {found.source for found in config_file.read().values()} == {"default"}
    monkeypatch.setenv("NSTRACE_CONFIG", str(tmp_path / "named.toml"))
    with pytest.raises(NstraceError, match="cannot be read: Permission denied"):
        config_file.read()


def test_a_link_to_the_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "dotfiles.toml").write_text("color = 'never'")
    (tmp_path / "config.toml").symlink_to("dotfiles.toml")
    done = run("config", NSTRACE_CONFIG=str(tmp_path / "config.toml"))
    assert "color            never  /" in done.stdout, done.stderr


def _owned(found: os.stat_result, uid: int) -> os.stat_result:
    return os.stat_result([*found[:4], uid, *found[5:10]])


def test_a_file_that_is_none_does_not_make_us_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.toml")
    done = run("config", NSTRACE_CONFIG=str(tmp_path / "config.toml"))
    assert (done.returncode, "is not a regular file" in done.stderr) == (1, True)
    assert run("config", NSTRACE_CONFIG=str(tmp_path / "missing" / "x.toml")).returncode == 0


def test_an_option_overrides_all(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('color = "always"\nredact = true\ntarget = "nosuch"')
    settings = {"NSTRACE_CONFIG": str(tmp_path / "config.toml")}
    code = (
        "from tracer import cli; import tracer.commands.follow as f; f.command.callback = lambda **v: print("
        "v['color'], v['redact'], v['targets']); import sys; cli.main(sys.argv[1:])"
    )

    def shown(*words: str) -> str:
        argv = [sys.executable, "-c", code, "follow", *words]
        env = {**os.environ, **settings}
        return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=env, check=True).stdout

    assert shown() == "always True ('nosuch',)\n"
    assert shown("--color", "never", "--no-redact", "web") == "never False ('web',)\n"
    assert run("ps", "host", **settings).returncode == 0
    assert "no container" in run("ps", **settings).stderr


def test_a_default_target_is_not_one_of_recordings(tmp_path: Path) -> None:
    from recordings import facts, record, storm

    record(tmp_path / "x.arrows", [facts(), storm(1, 5)])
    done = run("ps", "--from", str(tmp_path / "x.arrows"), "--at", "+1ms", NSTRACE_TARGET="nosuch")
    assert "nosuch" not in done.stderr
