"""Wiring of why without a recording: what is left of a container's last life is its engine's last word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracer.answers.why import LastWord
from tracer.errors import ExitCode, NstraceError
from tracer.text.counted import counted
from tracer.text.hints import shown
from tracer.wiring.recorded_why import description, is_proc

if TYPE_CHECKING:
    from tracer.containers.messages import FoundContainer, Last
    from tracer.host.lookup import Lookup

_USED = (
    *("tracer.views.why", "tracer.views.objects", "tracer.typed.processes", "tracer.typed.targets"),
    "tracer.containers.answers",
)
_LIVING = ("running", "paused", "restarting")


def answer_now(what: str, as_json: bool) -> str:
    """What to print of a container, by its name or the beginning of its id. Raises NstraceError, with exit code 3 where
    there is nothing to say: of what lives, and of processes."""
    from tracer.views.objects import json_line
    from tracer.views.why import last_word_object, last_word_text
    from tracer.wiring.looking import look
    from tracer.wiring.printing import line_width

    lookup = look(_USED)
    if is_proc(what):
        raise _of_process(lookup, what)
    word = last_word(lookup, what)
    return json_line(last_word_object(word)) if as_json else last_word_text(word, line_width())


def last_word(lookup: Lookup, text: str) -> LastWord:
    """What its engine says of a container that has ended. Raises NstraceError."""
    from tracer.containers.answers import container_of

    found = _container(lookup, text)
    said, container = lookup.names.last(found.id), container_of(found.id, found.description)
    if said is None:
        raise NstraceError(f"no engine knows how {text} ended", _recording(text), ExitCode.NO_TARGET)
    if said.state in _LIVING or not (said.finished_ns or said.error):
        raise NstraceError(_alive(found.name, said), _recording(found.name), ExitCode.NO_TARGET)
    times = said.started_ns or None, said.finished_ns or None
    return LastWord(
        container, container.runtime, said.state, said.exit_code, said.oom, said.error, *times, said.restarts
    )


def _container(lookup: Lookup, text: str) -> FoundContainer:
    """The one container that a text means: one that has ended is listed by its engine alone. Raises NstraceError."""
    from tracer.containers.answers import container_of

    target = description(text)
    if target is None or target.kind == "pod":
        return lookup.container(text)
    everyone = lookup.names.all()
    found = [one for one in everyone if target.means((container_of(one.id, one.description),), ())]
    if len(found) != 1:
        hint = f"give one of them: {shown(sorted(one.name for one in found))}" if found else "docker ps -a lists them"
        raise NstraceError(f"{text} means {counted(len(found), 'container')}", hint, ExitCode.NO_TARGET)
    return found[0]


def _alive(name: str, said: Last) -> str:
    if not said.started_ns:
        return f"{name} has not run yet"
    return f"{name} is {said.state}, and its engine says nothing of earlier lives"


def _recording(text: str) -> str:
    return f"what nstrace record has written knows more: nstrace why {text} --from FILE"


def _of_process(lookup: Lookup, text: str) -> NstraceError:
    """The error for a process that lives. Raises that for one that does not: nothing is left of it."""
    from tracer.host.translation import translate
    from tracer.typed.processes import parse_proc

    try:
        found = translate(lookup, parse_proc(text))
    except NstraceError as error:
        if error.exit_code != ExitCode.NO_TARGET:
            raise
        raise NstraceError(error.message, _recording(text), ExitCode.NO_TARGET) from error
    state = "a zombie: it has ended, and nobody has reaped it" if found.entry.is_zombie else "running"
    return NstraceError(f"{text} is {state}", _recording(text), ExitCode.NO_TARGET)
