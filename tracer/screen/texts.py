"""What nstrace top says in words: its keys, and one process whole."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text

from tracer.screen.cells import FAILED, HEADING, PLAIN, rate_text, user_name
from tracer.screen.model import Group, Model, Proc
from tracer.text.counted import counted
from tracer.text.escape import safe, safe_text
from tracer.text.exec_errors import error_name
from tracer.text.times import duration, precise
from tracer.text.width import cut, width

_LOST = Style(color="red", bold=True, reverse=True)
_FIRST_KEYS = "? help", "q quit"
_LIST_KEYS = "Enter whole", "/ search", "F filter", "e events", "t tree", "s sort", "a PIDs"
_LIVE_KEYS = *_FIRST_KEYS, *_LIST_KEYS[:4], "w record", "space pause", *_LIST_KEYS[4:]
_PLAY_KEYS = *_FIRST_KEYS, "space pause", "←→ 5 s", "f failure", "g gap", ". step", "+- speed", *_LIST_KEYS
KEYS = """\
up, down, PgUp, PgDn, Home, End   move; the wheel scrolls, a click chooses
Enter, double click               one process whole, with its history
e                                 the events of this process and its children
/                                 search: Enter goes to the next one, n too
F, F4, \\                          filter in SQL: comm = 'sh'; Esc shows all
t                                 tree of containers and processes, or a flat list
s                                 sort by start, events, pid, user, command
a                                 PIDs of all levels, or the host's and the innermost
space                             pause
w                                 start or stop recording (of what happens now)
q, F10, Ctrl-C                    quit
?, h, F1                          this help

Of a recording:
left, right                       5 seconds back and forth; a click on the line of time goes there
0, $                              the beginning, the end (Ctrl-Home, Ctrl-End too)
.                                 the next event
+, -                              faster, slower
f                                 the next failure
g, G                              where events were lost: the next place, the one before

Green is new, struck through has ended, red has failed or is lost, magenta is a
zombie: it has ended, and its parent does not reap it. Processes too brief to be
seen are counted in the line + of their container."""


def head(model: Model, title: str, stands_still: bool, cells: int) -> Text:
    """The first line: what is shown, and how much of everything there is. What has no room in so many cells is left
    out, the least important first."""
    living = [group.facts.container for group in model.groups.values() if group.living]
    containers = {(container.id, container.incarnation) for container in living if container}
    lost = f" {counted(model.lost, 'event')} lost{'' if model.is_sure else ', not sure'} "
    parts = [
        (0, f"{cut(safe_text(title), cells)} ", HEADING),
        *([(0, lost, _LOST)] if model.lost else []),
        (1, counted(model.living, "process", "es"), PLAIN),
        (4, counted(len(containers), "container"), PLAIN),
        (3, f"{rate_text(model.rate) or '0'} events/s", PLAIN),
        *([(2, f"{model.failed} failed", FAILED)] if model.failed else []),
        *([(1, "paused", HEADING)] if stands_still else []),
    ]
    while len(parts) > 1 and sum(width(text) + 2 for _rank, text, _style in parts) - 2 > cells:
        parts.remove(max(parts, key=lambda part: part[0]))
    text = Text(no_wrap=True)
    for at, (_rank, part, style) in enumerate(parts):
        text.append("" if not at else " " if at == 1 else "  " if parts[at - 1][2] == _LOST else ", ")
        text.append(part, style)
    return text


def foot(is_live: bool, state: str, cells: int) -> str:
    """The last line, so many cells wide: as many keys as there is room for, and how the list is shown."""
    state = cut(state, cells * 2 // 3)
    room, shown = cells - width(state) - 2, ""
    for key in _LIVE_KEYS if is_live else _PLAY_KEYS:
        longer = f"{shown}  {key}" if shown else key
        if width(longer) > room:
            break
        shown = longer
    return f"{shown}{' ' * (max(0, room - width(shown)) + 2)}{state}"


def whole(model: Model, proc: Proc, group: Group | None, wall_offset_ns: int, inspected: str) -> Text:
    """One process, with its history."""
    lines = [*_facts(proc, group, wall_offset_ns), *_relatives(model, proc)]
    if proc.ran:
        lines += ["", "what it ran"]
        for ts_ns, command, errno in proc.ran:
            failed = f"  failed: {error_name(errno)}" if errno else ""
            lines.append(f"  {precise(ts_ns + wall_offset_ns)}  {safe_text(command)}{failed}")
    if inspected:
        others = (
            line for line in inspected.splitlines() if not line.startswith("process ")
        )  # its identity stands above
        lines += ["", "nstrace inspect", *(f"  {safe_text(line)}" for line in others)]
    return Text("\n".join(lines))


def _facts(proc: Proc, group: Group | None, wall_offset_ns: int) -> list[str]:
    facts = group.facts if group else None
    ended = "" if proc.ended_ns is None else f"{precise(proc.ended_ns + wall_offset_ns)} {proc.how}"
    began = " (before it could be followed)" if proc.was_there else ""
    pairs = {
        "PID on the host": str(proc.pids[0]),
        "PID inside": str(proc.pids[-1]) if len(proc.pids) > 1 else "the same",
        "PIDs, host first": " > ".join(map(str, proc.pids)),
        "container": facts.label if facts else "",
        "image": facts.image if facts else "",
        "PID namespace": f"{facts.pidns} (level {facts.level})" if facts else "",
        "command": proc.title,
        "name": safe(proc.comm),
        "file": safe(proc.exe),
        "user": user_name(proc.uid),
        "began": precise(proc.since_ns + wall_offset_ns) + began,
        "ended": ended,
        "state": "Z: it has ended, and its parent has not reaped it" if proc.state == "Z" else proc.state.strip(),
        "events a second": rate_text(proc.rate),
        "identity": f"{proc.key[0]}-{proc.key[1]}",
    }
    return [f"{name:<17} {safe_text(text)}" for name, text in pairs.items() if text]


def _relatives(model: Model, proc: Proc) -> list[str]:
    lines = []
    if parents := model.parents(proc):
        lines += ["", "parents", *map(_short, parents)]
    if children := model.children(proc.key):
        lines += ["", "children", *map(_short, children[:50])]
    return lines


def _short(proc: Proc) -> str:
    lived = f", lived {duration(proc.ended_ns - proc.since_ns)}" if proc.ended_ns is not None else ""
    return f"  {'>'.join(map(str, proc.pids))}  {safe_text(proc.title)}{f'  {proc.how}{lived}' if proc.how else ''}"
