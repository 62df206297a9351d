"""What nstrace top knows: processes and containers, kept by samples, and which rows of them are shown. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import compress, islice
from typing import NamedTuple

from tracer.screen.facts import Facts
from tracer.stream.metadata import split_args
from tracer.stream.samples import WINDOW_NS, Born, Brief, Ended, LaneFacts, Loss, ProcKey, Ran, Sample, Told
from tracer.text.escape import command_line, safe
from tracer.text.wait_status import ending

FRESH_NS = 1_500_000_000
_HISTORY, _NOTES = 50, 200
_MOST_LOOKS = 500  # at zombies, each time
_RATE_S = WINDOW_NS / 1e9
SORTS = ("start", "events", "pid", "user", "command")


class Proc:
    """A process. state: the letter that ps shows, " " where nobody has looked; reaper: of a zombie, the PID of who has
    to reap it. command: what it runs, safe to show; "": not known. ran: its execs (CLOCK_BOOTTIME, command, errno).
    rate: its forks and execs a second. ended_ns: None: it lives."""

    __slots__ = (
        *("key", "pids", "lane", "parent", "uid", "comm", "exe", "args", "is_cut", "command", "since_ns", "was_there"),
        *("ended_ns", "status", "rate", "state", "reaper", "ran"),
    )

    def __init__(self, key: ProcKey, pids: list[int], lane: int, parent: ProcKey) -> None:
        self.key, self.pids, self.lane, self.parent = key, pids, lane, parent
        self.since_ns, self.was_there = key[1], False
        self.rate, self.state = 0.0, " "
        self.ended_ns: int | None = None
        self.reaper: int | None = None
        self.status: int | None = None
        self.ran: list[tuple[int, str, int]] = []

    def runs(self, told: Born | Ran) -> None:
        """It runs this now."""
        self.uid, self.comm = told.uid, told.comm
        self.exe, self.args, self.is_cut = told.exe, told.args, told.is_cut
        self.command = _command(told) or safe(told.exe)

    def ends(self, told: Ended) -> None:
        """It has ended. Whether it is a zombie nobody has seen yet."""
        self.ended_ns, self.status, self.state = told.ts_ns, told.status, " "

    @property
    def title(self) -> str:
        """What it runs."""
        return self.command or safe(self.comm) or "?"

    @property
    def how(self) -> str:
        """How it ended, in words; "": it lives."""
        if self.ended_ns is None:
            return ""
        if self.status is None:
            return "ended"
        end = ending(self.status)
        return end.signal or f"exit {end.exit_code}"

    def is_fresh(self, now_ns: int) -> bool:
        """Whether it began a moment ago."""
        return now_ns - self.since_ns < FRESH_NS


class Group:
    """A lane with what it does. procs: its processes; moves: how often they have changed. rate: events a second; brief:
    who ended a moment ago, briefs: how many in all; failed: in all. placed: its rows as they were placed last, and what
    for."""

    __slots__ = ("_counted", "brief", "briefs", "facts", "failed", "moves", "placed", "procs", "rate", "told")

    def __init__(self, facts: LaneFacts) -> None:
        self.facts = facts
        self.procs: dict[ProcKey, Proc] = {}
        self.rate, self.failed, self.briefs, self.moves = 0.0, 0, 0, 0
        self.brief: list[Brief] = []
        self.told = ""
        self.placed: tuple[object, list[Row]] = (None, [])
        self._counted = (0, 0)

    @property
    def living(self) -> int:
        """How many of its processes live."""
        if self._counted[0] != self.moves:
            self._counted = self.moves, sum(proc.ended_ns is None for proc in self.procs.values())
        return self._counted[1]


class Row(NamedTuple):
    """A line of the screen: a group's heading, or a process, or what was brief in a group. depth: how far it is
    indented."""

    group: Group
    proc: Proc | None
    depth: int
    brief: Sequence[Brief] = ()


Match = Callable[[Proc, Group], bool]
Mask = Callable[[Sequence[Facts]], Sequence[bool]]
"""A filter: which of these are shown."""


def match_of(text: str) -> Match:
    """What a search means: a number is a PID of any level, other text is looked for in commands and containers."""
    wanted = text.strip().lower()
    if wanted.isascii() and wanted.isdecimal():
        number = int(wanted)
        return lambda proc, _group: number in proc.pids
    return lambda proc, group: (
        wanted in f"{proc.title} {safe(proc.comm)} {group.facts.label} {group.facts.image}".lower()
    )


class Model:
    """Everything that is known now. changes: how often something came that other rows are for. wall_offset_ns: wall
    clock minus boottime."""

    def __init__(self) -> None:
        self.changes = self.wall_offset_ns = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.procs: dict[ProcKey, Proc] = {}
        self.groups: dict[int, Group] = {}
        self.losses: deque[Loss] = deque(maxlen=_NOTES)
        self.told: deque[Told] = deque(maxlen=_NOTES)
        self.lost = self.living = self.failed = 0
        self.now_ns = 0
        self.rate = 0.0
        self.is_sure = True
        self.changes += 1
        self._was_brief = False
        self._rated: dict[ProcKey, Proc] = {}  # whose rate is not 0
        self._ended: dict[ProcKey, Proc] = {}  # who has ended and has a row, zombies among them
        self._nameless: dict[ProcKey, Proc] = {}  # who has ended and has no row, and may be a zombie

    def apply(self, sample: Sample) -> None:
        """The next sample."""
        if sample.is_new:
            self.clear()
        self.told.extend(sample.told)
        for facts in sample.lanes:
            group = self.groups.setdefault(facts.number, Group(facts))
            group.facts = facts
            group.told = next((told.text for told in reversed(self.told) if told.label == facts.label), group.told)
        for told in sample.told:
            for group in self.groups.values():
                if group.facts.label == told.label:
                    group.told = told.text
        for born in sample.born:
            new = self.procs[born.key] = _proc(born)
            for ended in (self._ended, self._nameless):
                ended.pop(born.key, None)
            self._moved(new)
        self._apply_changes(sample)
        self._apply_rates(sample)
        self.losses.extend(sample.losses)
        self.lost += sum(loss.lost for loss in sample.losses)
        self.now_ns, self.living, self.is_sure = sample.now_ns, sample.living, sample.is_sure
        brief = bool(sample.brief)
        changes = (sample.born, sample.ended, sample.ran, sample.moved, sample.lanes, sample.told)
        self.changes += bool(any(changes) or brief or self._was_brief)
        self._was_brief = brief

    def _moved(self, proc: Proc, is_there: bool = True) -> None:
        """Note that rows of its group change."""
        if group := self.groups.get(proc.lane):
            group.moves += 1
            if is_there:
                group.procs[proc.key] = proc
            else:
                group.procs.pop(proc.key, None)

    def _apply_changes(self, sample: Sample) -> None:
        for ran in sample.ran:
            if proc := self.procs.get(ran.key):
                if not ran.errno:
                    proc.runs(ran)
                    self._moved(proc)
                proc.ran.append((ran.ts_ns, _command(ran) or safe(ran.exe), ran.errno))
                del proc.ran[:-_HISTORY]
        for moved in sample.moved:
            if proc := self.procs.get(moved.key):
                self._moved(proc, is_there=False)
                proc.lane = moved.lane
                self._moved(proc)
        for ended in sample.ended:
            if proc := self.procs.get(ended.key):
                proc.ends(ended)
                self._ended[ended.key] = proc
                self._moved(proc)
                if ended.is_brief:
                    self._loses_row(proc)
        for one in sample.over:
            proc = self._nameless[one.born.key] = _proc(one.born)
            proc.ends(one.ended)

    def _loses_row(self, proc: Proc) -> None:
        del self._ended[proc.key], self.procs[proc.key]
        self._moved(proc, is_there=False)
        self._nameless[proc.key] = proc
        self.changes += 1

    def _apply_rates(self, sample: Sample) -> None:
        acts = {(tgid, start): count for tgid, start, count in sample.acts}
        for proc in self._rated.values():
            proc.rate = 0.0
        self._rated = {key: self.procs[key] for key in acts if key in self.procs}
        for key, proc in self._rated.items():
            proc.rate = acts[key] / _RATE_S
        by_lane = {one.lane: one for one in sample.by_lane}
        briefs: dict[int, list[Brief]] = {}
        for brief in sample.brief:
            briefs.setdefault(brief.lane, []).append(brief)
        for number, group in self.groups.items():
            counts = by_lane.get(number)
            group.rate = counts.recent / _RATE_S if counts else 0.0
            group.failed += counts.failed if counts else 0
            group.briefs += counts.brief if counts else 0
            group.brief = briefs.get(number, [])
        self.failed += sum(one.failed for one in sample.by_lane)
        self.rate = sum(one.recent for one in sample.by_lane) / _RATE_S

    def forget(self, is_unreaped: Callable[[Proc], bool]) -> None:
        """Take the rows of those who ended some time ago, but for those whom nobody has reaped."""
        for key, proc in self._looked_at(self._nameless):
            del self._nameless[key]
            if is_unreaped(proc):
                proc.state = "Z"
                self.procs[key] = self._ended[key] = proc
                self._moved(proc)
                self.changes += 1
        for key, proc in self._looked_at(self._ended):
            del self._ended[key]
            if is_unreaped(proc):
                self.changes += proc.state != "Z"
                proc.state = "Z"
                self._ended[key] = proc  # behind the others: the next look is at those
            else:
                self.procs.pop(key, None)
                self._moved(proc, is_there=False)
                self.changes += 1

    def _looked_at(self, procs: dict[ProcKey, Proc]) -> list[tuple[ProcKey, Proc]]:
        """Those of them that ended long enough ago, or are zombies: as many as are looked at each time."""
        over = ((key, proc) for key, proc in procs.items() if proc.ended_ns is not None
                and (proc.state == "Z" or self.now_ns - proc.ended_ns >= WINDOW_NS))  # fmt: skip
        return list(islice(over, _MOST_LOOKS))

    def rows(self, mask: Mask | None, sort: str, is_tree: bool) -> list[Row]:
        """The lines to show, in order: of each group its heading, and its processes below it. mask: None shows all.
        Raises what it raises."""
        members: dict[int, Collection[Proc]] = {number: group.procs.values() for number, group in self.groups.items()}
        briefs = {number: group.brief for number, group in self.groups.items()}
        if mask:
            members, briefs = self._passing(mask)
        if not is_tree:
            shown = [proc for procs in members.values() for proc in procs]
            return [Row(self.groups[proc.lane], proc, 0) for proc in self._sorted(shown, sort)]
        place = self._tree if mask or sort == "events" else self._placed
        return self._grouped(lambda number, depth: place(self.groups[number], members[number], sort, depth), briefs)

    def _passing(self, mask: Mask) -> tuple[dict[int, Collection[Proc]], dict[int, list[Brief]]]:
        """What a filter leaves."""
        procs = [proc for group in self.groups.values() for proc in group.procs.values()]
        brief = [one for group in self.groups.values() for one in group.brief]
        listed = [*(self._facts(proc, b"", proc.lane) for proc in procs),
                  *(self._facts(None, one.comm, one.lane) for one in brief)]  # fmt: skip
        passes = mask(listed)
        left: dict[int, list[Proc]] = {number: [] for number in self.groups}
        left_brief: dict[int, list[Brief]] = {number: [] for number in self.groups}
        for proc in compress(procs, passes):
            left[proc.lane].append(proc)
        for one in compress(brief, passes[len(procs) :]):
            left_brief[one.lane].append(one)
        return dict(left), left_brief

    def _facts(self, proc: Proc | None, name: bytes, lane: int) -> Facts:
        return Facts(proc, name, self.groups[lane], self.procs, self.groups, self.wall_offset_ns)

    def _sorted(self, procs: Iterable[Proc], sort: str) -> list[Proc]:
        keys: dict[str, Callable[[Proc], object]] = {
            "start": lambda proc: (proc.since_ns, proc.key),
            "events": lambda proc: (-proc.rate, proc.since_ns, proc.key),
            "pid": lambda proc: (proc.pids[0], proc.key),
            "user": lambda proc: (-1 if proc.uid is None else proc.uid, proc.since_ns, proc.key),
            "command": lambda proc: (proc.title, proc.since_ns, proc.key),
        }
        return sorted(procs, key=keys[sort])  # type: ignore[arg-type]

    def _grouped(self, place: Callable[[int, int], list[Row]], briefs: dict[int, list[Brief]]) -> list[Row]:
        inside: dict[int | None, list[int]] = {}
        for number, group in self.groups.items():
            parent = group.facts.parent if group.facts.parent in self.groups else None
            inside.setdefault(parent, []).append(number)
        pending = [(number, 0) for number in self._in_order(inside.get(None, ()))]
        rows: list[Row] = []
        while pending:
            number, depth = pending.pop()
            group, own = self.groups[number], place(number, depth + 1)
            pending += [(child, depth + 1) for child in self._in_order(inside.get(number, ()))]
            if own or briefs[number]:
                rows.append(Row(group, None, depth))
                rows += own
            if briefs[number]:
                rows.append(Row(group, None, depth + 1, briefs[number]))
        return rows

    def _in_order(self, numbers: Iterable[int]) -> list[int]:
        """The last one first, since they are taken from the end; the host is the last one shown."""
        return sorted(numbers, key=lambda number: (self.groups[number].facts.level > 0, -number))

    def _placed(self, group: Group, procs: Collection[Proc], sort: str, depth: int) -> list[Row]:
        """As `_tree`, worked out where something has changed."""
        if group.placed[0] != (group.moves, sort, depth):
            group.placed = (group.moves, sort, depth), self._tree(group, procs, sort, depth)
        return group.placed[1]

    def _tree(self, group: Group, procs: Collection[Proc], sort: str, depth: int) -> list[Row]:
        keys, below = {proc.key for proc in procs}, dict[ProcKey | None, list[Proc]]()
        for proc in self._sorted(procs, sort):
            below.setdefault(proc.parent if proc.parent in keys and proc.parent != proc.key else None, []).append(proc)
        pending = [(proc, depth) for proc in reversed(below.get(None, ()))]
        rows: list[Row] = []
        while pending:
            proc, level = pending.pop()
            rows.append(Row(group, proc, level))
            pending += [(child, level + 1) for child in reversed(below.get(proc.key, ()))]
        return rows

    def children(self, key: ProcKey) -> list[Proc]:
        """The living processes whose parent it is."""
        return [proc for proc in self.procs.values() if proc.parent == key]

    def parents(self, proc: Proc) -> list[Proc]:
        """Its parent, that one's parent and so on, as far as they live."""
        found: list[Proc] = []
        above = self.procs.get(proc.parent)
        while above and above not in found:
            found.append(above)
            above = self.procs.get(above.parent)
        return found


def _proc(born: Born) -> Proc:
    proc = Proc(born.key, born.pids, born.lane, born.parent)
    proc.runs(born)
    proc.was_there = born.was_there
    return proc


def _command(told: Born | Ran) -> str:
    return command_line(split_args(told.args)) if told.args else ""
