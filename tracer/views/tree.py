"""tree: processes below their parents, containers and nested PID namespaces as branches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from tracer.answers.census import Census, Entry
from tracer.stream.pidns import PidnsId, ProcId
from tracer.text.escape import safe_text
from tracer.text.width import cut, cut_middle, width
from tracer.views.table import UNKNOWN, chain, command_of, reaper

HEADER = "PIDS (host first) COMMAND"
_MAX_INDENT = 120  # columns, where no terminal sets a limit: a chain of 30 000 children must not make gigabytes
_GAP = "   "
_LEAST_NAME = 8  # columns
_FOLDED = 3  # so many equal siblings become one line: two say as much in two lines

Same = Callable[[Entry], object]
"""What siblings without children must have in common to be folded into one line; None: nothing is folded."""


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
    """A line of the tree. entry: its process; None: the heading of a group. depth: 0 has no parent. folded: the equal
    siblings that share the line, after entry."""

    group: Group
    entry: Entry | None
    depth: int
    is_last: bool
    folded: tuple[Entry, ...] = ()


def group_of(entry: Entry) -> Group:
    """The branch that a process belongs to."""
    pidns = entry.pidns if entry.level else None
    if entry.container is None:
        return HOST._replace(level=entry.level, pidns=pidns)
    found = entry.container
    label, short_id, runtime = map(safe_text, (found.label, found.short_id, found.runtime))
    return Group(label, found.id, short_id, runtime, entry.level, pidns)


def branches(shown: Sequence[Entry], same: Same | None = None) -> Iterator[Branch]:
    """The lines in their order. A process without a parent in shown is at the top, below its group's heading."""
    present = {entry.proc_id for entry in shown}
    children: dict[ProcId | None, list[Entry]] = {}
    for entry in shown:
        children.setdefault(entry.parent if entry.parent in present else None, []).append(entry)
    walk = _Walk(children, same)
    yield from walk.below(children.get(None, []))
    for entry in shown:  # a damaged recording may hold a circle of parents, which has no top
        if entry.proc_id not in walk.seen:
            yield from walk.below([entry])


def processes(shown: Sequence[Entry]) -> Iterator[tuple[int, Entry]]:
    """The processes in the order of the tree, with how many ancestors of each are shown."""
    depths: dict[ProcId | None, int] = {}
    for branch in branches(shown):
        if branch.entry:
            depth = depths.get(branch.entry.parent, -1) + 1
            depths[branch.entry.proc_id] = depth
            yield depth, branch.entry


_Item = tuple[Branch, Sequence[Entry]]


class _Walk:
    """The way through the tree. children: by parent. seen: the processes that have a line already."""

    def __init__(self, children: dict[ProcId | None, list[Entry]], same: Same | None) -> None:
        self._children, self._same = children, same
        self.seen: set[ProcId] = set()

    def below(self, tops: Sequence[Entry]) -> Iterator[Branch]:
        """The lines of these processes and of all below them. Depth first, without recursion: a process that forks
        10 000 times in a row makes a tree 10 000 deep."""
        stack = [*reversed(list(self._level(tops, HOST, 0)))]
        while stack:
            branch, members = stack.pop()
            if branch.entry is None:
                yield branch
                stack += reversed(list(self._processes(members, branch.group, branch.depth + 1)))
            elif branch.entry.proc_id not in self.seen:
                self.seen.update(entry.proc_id for entry in (branch.entry, *branch.folded))
                yield branch
                inner = self._children.get(branch.entry.proc_id, [])
                stack += reversed(list(self._level(inner, branch.group, branch.depth + 1)))

    def _level(self, entries: Iterable[Entry], around: Group, depth: int) -> Iterator[_Item]:
        """The lines below one process: those of its own group, then the other groups with their headings."""
        groups: dict[Group, list[Entry]] = {}
        for entry in entries:
            groups.setdefault(group_of(entry), []).append(entry)
        own = groups.pop(around, [])
        others = sorted(groups.items(), key=lambda item: item[0][:-1])
        yield from self._processes(own, around, depth, more=bool(others))
        for index, (group, members) in enumerate(others):
            yield Branch(group, None, depth, index == len(others) - 1), members

    def _processes(self, entries: Sequence[Entry], group: Group, depth: int, more: bool = False) -> Iterator[_Item]:
        lines = self._folded(entries)
        for index, (first, *others) in enumerate(lines):
            yield Branch(group, first, depth, index == len(lines) - 1 and not more, tuple(others)), ()

    def _folded(self, entries: Sequence[Entry]) -> list[list[Entry]]:
        """Siblings in the order of their start, those that share a line together, in the place of the first."""
        if self._same is None:
            return [[entry] for entry in entries]
        equal: dict[object, list[Entry]] = {}
        for entry in entries:
            key = entry.proc_id if entry.proc_id in self._children else self._same(entry)
            equal.setdefault(key, []).append(entry)
        lines: list[list[Entry]] = []
        for members in equal.values():
            lines += [members] if len(members) >= _FOLDED else [[entry] for entry in members]
        return sorted(lines, key=lambda line: line[0].proc_id[::-1])


