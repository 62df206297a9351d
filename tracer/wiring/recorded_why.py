"""Wiring of why --from: recordings, and how lives and processes in them ended."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from tracer.answers.why import Ending, Exit, by_cause
from tracer.errors import ExitCode, NstraceError
from tracer.stream.metadata import Container, LifeFact
from tracer.typed.processes import Proc, parse_proc

if TYPE_CHECKING:
    from tracer.past.why import Ends, Means
    from tracer.recording.source import RecordedSource
    from tracer.typed.targets import Target

_USED = (
    *("tracer.past.why", "tracer.past.translation", "tracer.recording.past", "tracer.recording.row_filter"),
    *(
        "tracer.recording.multiple_runs",
        "tracer.recording.once",
        "tracer.stream.lives",
        "tracer.stream.table",
        "tracer.views.why",
    ),
    *(
        "tracer.text.hints",
        "tracer.text.times",
        "tracer.typed.moments",
        "tracer.views.objects",
        "tracer.wiring.printing",
    ),
    *("tracer.typed.descriptions", "tracer.typed.targets"),
)
FOREVER_NS = 1 << 62
_FILES = (4, 32, 1 << 32)  # of a run are read until one tells
_DESCRIBED = ("label", "image", "compose", "pod")
LIFE = re.compile("#[0-9]+$")
"""The end of a text that means one life of a container: web#2."""
_PID_DIGITS = 7  # of PID_MAX_LIMIT, include/linux/threads.h


def answer(
    files: Sequence[str],
    what: str | None,
    at: str | None,
    is_all: bool,
    as_json: bool,
    quiet: bool,
    reading: Callable[[Sequence[RecordedSource]], AbstractContextManager[None]],
) -> str:
    """What to print of recordings: how a container or a process ended, by what was typed; or all ends. files: (): what
    the agent has kept. reading: entered while these are read. Raises NstraceError."""
    from tracer.wiring.open_recordings import sayer

    sources, until_ns = opened(files, at, quiet)
    if files or is_all:
        with reading(sources):
            return answer_of(sources, what, at, is_all, as_json, until_ns)
    failure = None
    for run in reversed(sources):  # it is the last end that is asked for
        for latest in _latest_first(run):
            try:
                with reading([latest]):
                    found = answer_of([latest], what, None, is_all, as_json, until_ns)
            except NstraceError as error:
                failure = failure or error
            else:
                if len(sources) > 1 and LIFE.search(what or ""):
                    _say_which(run, sayer(quiet))
                return found
    assert failure
    raise failure


def _say_which(run: RecordedSource, say: Callable[[str], None]) -> None:
    from tracer.text.times import precise

    say(f"a life of the run since {precise(run.span().begin_ns)}: each run of the agent counts them from 1")


def _latest_first(run: RecordedSource) -> Iterator[RecordedSource]:
    """The last files of a run, then more of them."""
    from tracer.recording.source import RecordedSource

    for count in _FILES:
        yield RecordedSource([recording.again() for recording in run.recordings[-count:]])
        if count >= len(run.recordings):
            break


def answer_of(
    sources: Sequence[RecordedSource], what: str | None, at: str | None, is_all: bool, as_json: bool, until_ns: int
) -> str:
    """As `answer`, of recordings that are open. until_ns: until when they are asked (wall clock)."""
    from tracer.views.objects import json_line
    from tracer.views.why import causes_text, ending_object, ending_text, exit_object, process_text
    from tracer.wiring.printing import line_width

    if is_all:
        ends = all_ends(sources, what, until_ns)
        if as_json:
            return "".join(json_line(ending_object(end)) for end in ends)
        return causes_text(by_cause(ends), line_width())
    assert what is not None
    if is_proc(what):
        from tracer.recording.multiple_runs import run_of

        found, with_it = last_exit(run_of(sources, at), parse_proc(what), until_ns)
        return json_line(exit_object(found)) if as_json else process_text(what, found, with_it, line_width())
    end = last_end(sources, what, until_ns)
    return json_line(ending_object(end)) if as_json else ending_text(end, line_width())


