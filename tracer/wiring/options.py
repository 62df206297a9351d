"""Options that several commands share, and their values."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO, TypeVar, cast

import click
from click.core import ParameterSource

from tracer.errors import ExitCode, NstraceError
from tracer.kernel.options import ring_bytes_for
from tracer.stream.schema import COMM_BYTES, COMMAND_FIELDS, EVENT_NAMES, FAILING_KINDS, Output, columns_in
from tracer.text.hints import near
from tracer.views.layout import LEAST_CONTAINER
from tracer.wiring.amounts import Duration, Size
from tracer.wiring.completing import complete_events
from tracer.wiring.zones import check_json, row_time_option, time_option

F = TypeVar("F", bound=Callable[..., Any])


class WholeNumber(click.IntRange):
    """click's, in the words of people: in messages and in the help."""

    name = "whole number"

    def _describe_range(self) -> str:
        return f"at least {self.min}" if self.max is None else f"{self.min} to {self.max}"


@dataclass(frozen=True)
class StreamOptions:
    """How a stream of events is filtered, bounded and shown. where: the conditions of which all have to be true."""

    events: tuple[str, ...]
    threads: bool
    duration: float | None
    count: int | None
    json: bool
    color: bool
    quiet: bool
    ring_bytes: int
    max_args_bytes: int
    require_complete: bool
    stats: bool
    max_processes: int
    redact: bool
    header: bool
    is_cut: bool
    container_width: int
    failed: bool
    follow_name: bool = False
    exit_code: bool = False
    where: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    tree: bool = False


