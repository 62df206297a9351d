"""tree: processes below their parents, containers and nested PID namespaces as branches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tracer.answers.census import Census, Entry
from tracer.stream.pidns import PidnsId, ProcId
from tracer.text.escape import safe_text
from tracer.text.width import cut
from tracer.views.table import UNKNOWN, chain, command_of, reaper

HEADER = "PIDS (host first) COMMAND"
_MAX_INDENT = 120  # columns, where no terminal sets a limit: a chain of 30 000 children must not make gigabytes
_GAP = "   "


class Marks(NamedTuple):
    """The marks of a branch: one with others after it, the last one, and what is below the former."""

    mid: str = "├─ "
    last: str = "└─ "
    bar: str = "│  "


UNICODE = Marks()
ASCII = Marks("|- ", "`- ", "|  ")


class Group(NamedTuple):
    """The processes of a branch: those of one container in one PID namespace. container: its label."""

    container: str
    container_id: str
    short_id: str
    runtime: str
    level: int
    pidns: PidnsId | None


HOST = Group("", "", "", "", 0, None)


class Branch(NamedTuple):
    """A line of the tree. entry: its process; None: the heading of a group. depth: 0 has no parent."""

    group: Group
    entry: Entry | None
    depth: int
    is_last: bool


def group_of(entry: Entry) -> Group:
    """The branch that a process belongs to."""
    pidns = entry.pidns if entry.level else None
    if entry.container is None:
        return HOST._replace(level=entry.level, pidns=pidns)
    found = entry.container
    label, short_id, runtime = map(safe_text, (found.label, found.short_id, found.runtime))
    return Group(label, found.id, short_id, runtime, entry.level, pidns)


def branches(shown: Sequence[Entry]) -> Iterator[Branch]:
    """The lines in their order. A process without a parent in shown is at the top, below its group's heading."""
    present = {entry.proc_id for entry in shown}
    children: dict[ProcId | None, list[Entry]] = {}
    for entry in shown:
        children.setdefault(entry.parent if entry.parent in present else None, []).append(entry)
    seen: set[ProcId] = set()
    yield from _walk(children.get(None, []), children, seen)
    for entry in shown:  # a damaged recording may hold a circle of parents, which has no top
        if entry.proc_id not in seen:
            yield from _walk([entry], children, seen)


def processes(shown: Sequence[Entry]) -> Iterator[tuple[int, Entry]]:
    """The processes in the order of the tree, with how many ancestors of each are shown."""
    depths: dict[ProcId | None, int] = {}
    for branch in branches(shown):
        if branch.entry:
            depth = depths.get(branch.entry.parent, -1) + 1
            depths[branch.entry.proc_id] = depth
            yield depth, branch.entry


def _walk(tops: Sequence[Entry], children: dict[ProcId | None, list[Entry]], seen: set[ProcId]) -> Iterator[Branch]:
    """Depth first, without recursion: a process that forks 10 000 times in a row makes a tree 10 000 deep."""
    stack = [*reversed(list(_level(tops, HOST, 0)))]
    while stack:
        branch, below = stack.pop()
        if branch.entry is None:
            yield branch
            stack += reversed(list(_processes(below, branch.group, branch.depth + 1)))
        elif branch.entry.proc_id not in seen:
            seen.add(branch.entry.proc_id)
            yield branch
            stack += reversed(list(_level(children.get(branch.entry.proc_id, []), branch.group, branch.depth + 1)))


_Item = tuple[Branch, Sequence[Entry]]


def _level(entries: Iterable[Entry], around: Group, depth: int) -> Iterator[_Item]:
    """The lines below one process: those of its own group, then the other groups with their headings."""
    groups: dict[Group, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(group_of(entry), []).append(entry)
    own = groups.pop(around, [])
    others = sorted(groups.items(), key=lambda item: item[0][:-1])
    yield from _processes(own, around, depth, more=bool(others))
    for index, (group, members) in enumerate(others):
        yield Branch(group, None, depth, index == len(others) - 1), members


def _processes(entries: Sequence[Entry], group: Group, depth: int, more: bool = False) -> Iterator[_Item]:
    for index, entry in enumerate(entries):
        yield Branch(group, entry, depth, index == len(entries) - 1 and not more), ()


def tree(census: Census, shown: Sequence[Entry], line_width: int | None = None, marks: Marks = UNICODE) -> str:
    """The tree as text. line_width: lines are cut to it, None: they stay whole; an indentation beyond half of it is cut
    to its end, after a …"""
    limit = _MAX_INDENT if line_width is None else max(len(_GAP) * 2, line_width // 2)
    indents = [""]  # by depth: the text before the children's own mark
    last_groups: list[Group] = [HOST]
    lines = []
    for branch in branches(shown):
        del indents[branch.depth + 1 :], last_groups[branch.depth + 1 :]
        mark = (marks.last if branch.is_last else marks.mid) if branch.depth else ""
        text = _process(census, branch.entry) if branch.entry else heading(branch.group, last_groups[branch.depth])
        line = f"{indents[branch.depth]}{mark}{text}"
        lines.append(line if line_width is None else cut(line, line_width))
        indent = indents[branch.depth] + ((_GAP if branch.is_last else marks.bar) if branch.depth else "")
        indents.append(indent if len(indent) <= limit else "…" + indent[1 - limit :])
        last_groups.append(branch.group)
    return "".join(f"{line}\n" for line in lines)


def _process(census: Census, entry: Entry) -> str:
    zombie = f" zombie, {reaper(census, entry)}" if entry.is_zombie else ""
    return f"{chain(entry)} {command_of(entry)}{zombie}"


def heading(group: Group, around: Group) -> str:
    """The line of a group, without what the group around it says already."""
    space = f"pidns:{group.pidns.inum if group.pidns else UNKNOWN}" if group.level else ""
    level = f", level {group.level}" if group.level > 1 else ""
    if not group.container:
        return f"{space}{level}" or "host"
    if (group.container, group.container_id) == (around.container, around.container_id):
        return f"{space}{level}" or f"{group.container} on the host's PID namespace"
    facts = " ".join(filter(None, (group.runtime, group.short_id)))
    return f"{group.container} ({facts}{', ' if space else ''}{space}{level})"