def is_proc(text: str) -> bool:
    """Whether a text means a process, not a container, whose id may be a path: a process ends in a number."""
    where, slash, number = text.removeprefix("/").rpartition("/")
    is_number = number.isascii() and number.isdigit()
    prefix, colon, _value = where.partition(":")
    if colon and prefix in _DESCRIBED:  # image:registry/name, pod:shop/web-0
        return prefix == "pod" and is_number
    return is_number or not number if slash else is_number and len(text) <= _PID_DIGITS


def description(text: str) -> Target | None:
    """The TARGET that says what a container is like (label:tier=db and so on, web-*); None: it is a name or an id.
    Raises NstraceError."""
    from tracer.typed.descriptions import is_pattern
    from tracer.typed.targets import parse_target

    prefix, colon, _value = text.partition(":")
    return parse_target(text) if (colon and prefix in _DESCRIBED) or is_pattern(text) else None


def opened(files: Sequence[str], at: str | None, quiet: bool) -> tuple[list[RecordedSource], int]:
    """The recordings, in order of time, and until when they are asked (wall clock, ns). files: as for `answer`. at:
    TIME as typed; None: to their end. Privileges are given up. Raises NstraceError."""
    from tracer.recording.filtered import check_complete
    from tracer.recording.multiple_runs import run_of
    from tracer.typed.moments import parse_moment
    from tracer.wiring.kept import given_or_kept
    from tracer.wiring.open_recordings import open_sources, sayer

    say = sayer(quiet)
    found = given_or_kept(files, None, at, say, ahead=1)
    sources = open_sources(found.files, (*_USED, "tracer.recording.source"), (), say, found)
    check_complete(sources)
    if found.end is None:
        return sources, FOREVER_NS
    source = run_of(sources, found.end)
    return [source], parse_moment(found.end, source.span())


def last_end(sources: Sequence[RecordedSource], text: str, until_ns: int) -> Ending:
    """How the last life of a container ended, by its name (web, or web#2 for one life) or the beginning of its id.
    Raises NstraceError where there is nothing to say."""
    from tracer.past.why import Ends

    called, was_called, by_id = (Ends(means, whole=True) for means in ways(text))
    _read(sources, (called, was_called, by_id), until_ns)
    is_of_those = was_called.found and called.seen.keys() <= {end.container.id for end in was_called.found}
    ends = called if called.found else was_called if is_of_those else called if called.seen else by_id
    if not ends.seen:
        raise _unknown(text, called, sources)
    if len(ends.seen) > 1 and ends is by_id:
        ids = ", ".join(sorted(container_id[:20] for container_id in ends.seen))
        raise NstraceError(
            f"the ids of {len(ends.seen)} recorded containers begin with {text!r}",
            f"give more of the id: {ids}",
            ExitCode.NO_TARGET,
        )
    if not ends.found:
        hint = "it was there when the recording ended" if until_ns == FOREVER_NS else "a later TIME may show its end"
        raise NstraceError(f"no life of {text} ended in {_names(sources)}", hint, ExitCode.NO_TARGET)
    return ends.found[-1]


def ways(text: str) -> tuple[Means, Means, Means]:
    """How a text may mean a container, the first that does counts: by what it is called at its end, or by what an
    engine says of it (label:tier=db and so on, as a TARGET); by a name that it had earlier; by its id."""
    if target := description(text):
        return lambda one: target.means((one,), ()), _nobody, _nobody
    name = text.removeprefix("name:")
    by_id = _nobody if name != text else lambda one: one.has_id(text)
    return (
        lambda one: name == one.label or _is_one_of(name, (one.name or one.short_id,), one),
        lambda one: _is_one_of(name, one.earlier, one),
        by_id,
    )


def _nobody(_container: Container) -> bool:
    return False


