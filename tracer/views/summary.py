"""What a stream added up to (`tracer.stream.tally`), for people and as one JSON object. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tracer.stream.tally import HOST, Life, Rate, Tallies, Tally
from tracer.text.counted import counted
from tracer.text.escape import decode, safe, safe_text
from tracer.text.times import duration, elapsed, full, rfc3339
from tracer.text.width import cut, width
from tracer.views.columns import TextColumn, columns

_ALL, _HOST = "in all", "-"
_MOST_PLACES, _MOST_COMMANDS, _MOST_LIVES, _BAR_CELLS = 20, 4, 3, 60
_UNICODE, _ASCII = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
_ROOM = 80 - len("  lived longest ")
_SECOND_NS = 1_000_000_000
_COLUMNS = ("BEGUN", "ENDED", "MOST ALIVE", "FAILED", "KILLED", "OOM", "LOST")
_FACTS = ("before", "begun", "execs", "failed_execs", "ended", "inferred", "failed", "killed", "oom", "most_alive")


def summary_text(tallies: Tallies, wall_offset_ns: int, line_width: int | None, is_unicode: bool) -> str:
    """The summary in lines of at most line_width cells; None: 80. is_unicode: what shows it has more than ASCII."""
    if tallies.first_ns is None:
        return "no events\n"
    fits = line_width or 80
    places = sorted(tallies.of, key=lambda name: (-_size(tallies.of[name]), name))
    lines = [*_period(tallies, wall_offset_ns, fits, is_unicode), "", *_table(tallies, places, line_width)]
    for name in (_ALL, *places[:_MOST_PLACES]) if len(places) > 1 else (_ALL,):
        lines += ["", f"{_shown(name)}:", *_details(tallies.all if name == _ALL else tallies.of[name])]
    lines += _rest(tallies, places)
    return "".join(f"{cut(line, fits) if line_width else line}\n" for line in lines)


def summary_object(
    tallies: Tallies, wall_offset_ns: int, host: str | None, is_filtered: bool = False
) -> dict[str, Any]:
    """The same as one object. places: containers by label, pidns:INUM, null for the host. is_filtered: what did not
    pass a condition was not counted."""
    rate, times = tallies.rate, (tallies.first_ns, tallies.last_ns if tallies.first_ns is not None else None)
    since, until = (None if ns is None else rfc3339(int(ns) + wall_offset_ns) for ns in times)
    return {
        "host": host,
        "filtered": is_filtered,
        "since": since,
        "until": until,
        "all": _object(tallies.all),
        "places": [{"place": name or None} | _object(tally) for name, tally in tallies.of.items()],
        "places_left_out": len(tallies.left_out),
        "rate": {
            "since": rfc3339(rate.begin_ns + wall_offset_ns) if len(rate.counts) else None,
            "step_ns": rate.step_ns,
            "most_in_a_second": rate.most,
            "events": rate.counts.tolist(),
        },
    }


def _object(tally: Tally) -> dict[str, Any]:
    return {name: getattr(tally, name) for name in (*_FACTS, "gaps", "lost")} | {
        "ran": _commands(tally.ran),
        "failures": _commands(tally.failures),
        "longest": [_life(life) for life in sorted(tally.longest, reverse=True)],
        "shortest": _life(tally.shortest) if tally.shortest else None,
    }


def _commands(counts: Counter[bytes]) -> list[dict[str, Any]]:
    return [{"comm": decode(comm), "count": count} for comm, count in counts.most_common(_MOST_PLACES)]


def _life(life: Life) -> dict[str, Any]:
    return {"duration_ns": life.duration_ns, "pid": life.pid, "comm": decode(life.comm)}


def _size(tally: Tally) -> int:
    return tally.before + tally.begun + tally.execs + tally.ended


def _shown(name: str) -> str:
    return safe_text(name) if name != HOST else "the host"


def _period(tallies: Tallies, wall_offset_ns: int, fits: int, is_unicode: bool) -> Iterator[str]:
    """From when to when, how many, and how they are spread over that time."""
    begin_ns = int(tallies.first_ns or 0)
    seconds = (tallies.last_ns - begin_ns) / _SECOND_NS
    rate = tallies.rate
    total = int(rate.counts.sum())
    a_second = f", {total / seconds:.0f} a second" if seconds >= 1 else ""
    yield f"{full(begin_ns + wall_offset_ns)}, {elapsed(seconds)}: {counted(total, 'event')}{a_second}"
    if len(rate.counts) > 1:
        bar, step_ns = _bar(rate, min(_BAR_CELLS, fits - 4), is_unicode)
        yield f"[{bar}]"
        yield f"a character is {elapsed(step_ns / _SECOND_NS)}; most in one second: {counted(rate.most, 'event')}"


def _bar(rate: Rate, cells: int, is_unicode: bool) -> tuple[str, int]:
    """A character for each period, and how long one is."""
    together = -(-len(rate.counts) // cells)
    sums = [int(rate.counts[at : at + together].sum()) for at in range(0, len(rate.counts), together)]
    marks, most = _UNICODE if is_unicode else _ASCII, max(sums)
    levels = [-(-count * (len(marks) - 1) // most) if most else 0 for count in sums]
    return "".join(marks[level] for level in levels), together * rate.step_ns


def _table(tallies: Tallies, places: list[str], line_width: int | None) -> list[str]:
    shown = [(_ALL, tallies.all), *((name or _HOST, tallies.of[name]) for name in places[:_MOST_PLACES])]
    names = ("begun", "ended", "most_alive", "failed", "killed", "oom", "lost")
    titles = [TextColumn("", gives_way=True), *(TextColumn(title, right=True) for title in _COLUMNS)]
    rows = [[safe_text(name), *(str(getattr(tally, fact)) for fact in names)] for name, tally in shown]
    table = columns(titles, rows, line_width)
    return [table.header, *table.lines]


def _details(tally: Tally) -> Iterator[str]:
    if tally.ran:
        yield f"  ran most      {_most(tally.ran)}"
    if tally.failures:
        yield f"  failed most   {_most(tally.failures)}"
    if tally.longest:
        yield f"  lived longest {_fitting([f'{_name(life.comm)} {_lived(life)}' for life in _longest(tally)])}"
    if tally.shortest:
        yield f"  shortest      {_name(tally.shortest.comm)} {_lived(tally.shortest)}"
    if tally.failed_execs:
        yield f"  {counted(tally.failed_execs, 'exec')} failed"
    if tally.inferred:
        yield f"  {counted(tally.inferred, 'event')} inferred from the kernel's list of processes"
    if tally.gaps:
        lost = f"{counted(tally.lost, 'event')} lost" if tally.lost else "events are missing"
        yield f"  {lost} in {counted(tally.gaps, 'gap')}"


def _most(counts: Counter[bytes]) -> str:
    more = len(counts) - _MOST_COMMANDS
    shown = ", ".join(f"{_name(comm)} {count}" for comm, count in counts.most_common(_MOST_COMMANDS))
    return shown + (f" and {more} more" if more > 0 else "")


def _longest(tally: Tally) -> list[Life]:
    return sorted(tally.longest, reverse=True)[:_MOST_LIVES]


def _fitting(texts: list[str]) -> str:
    """As many of them as fit a line, the first in any case."""
    while len(texts) > 1 and width(", ".join(texts)) > _ROOM:
        texts.pop()
    return ", ".join(texts)


def _name(comm: bytes) -> str:
    return safe(comm) or "?"


def _lived(life: Life) -> str:
    return f"{duration(life.duration_ns)} (PID {life.pid})"


def _rest(tallies: Tallies, places: list[str]) -> Iterator[str]:
    if len(places) > _MOST_PLACES:
        yield ""
        yield f"and {len(places) - _MOST_PLACES} more: --json has all"
    if tallies.left_out:
        yield f"{counted(len(tallies.left_out), 'more place')} counted in all alone: there is no room"
