"""Finds and reads the agent's configuration: for the agent itself, and for whoever asks where its recordings are."""

from __future__ import annotations

import os
from pathlib import Path

from tracer.agent.config import Config, parse_config, problems_in
from tracer.agent.toml_lines import Place, line_of
from tracer.config_file import read_trusted
from tracer.errors import ExitCode, NstraceError

VARIABLE = "NSTRACE_AGENT_CONFIG"
DEFAULT = Path("/etc/nstrace/agent.toml")


def path_of(named: str | None = None) -> Path:
    """Where the configuration is, or would be. named: what --config says; else NSTRACE_AGENT_CONFIG does."""
    return Path(named or os.environ.get(VARIABLE) or DEFAULT)


def read_config(named: str | None = None) -> Config:
    """The configuration; its defaults where there is no file, and none was named. Raises NstraceError."""
    path = path_of(named)
    return parse_config(_text(path, is_named=path != DEFAULT), str(path))


def check_config(named: str | None = None) -> list[NstraceError]:
    """All that is wrong with the configuration, also with conditions of triggers. Raises NstraceError where it cannot
    be read."""
    path = path_of(named)
    text = _text(path, is_named=path != DEFAULT)
    problems = problems_in(text, str(path))
    return problems or _wrong_conditions(parse_config(text, str(path)), text, path)


def check_host(named: str | None = None) -> list[NstraceError]:
    """What a valid configuration needs that this host does not have, with lines. Raises NstraceError."""
    from tracer.agent.host_check import missing

    path = path_of(named)
    text = _text(path, is_named=path != DEFAULT)
    return [_at(error, place, text, path) for place, error in missing(parse_config(text, str(path)))]


def _at(error: NstraceError, place: Place, text: str, path: Path) -> NstraceError:
    key = ".".join(step for step in place if isinstance(step, str))
    return NstraceError(f"{path}:{line_of(text, place)}: {key}: {error.message}", error.hint, ExitCode.USAGE)


def _wrong_conditions(config: Config, text: str, path: Path) -> list[NstraceError]:
    from tracer.ask.event_filter import EventFilter

    problems = []
    for number, trigger in enumerate(config.triggers):
        try:
            EventFilter(trigger.where)
        except NstraceError as error:
            problems.append(_at(error, ("trigger", number, "where"), text, path))
    return problems


def _text(path: Path, is_named: bool) -> str:
    """What the file holds; "" where there is none and none was named. Raises NstraceError."""
    hint = f"it has to be a file of root's or yours that others cannot write; without {DEFAULT} there are defaults"
    try:
        return read_trusted(path, hint).decode()
    except (FileNotFoundError, NotADirectoryError) as error:
        if not is_named:
            return ""
        raise NstraceError(f"no such file: {path}", "nstrace agent --check says what counts without one") from error
    except UnicodeDecodeError as error:
        raise NstraceError(f"{path} is not valid UTF-8, at byte {error.start}", "TOML is", ExitCode.USAGE) from error