def _events(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    if value is None:
        return EVENT_NAMES
    names = tuple(name.strip() for name in value.split(","))
    for name in names:
        if name not in EVENT_NAMES:
            hint = near(name, EVENT_NAMES) or f"events are {', '.join(EVENT_NAMES)}"
            raise NstraceError(f"--events: {name!r} is not an event", hint.rstrip(), ExitCode.USAGE)
    return names


def _fields(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """The names in --fields. Raises NstraceError (usage); help prints them and ends."""
    columns = columns_in(Output.JSON | Output.THREADS | Output.MARK)
    return chosen_names(ctx, value, {column.name: column.doc for column in columns})


def chosen_names(ctx: click.Context, value: str | None, columns: Mapping[str, str]) -> tuple[str, ...]:
    """The names in the value of --fields, each once. columns: those that there are, with a line about each. Raises
    NstraceError (usage) for another one; help prints them and ends."""
    if value is None:
        return ()
    if value == "help":
        click.echo("".join(f"{name:<15} {doc}\n" for name, doc in columns.items()), nl=False)
        ctx.exit()
    names = tuple(name.strip() for name in value.split(","))
    for name in names:
        if name not in columns:
            hint = near(name, columns) + "--fields help lists the names"
            raise NstraceError(f"--fields: there is no {name!r}", hint, ExitCode.USAGE)
    return tuple(dict.fromkeys(names))


def _ring_bytes(ctx: click.Context, param: click.Parameter, value: int) -> int:
    """The ring's size in bytes: the next one that the kernel makes."""
    return ring_bytes_for(value)


_OPTIONS = {
    "follow_name": click.option(
        "-F",
        "--follow-name",
        is_flag=True,
        help="Wait for containers that are not there yet, and follow by name: through stop, removal and a new container"
        " of the same name.",
    ),
    "exit_code": click.option(
        "--exit-code",
        is_flag=True,
        help="When the TARGET, one container, has ended, exit with its exit code; 128+N if signal N ended it.",
    ),
    "events": click.option(
        "--events",
        callback=_events,
        metavar="LIST",
        shell_complete=complete_events,
        help=f"Events to show: {','.join(EVENT_NAMES)}. Default: all.",
    ),
    "failed": click.option(
        "--failed",
        is_flag=True,
        help="Show failures only: exits by a signal or a code other than 0, and failed execs.",
    ),
    "only_failed": click.option(
        "--failed",
        "only_failed",
        is_flag=True,
        help="Only failures: exits by a signal or a code other than 0, and failed execs.",
    ),
    "where": click.option(
        "--where",
        multiple=True,
        metavar="EXPR",
        help="Show only that for which EXPR is true, an SQL condition on the names of the JSON:"
        " \"event = 'exec' and args like '%--debug%'\". Gaps always show. Of several all have to be true.",
    ),
    "comm": click.option("--comm", multiple=True, metavar="NAME", help="Show only processes with this name, or these."),
    "user": click.option(
        "--user", multiple=True, metavar="NAME", help="Show only processes of this user, or these; also a number."
    ),
    "fields": click.option(
        "--fields",
        callback=_fields,
        metavar="LIST",
        help="Show these members of the JSON, in this order: time,pid,args. --fields help lists them.",
    ),
    "tree": click.option(
        "--tree",
        is_flag=True,
        help="Indent each command below those of its ancestors that were shown before.",
    ),
    "threads": click.option("--threads", is_flag=True, help="Show threads too, with TID and NSTID."),
    "duration": click.option(
        "--duration", type=Duration(), metavar="TIME", help="Stop after TIME: 90s, 1.5m, 1h30m, or plain seconds."
    ),
    "count": click.option(
        "--count", type=WholeNumber(1), metavar="N", help="Stop after N events (snapshots do not count)."
    ),
    "output": click.option(
        "-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Output format."
    ),
    "as_json": click.option("--json", "as_json", is_flag=True, help="Short for -o json."),
    "color": click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        help="Use of colors; NO_COLOR is respected.",
    ),
    "time": row_time_option,
    "zone": time_option,
    "quiet": click.option("-q", "--quiet", is_flag=True, help="No header, warnings or summary."),
    "no_header": click.option("--no-header", is_flag=True, help="Leave out the header line."),
    "no_trunc": click.option(
        "--no-trunc",
        "--wide",
        is_flag=True,
        help="Show all columns and whole command lines on a terminal, where lines are cut to its width.",
    ),
    "container_width": click.option(
        "--container-width",
        type=WholeNumber(LEAST_CONTAINER, 255),
        metavar="N",
        help="Let the column CONTAINER grow up to N cells. Default: a sixth of the terminal; 40 if stdout is not one.",
    ),
    "buffer_size": click.option(
        "--buffer-size",
        type=Size(1 << 16, 1 << 30, plain_bytes=1 << 20),
        default="16MiB",
        show_default=True,
        callback=_ring_bytes,
        metavar="SIZE",
        help="Size of the ring buffer between kernel and nstrace; a number without a unit is MiB.",
    ),
    "max_args_bytes": click.option(
        "--max-args-bytes",
        type=WholeNumber(1, 16384),
        default=4096,
        show_default=True,
        metavar="N",
        help="Cut longer command lines to N bytes, and mark them.",
    ),
    "redact": click.option(
        "--redact/--no-redact",
        default=False,
        help="Mask secrets in arguments before they are shown or recorded, and count them.",
    ),
    "no_args": click.option(
        "--no-args", is_flag=True, help="Omit command-line arguments: the kernel does not copy them."
    ),
    "max_processes": click.option(
        "--max-processes",
        type=WholeNumber(256),
        default=262144,
        show_default=True,
        metavar="N",
        help="Size of the process table; the oldest exited processes are dropped first.",
    ),
    "stats": click.option(
        "--stats",
        is_flag=True,
        help="At the end, report by kind how many events were seen, filtered, lost and delivered.",
    ),
    "require_complete": click.option("--require-complete", is_flag=True, help="Exit with 5 if any event was lost."),
}


def _adding(*names: str) -> Callable[[F], F]:
    """A decorator that adds these options to a command; `stream` collects them."""

    def add(function: F) -> F:
        for name in reversed(names):
            function = _OPTIONS[name](function)
        return function

    return add


_SECRECY = ("redact", "no_args")
_WHICH = ("where", "comm", "user")
_FAILED = "event = 'exec_failed' or event = 'exit' and (exit_code <> 0 or signal is not null)"
"""What `tracer.stream.failures.is_failure` is, as a condition: where what does not pass is not kept either."""
_TEXT = ("time", "no_header", "no_trunc", "container_width")
secrecy_options = _adding(*_SECRECY)
_FOLLOWING = ("follow_name", "exit_code")
following_options = _adding(*_FOLLOWING)
stream_options = _adding(*(name for name in _OPTIONS if name not in (*_FOLLOWING, "zone", "only_failed")))
capture_options = _adding(
    *(
        "only_failed",
        *_WHICH,
        "threads",
        "duration",
        "count",
        "quiet",
        "buffer_size",
        "max_args_bytes",
        *_SECRECY,
        "max_processes",
    ),
    *("stats", "require_complete"),
)
summary_options = _adding(
    *("duration", "output", "as_json", "zone", "no_trunc", "quiet", "buffer_size", "max_processes", "stats"),
    "require_complete",
)
replay_options = _adding(
    *("events", "failed", *_WHICH, "fields", "tree", "threads", "count", "output", "as_json", "color", *_TEXT, "quiet"),
    "require_complete",
)


def stream(values: dict[str, Any]) -> StreamOptions:
    """What the user chose; an option that a command does not have has its default. Raises NstraceError, UsageError."""
    is_json = values.get("as_json", False) or values.get("output") == "json"
    check_json(is_json)
    return StreamOptions(
        events=values.get("events", EVENT_NAMES),
        threads=values.get("threads", False),
        duration=values.get("duration"),
        count=values.get("count"),
        json=is_json,
        color=wants_color(values.get("color", "never")),
        quiet=values["quiet"],
        ring_bytes=values.get("buffer_size", 0),
        max_args_bytes=0 if values.get("no_args") else values.get("max_args_bytes", 0),
        require_complete=values["require_complete"],
        stats=values.get("stats", False),
        max_processes=values.get("max_processes", 0),
        redact=values.get("redact", False),
        header=not (values["quiet"] or values.get("no_header")),
        is_cut=not values.get("no_trunc"),
        container_width=values.get("container_width") or 0,
        failed=_only_failed(values),
        follow_name=values.get("follow_name", False),
        exit_code=values.get("exit_code", False),
        where=condition_of(values),
        fields=values.get("fields", ()),
        tree=_wants_tree(values, is_json),
    )


def condition_of(values: dict[str, Any]) -> tuple[str, ...]:
    """--where, --comm, --user and, where it is a condition, --failed as conditions of which all have to be true; ():
    none was given. Raises NstraceError (usage)."""
    parts = list(values.get("where") or ())
    if names := values.get("comm"):
        cut = (os.fsencode(name)[: COMM_BYTES - 1].decode("utf-8", "backslashreplace") for name in names)
        parts.append(f"comm in ({', '.join(map(_quoted, cut))})")
    if users := values.get("user"):
        parts.append(f"uid in ({', '.join(str(_uid(user)) for user in users)})")
    if values.get("only_failed"):
        parts.append(_FAILED)
    return tuple(parts)


def which_options(function: F) -> F:
    """Add --where, --comm and --user to a command, which gets the conditions that they make as `where`."""
    return _with_conditions(function, *_WHICH)


def which_events_options(function: F) -> F:
    """As `which_options`, and --failed."""
    return _with_conditions(function, *_WHICH, "only_failed")


def _with_conditions(function: F, *names: str) -> F:
    @functools.wraps(function)
    def command(*arguments: Any, **values: Any) -> Any:
        conditions = condition_of({name: values.pop(name) for name in names})
        return function(*arguments, where=conditions, **values)

    return _adding(*names)(cast("F", command))


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _uid(text: str) -> int:
    """The number of a user of this host. Raises NstraceError (usage)."""
    if text.isascii() and text.isdecimal() and len(text) <= 10:
        return int(text)
    import pwd

    with contextlib.suppress(KeyError, ValueError):
        return pwd.getpwnam(text).pw_uid
    hint = "a number works too: users of a container may have no name here"
    raise NstraceError(f"--user: this host has no user {text!r}", hint, ExitCode.USAGE)


def _wants_tree(values: dict[str, Any], is_json: bool) -> bool:
    """Whether commands are indented. Raises UsageError where there is none to indent."""
    if not values.get("tree"):
        return False
    if is_json:
        raise click.UsageError("--tree is for text: in JSON parent_id says who is the parent")
    if (fields := values.get("fields")) and not set(COMMAND_FIELDS) & set(fields):
        raise click.UsageError(f"--tree indents {', '.join(COMMAND_FIELDS)}: --fields has none of them")
    return True


def _only_failed(values: dict[str, Any]) -> bool:
    """Whether only failures are shown. Raises UsageError where --events leaves none of them."""
    if not values.get("failed"):
        return False
    names = tuple(kind.name.lower() for kind in sorted(FAILING_KINDS))
    if not set(names) & set(values["events"]):
        raise click.UsageError(f"--failed shows {' and '.join(names)} events, and --events leaves them out")
    return True


def wants_color(choice: str, out: TextIO | None = None) -> bool:
    """Whether to color the output. out: where it goes; None: to stdout."""
    if choice != "auto":
        return choice == "always"
    return (out or sys.stdout).isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_from_settings(param: str) -> bool:
    """Whether nobody typed the value of this parameter, and it comes from the settings."""
    return click.get_current_context().get_parameter_source(param) == ParameterSource.DEFAULT_MAP
