"""The agent's configuration: what agent.toml may say, checked, as plain data. Pure.

Every key of every table stands here once, with the values that it takes. A table that is not there has its defaults;
[publish] and [metrics] are off without their table.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from tracer.agent.toml_lines import Place, line_of
from tracer.errors import ExitCode, NstraceError
from tracer.text.hints import near
from tracer.text.times import elapsed
from tracer.typed.durations import duration_ns
from tracer.typed.sizes import parse_size
from tracer.typed.targets import TargetKind, parse_target

_SECOND_NS = 1_000_000_000
_MIB, _LEAST_BYTES = 1 << 20, 1_000_000
LEAST_EVERY_S = 1.0


@dataclass(frozen=True)
class Record:
    """[record]. folder: where recordings are; rotate_bytes, rotate_interval_s: when a file is full; keep_bytes, keep_s:
    what is kept at most, the oldest file goes first, None: no limit; min_free_bytes: what stays free on the disk."""

    targets: tuple[str, ...] = ("host", "all")
    folder: Path = Path("/var/lib/nstrace")
    rotate_bytes: int = 64_000_000
    rotate_interval_s: float = 3600.0
    keep_bytes: int | None = 20_000_000_000
    keep_s: float | None = 7 * 86400.0
    min_free_bytes: int = 1_000_000_000
    buffer_bytes: int = 16 * _MIB
    max_args_bytes: int = 4096
    threads: bool = False
    redact: bool = False


@dataclass(frozen=True)
class Trigger:
    """[[trigger]]. where: the condition, as for --where; before_s, after_s: the window around the event; run: a command
    and its arguments, in which {file} is the incident's file; (): none. user: who runs it; timeout_s: for how long."""

    where: str
    before_s: float = 120.0
    after_s: float = 10.0
    run: tuple[str, ...] = ()
    user: str = "nobody"
    timeout_s: float = 30.0


@dataclass(frozen=True)
class Incidents:
    """[incidents]. keep: how many are kept, the latest ones; keep_per_container: of one container at most."""

    keep: int = 100
    keep_per_container: int = 20


@dataclass(frozen=True)
class Metrics:
    """[metrics]. address, port: where they are served; containers: how many are counted by name."""

    address: str = "127.0.0.1"
    port: int = 9469
    containers: int = 50


@dataclass(frozen=True)
class Publish:
    """[publish]. sink: "nats" or "kafka"; urls: its servers; cluster, host: names in its subjects, host "": this
    host's. Files: None: there is none; the first five are of NATS. settings_file, topic: of Kafka. rate_bytes_s: what
    is sent a second at most. every_s: how often what there is is recorded, and sent."""

    cluster: str
    sink: str
    urls: tuple[str, ...]
    host: str = ""
    credentials_file: Path | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    settings_file: Path | None = None
    topic: str = "nstrace"
    rate_bytes_s: int = 4_000_000
    every_s: float = LEAST_EVERY_S


@dataclass(frozen=True)
class Config:
    """The whole of it. metrics, publish: None: off."""

    record: Record = field(default_factory=Record)
    triggers: tuple[Trigger, ...] = ()
    incidents: Incidents = field(default_factory=Incidents)
    metrics: Metrics | None = None
    publish: Publish | None = None


class _Wrong(Exception):
    """A value that is not valid. wanted: what is, for people."""

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted


Parse = Callable[[Any], Mapping[str, Any]]
"""A value of TOML -> fields of the table's dataclass. Raises _Wrong, NstraceError."""


def _one(name: str, parse: Callable[[Any], Any]) -> Parse:
    return lambda value: {name: parse(value)}


def _text(value: Any, wanted: str = "text in quotes") -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise _Wrong(wanted)
    return value


