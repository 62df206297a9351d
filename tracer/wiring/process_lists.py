"""From TARGETs to the data of ps, tree and containers: of the living host, or of a moment of a recording."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tracer.errors import ExitCode, NstraceError
from tracer.wiring.completing import complete_file
from tracer.wiring.options import is_from_settings
from tracer.wiring.printing import note, user_name

if TYPE_CHECKING:
    from tracer.answers.census import Census, Entry
    from tracer.containers.names import Names
    from tracer.host.lookup import Lookup
    from tracer.recording.census import Recalled
    from tracer.recording.source import RecordedSource
    from tracer.typed.targets import Target

F = TypeVar("F", bound=Callable[..., Any])
Say = Callable[[str], None]
"""Takes a note for people, without the name of the program."""
_VIEWS = tuple(f"tracer.views.{name}" for name in ("containers", "objects", "table", "tree"))


@dataclass(frozen=True)
class Gathered:
    """census: all processes; entries: those that the targets mean, those of a container together; moment_ns: by the
    wall clock; name_of: uid -> the name to show. init_of: id -> host PID of a container's first process, as the engine
    reports it. say_the_rest: gives the notes that belong behind the output."""

    census: Census
    targets: tuple[Target, ...]
    entries: list[Entry]
    moment_ns: int
    name_of: Callable[[int], str]
    init_of: Callable[[str], int | None]
    say_the_rest: Callable[[], None]


def moment_options(function: F) -> F:
    """Add --from and --at to a command."""
    for option in (
        click.option(
            "--at",
            metavar="TIME",
            help="As of 14:03:05, 10m ago, ...: of --from FILE (default: its end), or of what nstrace agent has kept.",
        ),
        click.option(
            "--from",
            "file",
            metavar="FILE",
            shell_complete=complete_file,
            help="Read a recording instead of the running host.",
        ),
    ):
        function = option(function)
    return function


def gather(
    texts: tuple[str, ...], file: str | None, at: str | None, quiet: bool, where: Sequence[str] = ()
) -> Gathered:
    """The processes that the TARGETs mean, all containers without any. where: conditions on them. Raises
    NstraceError."""
    from tracer.wiring.conditions import named, processes_of

    filter_ = processes_of(where)
    found = _gathered(texts, file, at, quiet)
    if filter_ is None:
        return found
    with named():
        return replace(found, entries=filter_.passing(found.entries, found.name_of))


def _gathered(texts: tuple[str, ...], file: str | None, at: str | None, quiet: bool) -> Gathered:
    say = noting(quiet)
    if file is None and at is None:
        from tracer.wiring.looking import look

        return living(look(_VIEWS), texts, say)
    from tracer.recording.filtered import check_complete
    from tracer.recording.multiple_runs import run_of
    from tracer.wiring.kept import given_or_kept
    from tracer.wiring.open_recordings import open_sources, sayer, targets_of

    meant = () if is_from_settings("targets") else texts
    targets = targets_of(meant or ("all",))
    uses = (*_VIEWS, "tracer.recording.census")
    given, missing = [] if file is None else [file], "--at needs a recording: --from FILE is missing"
    found = given_or_kept(given, at, at, say, ahead=1, missing=missing)
    at = found.begin
    source = run_of(open_sources(found.files, uses, (), sayer(quiet), found), at)
    check_complete([source])
    where = "" if file is None else f" --from {file}"
    hint = f"nstrace containers{where} lists what was running then; --at TIME selects another moment"
    return recorded(source, targets, moment_of(source, at), hint, say)


def noting(quiet: bool) -> Say:
    """What writes notes to stderr."""
    return lambda text: note(f"nstrace: {text}", quiet)


def living(lookup: Lookup, texts: tuple[str, ...], say: Say) -> Gathered:
    """The processes of now. Raises NstraceError."""
    import time

    from tracer.host.census import take_census

    targets = lookup.targets_of_now(texts or ("all",))
    census = take_census(lookup.host)
    require_distinct(lookup, targets, census, say)
    entries = _chosen(census, targets, "", "nstrace containers lists what is running", say)
    rest = lambda: say_what_is_hidden(entries, lookup.names, say)  # noqa: E731
    return Gathered(census, targets, entries, time.time_ns(), user_name, lookup.names.init_tgid, rest)


def require_distinct(lookup: Lookup, targets: Sequence[Target], census: Census, say: Say) -> None:
    """Raises NstraceError where a TARGET means a running container to which no process is known to belong: it must not
    look empty. For all containers it is only a note."""
    from tracer.typed.targets import TargetKind

    found = {container.id for entry in census for container in entry.containers}
    for target in targets:
        for error in lookup.hidden(target, found):
            if target.kind != TargetKind.ALL:
                raise error
            say(error.message)


def recorded(source: RecordedSource, meant: tuple[Target, ...], moment_ns: int, hint: str, say: Say) -> Gathered:
    """The processes of a moment of a recording, by the wall clock in ns. hint: what to do where there are none. Raises
    NstraceError."""
    from tracer.recording.census import read_census
    from tracer.text.times import precise

    listed_ns = source.listed_ns()
    if listed_ns is not None and moment_ns < listed_ns:
        moment_ns = listed_ns  # the processes that existed already are not known before
        say(f"as of {precise(listed_ns)}: running processes are not known before")
    recalled = read_census(source, moment_ns)
    census = recalled.census
    when = f" at {precise(moment_ns)}"
    targets = tuple(_bound(target, census, when) for target in meant)
    rest = partial(_say_what_is_unsure, recalled, say)
    try:
        entries = _chosen(census, targets, when, hint, say)
    except NstraceError:
        rest()
        raise
    return Gathered(census, targets, entries, moment_ns, str, lambda _id: None, rest)


def _bound(target: Target, census: Census, when: str) -> Target:
    """A target pid:N, bound to the PID namespace of the process that had this number then."""
    from tracer.typed.targets import TargetKind

    if target.kind != TargetKind.PID:
        return target
    for entry in census:
        if entry.proc_id.tgid == int(target.value) and entry.pidns:
            return replace(target, kind=TargetKind.PIDNS, value=str(entry.pidns.inum), gen=entry.pidns.gen)
    raise NstraceError(f"no process {target.value}{when}", "nstrace ps --from FILE lists them", ExitCode.NO_TARGET)


def moment_of(source: RecordedSource, at: str | None) -> int:
    """The moment in ns, by the wall clock; at None: the end of the recording. Raises NstraceError (usage)."""
    from tracer.typed.moments import outside, parse_moment

    if source.is_stream:
        raise NstraceError(
            "--from cannot read a stream here: it needs a file", "save the stream to a file first", ExitCode.USAGE
        )
    span = source.span()
    moment_ns = span.end_ns if at is None else parse_moment(at, span)
    if not span.begin_ns <= moment_ns <= span.end_ns:
        raise outside(repr(at), [span])
    return moment_ns


def _chosen(census: Census, targets: tuple[Target, ...], when: str, hint: str, say: Say) -> list[Entry]:
    """The processes that the targets mean. Notes targets that mean none; where none of the named targets
    means any, that is an error."""
    from tracer.typed.targets import TargetKind
    from tracer.views.table import place

    empty = [target for target in targets if not any(entry.is_meant(target) for entry in census)]
    if empty and len(empty) == len(targets) and empty[0].kind != TargetKind.ALL:
        names = ", ".join(target.text for target in empty)
        raise NstraceError(f"no process in {names}{when}", hint, ExitCode.NO_TARGET)
    for target in empty:
        text = "any container or nested PID namespace" if target.kind == TargetKind.ALL else target.text
        say(f"no process in {text}{when}")
    return sorted((entry for entry in census if any(entry.is_meant(target) for target in targets)), key=place)


def say_what_is_hidden(entries: list[Entry], names: Names, say: Say) -> None:
    """Note what could not be read: processes and namespaces without root, names without an engine."""
    from tracer.host import procfs
    from tracer.system.privileges import more_rights

    if procfs.hides_others() or any(entry.chain is None for entry in entries):
        what = "other users' processes" if procfs.hides_others() else "PID namespaces of other users' processes"
        say(f"{what} are not shown: {more_rights('CAP_SYS_PTRACE')}")
    for doubt in names.doubts:
        say(doubt)
    nameless = any(entry.container and not entry.container.is_named for entry in entries)
    if names.error and (names.has_failed or nameless):
        say(f"no container names: {names.error.message}")


def _say_what_is_unsure(recalled: Recalled, say: Say) -> None:
    from tracer.text.times import precise

    if losses := recalled.losses:
        since, until = precise(losses.since_ns), precise(losses.until_ns)
        lost = f"{losses.lost} events" if losses.lost else "events"
        say(
            f"uncertain: {lost} were lost between {since} and {until}; processes that started then may be"
            " missing, processes that exited then may still be listed"
        )
    if recalled.forgotten:
        say(f"{recalled.forgotten} more processes were running then: the table of processes is full")
    if recalled.shortened:
        say(f"{recalled.shortened} command lines are cut: together they exceed the memory limit")
