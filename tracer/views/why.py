"""why: how a life or a process ended and what led to it, on one screen; and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from tracer.answers.why import MEMORY_BEFORE, Ending, Exit, LastWord, cause_of
from tracer.stream.killers import killer_object
from tracer.stream.metadata import Killer, LifeFact, split_args
from tracer.text.counted import counted
from tracer.text.escape import command_line, decode, safe, safe_text
from tracer.text.times import duration, precise, rfc3339
from tracer.text.wait_status import ending
from tracer.text.width import cut
from tracer.views.killed import killed_by
from tracer.views.lives import end_words, life_words
from tracer.views.objects import container_object

_CLOCK = slice(11, None)  # of a time: without its day
_MAX_STEPS, _MAX_NAMES = 5, 4
_LEAST_WIDTH = 20
_RUNTIMES = ("runc", "crun", "containerd-shim", "conmon", "podman")


def ending_text(end: Ending, line_width: int | None) -> str:
    """At most some 20 lines. line_width: lines are cut to it; None: they stay whole."""
    lines = [_first_line(end), *map(_indented, _story(end))]
    if end.before:
        lines.append("  the last to end before:" if end.first else "  the last to end:")
        lines += [f"    {_exit_line(one)}" for one in end.before]
    lines += [f"  {line}" for line in _cost(end)]
    lines += [f"  but its engine says {safe_text(doubt)}" for doubt in end.doubts]
    return _lines(lines, line_width)


def _lines(lines: Sequence[str], line_width: int | None) -> str:
    return "".join(f"{line if line_width is None else cut(line, line_width)}\n" for line in lines)


def _indented(line: str) -> str:
    return f"  {line}"


def _first_line(end: Ending) -> str:
    lived = "" if end.stopped.duration_ns is None else f" after {duration(end.stopped.duration_ns)}"
    return f"{safe_text(end.container.label)} ended {precise(end.at_ns)}{lived}: {safe_text(cause_of(end.stopped))}"


def _story(end: Ending) -> Iterator[str]:
    """What led to it, a line each, in order."""
    stopped = end.stopped
    told = [(step.at_ns, life_words(step.fact)) for step in end.steps[-_MAX_STEPS:]]
    told += [(sent.time_ns, f"its engine sent {sent.signal}") for sent in end.signals]
    if hint := end.foreboding:
        told.append((hint.at_ns, f"{_exit_words(hint)}: a shell makes {stopped_code(stopped)} of that"))
    for at_ns, words in sorted(told, key=itemgetter(0)):
        yield f"{precise(at_ns)[_CLOCK]} {safe_text(words)}"
    if on_behalf := _on_behalf(stopped):
        yield f"{_at_end(end)} {on_behalf}"
    if end.first:
        yield f"{_clock(end.first)} its first process ended: {_exit_words(end.first)}"
    if stopped.doubt:
        yield f"{_at_end(end)} {safe_text(stopped.doubt)}"


def stopped_code(stopped: LifeFact) -> str:
    """The exit code, for a sentence."""
    return f"exit code {stopped.exit_code}"


def _on_behalf(stopped: LifeFact) -> str:
    """That the signal which ended it was sent for an engine, as the engine says itself; nothing where it does not. Why
    it has is not said: whether for a stop that took too long, the engine tells too late."""
    killer, sent = stopped.killed_by, [one.signal for one in stopped.signals or ()]
    if killer is None or killer.comm not in _RUNTIMES or killer.kernel:
        return ""
    before = [signal for signal in sent if signal != stopped.signal]
    why = f"; {before[-1]}, which its engine sent before, had not ended it" if before else ""
    if stopped.signal in sent:
        return f"its engine had {safe_text(killer.comm)} send {stopped.signal}{why}"
    return f"{safe_text(killer.comm)} sent {stopped.signal}{why}" if why else ""


def _cost(end: Ending) -> Iterator[str]:
    """Who died with it."""
    count = end.stopped.processes
    if count:
        names = sorted(end.died.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{number} {safe(name)}" for name, number in names[:_MAX_NAMES])
        more = ", ..." if len(names) > _MAX_NAMES else ""
        yield f"{counted(count, 'more process', 'es')} died with it{f': {shown}{more}' if shown else ''}"
    elif count == 0:
        yield "no other process died with it"


def _exit_line(one: Exit) -> str:
    lived = duration(max(0, one.at_ns - one.started_ns))
    return f"{_clock(one)} {'>'.join(map(str, one.pids)):>9} {_how(one)} after {lived}: {_command(one)}"


def _exit_words(one: Exit) -> str:
    return f"{_command(one)} ({one.pids[0]}), {_how(one)}"


def _how(one: Exit) -> str:
    if one.status is None:
        return "ended unseen"
    if one.signal:
        return f"{one.signal}{killed_by(one.killer, one.pids[0]) if one.killer else ''}"
    return f"exit {one.exit_code}"


def _command(one: Exit) -> str:
    return command_line(split_args(one.args)) if one.args else safe(one.exe or one.comm)


def _clock(one: Exit) -> str:
    return precise(one.at_ns)[_CLOCK]


def _at_end(end: Ending) -> str:
    return precise(end.first.at_ns if end.first else end.at_ns)[_CLOCK]


def ending_object(end: Ending) -> dict[str, Any]:
    """All of it; null is what is not known."""
    stopped = end.stopped
    return {
        "container": container_object(end.container),
        "incarnation": end.container.incarnation,
        "time": rfc3339(end.at_ns),
        "started": None if end.began_ns is None else rfc3339(end.began_ns),
        "cause": cause_of(stopped),
        "exit_code": stopped.exit_code,
        "signal": stopped.signal,
        "oom": stopped.oom,
        "killed_by": _killer(stopped.killed_by),
        "duration_ns": stopped.duration_ns,
        "processes": stopped.processes,
        "signals": [{"time": rfc3339(sent.time_ns), "signal": sent.signal} for sent in end.signals],
        "doubt": stopped.doubt,
        "doubts": list(end.doubts),
        "steps": [{"time": rfc3339(step.at_ns)} | _fact_object(step.fact) for step in end.steps],
        "first": exit_object(end.first) if end.first else None,
        "before": [exit_object(one) for one in end.before],
        "died": {decode(name): number for name, number in end.died.items()},
    }


def _fact_object(fact: LifeFact) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.to_builtins(fact)
    return {name: value for name, value in said.items() if name != "container"}


def _killer(killer: Killer | None) -> dict[str, Any] | None:
    return killer_object(killer) if killer else None


def exit_object(one: Exit) -> dict[str, Any]:
    """A process that has ended."""
    return {
        "time": rfc3339(one.at_ns),
        "started": rfc3339(one.started_ns),
        "container": container_object(one.container),
        "pid": one.pids[0],
        "ns_pid": one.pids[-1],
        "pids": one.pids,
        "comm": decode(one.comm),
        "exe": decode(one.exe) or None,
        "args": None if one.args is None else [decode(arg) for arg in split_args(one.args)],
        "exit_code": one.exit_code,
        "signal": one.signal,
        "killed_by": _killer(one.killer),
    }


def process_text(asked: str, one: Exit, with_it: LifeFact | None, line_width: int | None) -> str:
    """How a process ended. with_it: the life of its container that ended then; None: none did."""
    where = safe_text(one.container.label) if one.container else "the host"
    lived = duration(max(0, one.at_ns - one.started_ns))
    lines = [
        f"{safe_text(asked)} ended {precise(one.at_ns)} after {lived}: {_how(one)}",
        f"  it was {'>'.join(map(str, one.pids))} in {where}: {_command(one)}",
    ]
    if with_it:
        lines.append(f"  its container ended then: {safe_text(end_words(with_it))}")
    return _lines(lines, line_width)


def causes_text(ends: Mapping[str, Sequence[Ending]], line_width: int | None) -> str:
    """The ends of each cause, a line each, below it."""
    lines = []
    for cause, same in ends.items():
        lines.append(f"{len(same):>5}  {safe_text(cause)}")
        for end in same:
            lived = "" if end.stopped.duration_ns is None else f" after {duration(end.stopped.duration_ns)}"
            died = f", {counted(end.stopped.processes, 'more process', 'es')}" if end.stopped.processes else ""
            lines.append(f"       {precise(end.at_ns)} {safe_text(end.container.label)}{lived}{died}")
    return _lines(lines, line_width)


def last_word_text(word: LastWord, line_width: int | None) -> str:
    """How a container ended as its engine reports it."""
    ended = f" {precise(word.finished_ns)}" if word.finished_ns else ""
    lived = "" if (lived_ns := _lived_ns(word)) is None else f" after {duration(lived_ns)}"
    lines = [f"{safe_text(word.container.label)} ended{ended}{lived}: {last_cause(word)}"]
    if word.exit_code > 128 and (name := _signal_of(word.exit_code)):
        lines.append(
            f"  exit code {word.exit_code} is 128 + {name}, of its first process or a child; or a program's choice"
        )
    if word.error:
        lines += _wrapped(f"{safe_text(word.engine)}: {safe_text(word.error)}", line_width)
    if word.restarts:
        lines.append(f"  its engine has started it again {counted(word.restarts, 'time')}")
    lines.append(f"  that is all that {safe_text(word.engine)} knows: nstrace record sees who did it")
    return _lines(lines, line_width)


def _wrapped(text: str, line_width: int | None) -> list[str]:
    """A text that is not cut, below a line."""
    width = max(_LEAST_WIDTH, line_width or _LEAST_WIDTH * 6)
    return textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def last_cause(word: LastWord) -> str:
    """The cause in a few words."""
    return f"exit code {word.exit_code}" + (MEMORY_BEFORE if word.oom else "")


def last_word_object(word: LastWord) -> dict[str, Any]:
    """All that the engine says."""
    return {
        "container": container_object(word.container),
        "incarnation": None,
        "time": rfc3339(word.finished_ns) if word.finished_ns else None,
        "started": rfc3339(word.started_ns) if word.started_ns else None,
        "cause": last_cause(word),
        "exit_code": word.exit_code,
        "signal": None,
        "oom": word.oom,
        "error": word.error or None,
        "restarts": word.restarts,
        "said_by": word.engine,
    }


def _lived_ns(word: LastWord) -> int | None:
    if not word.finished_ns or not word.started_ns or word.finished_ns < word.started_ns:
        return None
    return word.finished_ns - word.started_ns


def _signal_of(code: int) -> str | None:
    return ending(code - 128).signal if 128 < code <= 192 else None
