"""Settings: options that a user would type every time. Each has a name in config.toml, a variable NSTRACE_NAME, and an
option that overrides both. Reads no file: `tracer.config_file` does."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tracer.errors import ExitCode, NstraceError

Value = str | int | bool | tuple[str, ...]


class Setting(NamedTuple):
    """name: in config.toml. param: of the commands whose default it is. valid: a value from TOML -> whether it is one.
    parsed: the text of a variable -> the value, or None. wanted: what valid values are, for people."""

    name: str
    param: str
    default: Value | None
    wanted: str
    valid: Callable[[object], bool]
    parsed: Callable[[str], object]
    help: str

    @property
    def variable(self) -> str:
        """The variable that overrides the file."""
        return f"NSTRACE_{self.name.upper()}"


class Set(NamedTuple):
    """A value and where it comes from: "default", a variable or a file."""

    value: Value | None
    source: str


_TIMES = ("local", "utc", "epoch", "boot", "relative", "delta")
_COLORS = ("auto", "always", "never")
_LEAST_WIDTH, _MOST_WIDTH = 9, 255  # as the option has them


def _is_width(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and _LEAST_WIDTH <= value <= _MOST_WIDTH


def _is_words(value: object) -> bool:
    words = value if isinstance(value, list) else [value]
    return bool(words) and all(isinstance(word, str) and word and not word.startswith("-") for word in words)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _number(text: str) -> object:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _flag(text: str) -> object:
    words = {**dict.fromkeys(("1", "true", "yes", "on"), True), **dict.fromkeys(("0", "false", "no", "off"), False)}
    return words.get(text.lower())


def _is_size(value: object) -> bool:
    from tracer.typed.sizes import parse_size

    try:
        return isinstance(value, str) and parse_size(value) > 0
    except NstraceError:
        return False


def _words(text: str) -> object:
    try:
        return shlex.split(text)
    except ValueError:
        return None


SETTINGS = (
    Setting("color", "color", "auto", "auto, always or never", _COLORS.__contains__, str, "when to use colors"),
    Setting(
        *("container_width", "container_width", None, f"a whole number from {_LEAST_WIDTH} to {_MOST_WIDTH}"),
        *(_is_width, _number, "greatest width of the column CONTAINER"),
    ),
    Setting("redact", "redact", False, "true or false", _is_flag, _flag, "whether secrets in arguments are masked"),
    Setting(
        *("target", "targets", (), "a TARGET, or a list of them", _is_words, _words),
        "what follow, record, ps, tree and verify show where no TARGET is given",
    ),
    Setting(
        "time",
        "time",
        "local",
        "local, utc, epoch, boot, relative or delta",
        _TIMES.__contains__,
        str,
        "how text shows times; all but utc take typed ones as local",
    ),
    Setting(
        *("memory", "memory", None, "a size, such as 2GB", _is_size, str),
        "how much memory the query of sql or join takes at the most",
    ),
)
_BY_NAME = {setting.name: setting for setting in SETTINGS}


def effective(table: Mapping[str, object], path: str, environment: Mapping[str, str]) -> dict[Setting, Set]:
    """Every setting with its value. table: what the file at path holds. Raises NstraceError (usage) for a setting that
    does not exist, or a value that is not valid."""
    for name in table:
        if name not in _BY_NAME:
            raise _unknown(name, path)
    return {setting: _one(setting, table, path, environment) for setting in SETTINGS}


def _one(setting: Setting, table: Mapping[str, object], path: str, environment: Mapping[str, str]) -> Set:
    if text := environment.get(setting.variable):
        return Set(_checked(setting, setting.parsed(text), f"{setting.variable}={text!r}"), setting.variable)
    if setting.name in table:
        value = table[setting.name]
        return Set(_checked(setting, value, f"{path}: {setting.name} = {value!r}"), path)
    return Set(setting.default, "default")


def _checked(setting: Setting, value: object, said: str) -> Value:
    try:
        is_valid = setting.valid(value)
    except TypeError:  # a list is in no set
        is_valid = False
    if not is_valid:
        raise NstraceError(f"{said} is not valid", f"{setting.name} is {setting.wanted}", ExitCode.USAGE)
    if setting.param == "targets":
        return tuple(value) if isinstance(value, list) else (str(value),)
    assert isinstance(value, str | int)
    return value


def _unknown(name: str, path: str) -> NstraceError:
    from tracer.text.hints import near

    hint = near(name, _BY_NAME) or f"settings are {', '.join(_BY_NAME)}"
    return NstraceError(f"{path}: there is no setting {name!r}", hint.rstrip(), ExitCode.USAGE)