def _texts(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise _Wrong("at least one text")
    return tuple(_text(one, "text in quotes, or a list of texts") for one in values)


def _servers(value: Any) -> tuple[str, ...]:
    urls = _texts(value)
    if any("@" in url for url in urls):  # nor is it shown
        hint = "secrets stand in files of their own: credentials_file, token_file"
        raise NstraceError("a URL has no user and no secret in it", hint, ExitCode.USAGE)
    return urls


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("true or false")
    return value


def _path(value: Any) -> Path:
    path = Path(_text(value))
    if not path.is_absolute() or ".." in path.parts:
        raise _Wrong('the whole path, for example "/var/lib/nstrace"')
    return path


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise _Wrong(f"a whole number from {least} to {most}")
        return value

    return parse


def _size(least: int, most: int = 1 << 60) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        size = parse_size(value) if isinstance(value, str) else -1
        if not least <= size <= most:
            raise _Wrong(
                f'a size from {least} bytes on, for example "64 MB"' if most >= 1 << 60 else _between(least, most)
            )
        return size

    return parse


def _between(least: int, most: int) -> str:
    return f'a size from {least} to {most} bytes, for example "16 MiB"'


def _seconds(least: float, most: float) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        length_ns = duration_ns(value) if isinstance(value, str) else None
        if length_ns is None or not least <= length_ns / _SECOND_NS <= most:
            bounds = f"{elapsed(least)} to {elapsed(most)}"
            raise _Wrong(f'a duration from {bounds}, for example "{"2m" if most >= 120 else "30s"}"')
        return length_ns / _SECOND_NS

    return parse


def _keep(value: Any) -> Mapping[str, Any]:
    """Sizes end in B: "5m" is five minutes."""
    limits: dict[str, Any] = {"keep_bytes": None, "keep_s": None}
    for text in _texts(value):
        is_size = text.strip().lower().endswith("b")
        if not is_size and duration_ns(text) is None:
            raise _Wrong('a size or an age, for example "20 GB" or "7 days"')
        name = "keep_bytes" if is_size else "keep_s"
        if limits[name] is not None:
            raise _Wrong("one size and one age at most")
        limits[name] = _size(_LEAST_BYTES)(text) if is_size else _seconds(60, 100 * 366 * 86400)(text)
    return limits


def _targets(value: Any) -> tuple[str, ...]:
    targets = _texts(value)
    for text in targets:
        if parse_target(text).kind in (TargetKind.PID, TargetKind.PIDNS):
            raise _Wrong(f"names that come again, as of containers: {text} ends")
    return targets


def _matching(pattern: str, wanted: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if not re.fullmatch(pattern, _text(value), re.ASCII):
            raise _Wrong(wanted)
        return str(value)

    return parse


def _listen(value: Any) -> Mapping[str, Any]:
    wanted = 'an address and a port, for example "127.0.0.1:9469" or "[::1]:9469"'
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})", _text(value, wanted), re.ASCII)
    if not match or not 0 < int(match[3]) < 1 << 16:
        raise _Wrong(wanted)
    try:
        ip_address(match[1] or match[2])
    except ValueError as error:
        raise _Wrong(wanted) from error
    return {"address": match[1] or match[2], "port": int(match[3])}