def tree(
    census: Census, shown: Sequence[Entry], line_width: int | None = None, marks: Marks = UNICODE, fold: bool = True
) -> str:
    """The tree as text. line_width: lines are cut to it, None: they stay whole; an indentation beyond half of it is cut
    to its end, after a … fold: siblings without children that look the same share a line."""
    limit = _MAX_INDENT if line_width is None else max(len(_GAP) * 2, line_width // 2)
    indents = [""]  # by depth: the text before the children's own mark
    last_groups: list[Group] = [HOST]
    lines = []
    for branch in branches(shown, (lambda entry: _about(census, entry)) if fold else None):
        del indents[branch.depth + 1 :], last_groups[branch.depth + 1 :]
        mark = (marks.last if branch.is_last else marks.mid) if branch.depth else ""
        before = f"{indents[branch.depth]}{mark}"
        room = None if line_width is None else line_width - width(before)
        lines.append(before + _line(census, branch, last_groups[branch.depth], room))
        indent = indents[branch.depth] + ((_GAP if branch.is_last else marks.bar) if branch.depth else "")
        indents.append(indent if len(indent) <= limit else "…" + indent[1 - limit :])
        last_groups.append(branch.group)
    return "".join(f"{line}\n" for line in lines)


def _line(census: Census, branch: Branch, around: Group, room: int | None) -> str:
    """room: the columns that there are for it; None: no limit."""
    if branch.entry is None:
        return heading(branch.group, around, room)
    about = _about(census, branch.entry)
    text = f"{chain(branch.entry)} {about}"
    if branch.folded:
        text = f"{chain(branch.entry)}..{chain(branch.folded[-1])} {1 + len(branch.folded)}*[{about}]"
    return text if room is None else cut(text, room)


def _about(census: Census, entry: Entry) -> str:
    """What a line shows of a process beside its PIDs."""
    return f"{command_of(entry)} zombie, {reaper(census, entry)}" if entry.is_zombie else command_of(entry)


def heading(group: Group, around: Group, room: int | None = None) -> str:
    """The line of a group, without what the group around it says already. room: the columns that there are for it: the
    name gives way, not the ids behind it."""
    space = f"pidns:{group.pidns.inum if group.pidns else UNKNOWN}" if group.level else ""
    level = f", level {group.level}" if group.level > 1 else ""
    if not group.container:
        return f"{space}{level}" or "host"
    if (group.container, group.container_id) == (around.container, around.container_id):
        return f"{space}{level}" or f"{group.container} on the host's PID namespace"
    facts = " ".join(filter(None, (group.runtime, group.short_id)))
    behind = f" ({facts}{', ' if space else ''}{space}{level})"
    name = group.container if room is None else cut_middle(group.container, max(_LEAST_NAME, room - width(behind)))
    return name + behind
