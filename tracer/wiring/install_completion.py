"""Puts the completion script where a user's shell looks for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tracer.errors import NstraceError

_SYSTEM_WIDE = Path("/usr/share/bash-completion/bash_completion")  # it loads what is in users' folders
_MARK = "# nstrace completion"


class Place(NamedTuple):
    """file: for the script. rc: the start-up file that has to source it; None: the shell finds it by itself."""

    file: Path
    rc: Path | None


def place_of(shell: str, home: Path, environment: Mapping[str, str]) -> Place:
    """Where the script of a shell goes."""
    data = Path(environment.get("XDG_DATA_HOME") or home / ".local/share")
    if shell == "fish":
        return Place(
            Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "fish/completions/nstrace.fish", None
        )
    if shell == "zsh":
        return Place(data / "nstrace/completion.zsh", Path(environment.get("ZDOTDIR") or home) / ".zshrc")
    named = environment.get("BASH_COMPLETION_USER_DIR")
    folder = Path(named) if named else data / "bash-completion"
    return Place(folder / "completions/nstrace", None if _SYSTEM_WIDE.exists() else home / ".bashrc")


def install(script: str, place: Place) -> list[str]:
    """Write the script, and the line that sources it. Returns a line for people for each file: what was done. Done
    twice, it changes nothing. Raises NstraceError."""
    done = [_written(place.file, script)]
    if place.rc:
        done.append(_sourced(place.rc, place.file))
    return done


def _written(file: Path, script: str) -> str:
    try:
        if file.is_file() and file.read_text(errors="replace") == script:
            return f"{file} is up to date"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(script)
    except OSError as error:
        raise _failed(file, error) from error
    return f"wrote {file}"


def _sourced(rc: Path, file: Path) -> str:
    line = f"source {shlex.quote(str(file))}  {_MARK}\n"
    try:
        before = rc.read_text(errors="surrogateescape") if rc.exists() else ""
        if line in before:
            return f"{rc} sources it already"
        with rc.open("a") as out:
            out.write(line if before.endswith("\n") or not before else f"\n{line}")
    except OSError as error:
        raise _failed(rc, error) from error
    return f"added a line to {rc} that sources it"


def _failed(file: Path, error: OSError) -> NstraceError:
    hint = "nstrace completion SHELL prints the script: put it where your shell finds it"
    return NstraceError(f"{file} cannot be written: {error.strerror}", hint)