_NAME = _matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", "letters, digits, dots, - and _, at most 63")
_USER = _matching(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", "the name of a user of this host")


class _Table(NamedTuple):
    """make: the dataclass. keys: by name. needed: those without a default."""

    make: Callable[..., Any]
    keys: Mapping[str, Parse]
    needed: tuple[str, ...] = ()
    is_list: bool = False


_TABLES = {
    "record": _Table(
        Record,
        {
            "targets": _one("targets", _targets),
            "folder": _one("folder", _path),
            "rotate_size": _one("rotate_bytes", _size(_LEAST_BYTES)),
            "rotate_interval": _one("rotate_interval_s", _seconds(1, 7 * 86400)),
            "keep": _keep,
            "min_free": _one("min_free_bytes", _size(0)),
            "buffer_size": _one("buffer_bytes", _size(1 << 16, 1 << 30)),
            "max_args_bytes": _one("max_args_bytes", _whole(0, 16384)),
            "threads": _one("threads", _flag),
            "redact": _one("redact", _flag),
        },
    ),
    "trigger": _Table(
        Trigger,
        {
            "where": _one("where", _text),
            "before": _one("before_s", _seconds(0, 86400)),
            "after": _one("after_s", _seconds(0, 3600)),
            "run": _one("run", _texts),
            "user": _one("user", _USER),
            "timeout": _one("timeout_s", _seconds(1, 3600)),
        },
        ("where",),
        is_list=True,
    ),
    "incidents": _Table(
        Incidents,
        {
            "keep": _one("keep", _whole(1, 100_000)),
            "keep_per_container": _one("keep_per_container", _whole(1, 100_000)),
        },
    ),
    "metrics": _Table(Metrics, {"listen": _listen, "containers": _one("containers", _whole(0, 10_000))}),
    "publish": _Table(
        Publish,
        {
            "cluster": _one("cluster", _NAME),
            "host": _one("host", _NAME),
            "sink": _one("sink", _matching("nats|kafka", '"nats" or "kafka"')),
            "url": _one("urls", _servers),
            "credentials_file": _one("credentials_file", _path),
            "token_file": _one("token_file", _path),
            "ca_file": _one("ca_file", _path),
            "certificate_file": _one("certificate_file", _path),
            "key_file": _one("key_file", _path),
            "settings_file": _one("settings_file", _path),
            "topic": _one("topic", _NAME),
            "rate": _one("rate_bytes_s", _size(1000)),
            "every": _one("every_s", _seconds(LEAST_EVERY_S, 60)),
        },
        ("cluster", "sink", "url"),
    ),
}


def parse_config(text: str, path: str) -> Config:
    """The configuration in a text. path: its file's, for messages. Raises NstraceError (usage): the first of
    `problems_in`."""
    config, problems = _checked(text, path)
    if problems:
        raise problems[0]
    return config


def problems_in(text: str, path: str) -> list[NstraceError]:
    """All that is wrong with it, in the order of its lines, each with its line and its key."""
    return _checked(text, path)[1]


def _checked(text: str, path: str) -> tuple[Config, list[NstraceError]]:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also where a number has thousands of digits
        return Config(), [_not_toml(str(error), text, path)]
    found: dict[str, Any] = {}
    problems: list[tuple[int, NstraceError]] = []
    for name, value in document.items():
        problems += _read_table(name, value, found, text, path)
    problems.sort(key=lambda problem: problem[0])
    config = Config() if problems else Config(**found)
    return config, [error for _line, error in problems]


_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")  # as tomllib says it


def _not_toml(said: str, text: str, path: str) -> NstraceError:
    place = _PLACE.search(said)
    line = place[1] if place and place[1] else max(1, len(text.splitlines()))
    why = " ".join(_PLACE.sub("", said).split())
    return NstraceError(f"{path}:{line}: not valid TOML: {why}", 'for example: keep = "20 GB"', ExitCode.USAGE)


def _read_table(
    name: str, value: Any, found: dict[str, Any], text: str, path: str
) -> Iterator[tuple[int, NstraceError]]:
    """Put a table's values into `found`; gives what is wrong, each with its line."""

    def problem(place: Place, message: str, hint: str) -> tuple[int, NstraceError]:
        line = line_of(text, place)
        return line, NstraceError(f"{path}:{line}: {message}", hint.rstrip(), ExitCode.USAGE)

    if name not in _TABLES:
        names = [f"[[{one}]]" if table.is_list else f"[{one}]" for one, table in _TABLES.items()]
        hint = near(name, _TABLES) or f"tables are {', '.join(names)}"
        yield problem((name,), f"there is no table {name!r}", hint)
        return
    table = _TABLES[name]
    values = value if table.is_list and isinstance(value, list) else [value]
    made = []
    for number, one in enumerate(values):
        place: Place = (name, number) if table.is_list else (name,)
        title = f"[[{name}]]" if table.is_list else f"[{name}]"
        if not isinstance(one, dict) or table.is_list != isinstance(value, list):
            yield problem((name,), f"{name} is no table", f"it begins with a line {title}")
            return
        fields: dict[str, Any] = {}
        wrong = 0
        for key, given in one.items():
            try:
                fields |= _parsed(table, key, given)
            except NstraceError as error:
                wrong += 1
                yield problem((*place, key), f"{name}.{key}: {error.message}", error.hint)
        for key in table.needed:
            if key not in one:
                wrong += 1
                yield problem(place, f"{title} has no {key}", f"it needs {', '.join(table.needed)}")
        if not wrong:
            made.append(table.make(**fields))
    if len(made) == len(values):
        found["triggers" if name == "trigger" else name] = tuple(made) if table.is_list else made[0]


def _parsed(table: _Table, key: str, value: Any) -> Mapping[str, Any]:
    """The fields that a key sets. Raises NstraceError."""
    if key not in table.keys:
        hint = near(key, table.keys) or f"keys are {', '.join(table.keys)}"
        raise NstraceError("there is no such key", hint)
    try:
        return table.keys[key](value)
    except _Wrong as wrong:
        raise NstraceError(f"{value!r} is not valid", f"it is {wrong.wanted}") from wrong
