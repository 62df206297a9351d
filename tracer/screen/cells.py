"""Rows of nstrace top as styled text."""

from __future__ import annotations

import pwd
from functools import lru_cache

from rich.segment import Segment
from rich.style import Style

from tracer.screen.model import Group, Proc, Row
from tracer.text.escape import safe, safe_text
from tracer.text.times import duration
from tracer.text.width import cut, width

PLAIN, FAINT, HEADING = Style(), Style(dim=True), Style(bold=True)
FRESH, GONE, FAILED, ZOMBIE = (
    Style(color="green"),
    Style(dim=True, strike=True),
    Style(color="red"),
    Style(color="magenta"),
)
CURSOR = Style(reverse=True)
_USER, _AGE, _RATE = 8, 7, 6


@lru_cache(4096)
def user_name(uid: int | None) -> str:
    """The name of a user of this host; else the number."""
    try:
        return "?" if uid is None else pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def pad(text: str, cells: int, right: bool = False) -> str:
    """The text in so many cells."""
    text = cut(safe_text(text), cells)
    room = " " * (cells - width(text))
    return room + text if right else text + room


def columns(pid_width: int, all_pids: bool, names_container: bool) -> str:
    """The titles."""
    numbers = pad("PIDS", 2 * pid_width + 6) if all_pids else f"{pad('PID', pid_width, True)} {pad('NSPID', 7, True)}"
    container = pad("CONTAINER", 16) + " " if names_container else ""
    return f"{numbers} {container}{pad('USER', _USER)} S {pad('AGE', _AGE, True)} {pad('EV/S', _RATE, True)} COMMAND"


def rate_text(rate: float) -> str:
    """Events a second; nothing where there are none."""
    return "" if rate < 0.05 else f"{rate:.1f}" if rate < 10 else f"{rate:.0f}"


def segments(row: Row, cells: int, now_ns: int, pid_width: int, all_pids: bool, names_container: bool) -> list[Segment]:
    """A line of the screen, so many cells wide."""
    if row.proc is None:
        return _brief(row, cells) if row.brief else _heading(row, cells)
    proc = row.proc
    style = _style(proc, now_ns)
    numbers = _numbers(proc, pid_width, all_pids)
    container = pad(row.group.facts.label, 16) + " " if names_container else ""
    age = duration(max(0, (proc.ended_ns or now_ns) - proc.since_ns))
    state = "x" if proc.ended_ns is not None and proc.state != "Z" else proc.state
    line = f"{numbers} {container}{pad(user_name(proc.uid), _USER)} {state} {pad(age, _AGE, True)} "
    line += f"{pad(rate_text(proc.rate), _RATE, True)} {'  ' * max(0, row.depth - 1)}"
    ends = [proc.how, f"not reaped by {proc.reaper}" if proc.state == "Z" else ""]
    end = f" [{', '.join(filter(None, ends))}]" if any(ends) else ""
    failed = FAILED if proc.status and proc.ended_ns is not None else style
    return [Segment(pad(line + proc.title, cells - width(end)), style), Segment(end, failed)]


def _numbers(proc: Proc, pid_width: int, all_pids: bool) -> str:
    if all_pids:
        return pad(">".join(map(str, proc.pids)), 2 * pid_width + 6)
    inside = str(proc.pids[-1]) if len(proc.pids) > 1 else ""
    return f"{pad(str(proc.pids[0]), pid_width, True)} {pad(inside, 7, True)}"


def _style(proc: Proc, now_ns: int) -> Style:
    if proc.state == "Z":
        return ZOMBIE
    if proc.ended_ns is not None:
        return GONE
    return FRESH if proc.is_fresh(now_ns) else PLAIN


def _heading(row: Row, cells: int) -> list[Segment]:
    group: Group = row.group
    facts = [group.facts.image, f"{group.living} living", f"{rate_text(group.rate) or '0'} events/s"]
    if group.briefs:
        facts.append(f"{group.briefs} short-lived")
    facts.append(group.told)
    failed = f"  {group.failed} failed" if group.failed else ""
    label = f"{'  ' * row.depth}{safe_text(group.facts.title)}"
    rest = "  " + ", ".join(safe_text(fact) for fact in facts if fact)
    room = max(0, cells - width(label) - width(failed))
    parts = [(cut(label, cells), HEADING), (cut(rest, room), FAINT), (failed, FAILED)]
    used = sum(width(text) for text, _style in parts)
    return [*(Segment(text, style) for text, style in parts), Segment(" " * max(0, cells - used), PLAIN)]


def _brief(row: Row, cells: int) -> list[Segment]:
    """Processes that ended a moment ago and had lived but briefly."""
    count, failed = sum(one.count for one in row.brief), sum(one.failed for one in row.brief)
    names = ", ".join(f"{safe(one.comm) or '?'} x{one.count}" for one in row.brief[:6])
    end = f" ({failed} failed)" if failed else ""
    text = f"{'  ' * row.depth}+ {count} short-lived: {names}"
    return [Segment(pad(text, cells - width(end)), FRESH), Segment(end, FAILED)]