def _is_one_of(text: str, names: Sequence[str], container: Container) -> bool:
    return any(text in (name, f"{name}#{container.incarnation}") for name in names)


def all_ends(sources: Sequence[RecordedSource], text: str | None, until_ns: int) -> list[Ending]:
    """All ends, of one container or of all, in order. Raises NstraceError where there is none."""
    from tracer.past.why import Ends

    meanings = () if text is None else ways(text)
    ends = Ends(lambda one: text is None or any(means(one) for means in meanings), whole=False)
    _read(sources, (ends,), until_ns)
    if not ends.found:
        who = "any container" if text is None else text
        hint = "nstrace replay --events container FILE shows what became of each container"
        raise NstraceError(f"no life of {who} ended in {_names(sources)}", hint, ExitCode.NO_TARGET)
    return list(ends.found)


def last_exit(source: RecordedSource, proc: Proc, until_ns: int) -> tuple[Exit, LifeFact | None]:
    """How a process ended: the last one that a PROC meant and that had ended by then; and how its container's life
    ended, if it ended with it. Raises NstraceError where there is nothing to say."""
    from tracer.past.translation import Hindsight
    from tracer.past.why import end_of, ended_with
    from tracer.recording.past import read_past
    from tracer.recording.row_filter import RowFilter

    past = read_past(source, RowFilter({proc.nr}))
    history, hindsight, offset_ns = past.history, Hindsight(past), source.wall_offset_ns
    recalled = hindsight.during(proc, history.begins_ns, min(history.ends_ns, until_ns - offset_ns))
    for translation in reversed(recalled.translations):
        if found := end_of(history, translation.entry, until_ns - offset_ns, source.attribution, offset_ns):
            return found, ended_with(found, history.batch, offset_ns)
    if recalled.hole and not recalled.translations:
        raise hindsight.unknown(proc, recalled)
    hint = f"nstrace translate --from {source.name} {proc.text} shows until when it was seen"
    raise NstraceError(f"no process {proc.text} ended in {source.name}", hint, ExitCode.NO_TARGET)


def _read(sources: Sequence[RecordedSource], ends: Sequence[Ends], until_ns: int) -> None:
    from tracer.recording.once import give_each_once

    give_each_once(sources)
    for source in sources:
        for part in source.batches(lambda: 0.0):
            for one in ends:
                one.take(part, source.attribution, source.wall_offset_ns, until_ns)
    if not any(one.tells for one in ends):
        _read_again(sources, ends, until_ns)


def _read_again(sources: Sequence[RecordedSource], ends: Sequence[Ends], until_ns: int) -> None:
    """Of what was recorded before lives were: with the rows that would have told them."""
    from tracer.recording.source import RecordedSource
    from tracer.stream.lives import Lives
    from tracer.stream.table import Table

    for source in sources if not any(source.is_stream for source in sources) else ():
        again = RecordedSource([recording.again() for recording in source.recordings])
        facts, table = source.recordings[0].facts, Table()
        lives = Lives(again.attribution, table, facts.began_ns - facts.wall_offset_ns)
        for part in again.batches(lambda: 0.0):
            told = lives.take(part)
            table.apply(told)
            for one in ends:
                one.take(told, again.attribution, again.wall_offset_ns, until_ns)


def _unknown(text: str, ends: Ends, sources: Sequence[RecordedSource]) -> NstraceError:
    names = list(ends.others) or sorted({name for source in sources for name in source.container_names()})
    return unknown_container(text, names)


def unknown_container(text: str, names: Sequence[str]) -> NstraceError:
    """The error where no container is called so. names: of those that there are."""
    from tracer.text.hints import near, shown

    hint = near(text, names) + (f"recorded: {shown(list(names))}" if names else "no container was recorded")
    return NstraceError(f"no container named {text!r} was recorded", hint, ExitCode.NO_TARGET)


def _names(sources: Sequence[RecordedSource]) -> str:
    return sources[0].name if len(sources) == 1 else f"these {len(sources)} recordings"
