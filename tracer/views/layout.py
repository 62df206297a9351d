"""Which columns a line of text has, and how wide they are. Pure.

A line that goes to a terminal is as wide as the terminal at most. INFO has what the other columns leave; where that is
little, the numbers of the parent are left out, and COMM is narrower. In a tree COMM is indented; where there is no room
for that INFO follows right behind the name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tracer.text.width import cut, pad

NUMBER, COMM, LEAST_COMM = 7, 15, 8
_TREES = (31, 23)  # of COMM with the indentation of --tree
_TIME = "TIME        "  # of a time of day
CONTAINER, LEAST_CONTAINER, UNCUT_CONTAINER = 12, 9, 16
"""Widths of the column CONTAINER: in the beginning; at least; and in the beginning where nothing is cut, and the header
not repeated when the column grows: it has room for pidns:4026532189."""
_MOST_CONTAINER, _MOST_UNCUT = 24, 40  # on a terminal, and elsewhere, where longer names stay whole
_STEP = 4  # with which it grows
_OF_LINE = 6  # on a terminal it is at most a sixth of the line,
_USUAL_LINE, _PIDNS = 80, 16  # but has room for pidns:4026532189, which people copy, from the usual width on
_LEAST_INFO = 24
_PARENTS, _THREADS = ("PPID", "NSPPID"), ("TID", "NSTID")


class Layout(NamedTuple):
    """Widths in cells. numbers: the titles of the columns of numbers that there are. info: room for INFO; None: as much
    as it takes. line: to which whole lines have to be cut, as there is not even room for the other columns; else None.
    time: the title of the first column, as wide as it. flows: INFO follows the name of a process, whatever its length.
    """

    event: int
    container: int
    numbers: tuple[str, ...]
    comm: int
    info: int | None = None
    line: int | None = None
    time: str = _TIME
    flows: bool = False

    @property
    def before_info(self) -> int:
        """How many cells there are ahead of INFO."""
        widths = (len(self.time), self.event, self.container, self.comm)
        return sum(width + 1 for width in widths) + len(self.numbers) * (NUMBER + 1)

    @property
    def is_cut(self) -> bool:
        """Whether texts are cut to their columns."""
        return self.info is not None

    @property
    def is_narrow(self) -> bool:
        """Whether INFO has little room, so that its texts have to be short."""
        return self.info is not None and self.info < _LEAST_INFO

    @property
    def header(self) -> str:
        """The titles of the columns."""
        numbers = "".join(f"{title:>{NUMBER}} " for title in self.numbers)
        container = pad(cut("CONTAINER", self.container), self.container)
        line = f"{self.time} {'EVENT':<{self.event}} {container} {numbers}{'COMM':<{self.comm}} INFO"
        return line if self.info is None else cut(line, self.line or self.before_info + self.info)


def layout(
    line_width: int | None, event: int, container: int, threads: bool, time: str = _TIME, tree: bool = False
) -> Layout:
    """The columns of lines of this width; None: of any. event, container: the widths of these columns. threads: with
    TID and NSTID. time: the title of the first column. tree: COMM is indented."""
    first, *others = (found._replace(time=time) for found in _candidates(event, container, threads, tree))
    if line_width is None:
        return first
    for found in (first, *others):
        info = line_width - found.before_info
        if info >= _LEAST_INFO and not (tree and found.comm == LEAST_COMM):
            return found._replace(info=info)
    return found._replace(info=max(0, info), line=line_width if info < 0 or tree else None, flows=tree)


def _candidates(event: int, container: int, threads: bool, tree: bool) -> Iterator[Layout]:
    """The widest first."""
    own, more = ("PID", "NSPID"), _THREADS if threads else ()
    first, *narrower = (*_TREES, LEAST_COMM) if tree else (COMM, LEAST_COMM)
    yield Layout(event, container, (*own, *_PARENTS, *more), first)
    yield Layout(event, container, (*own, _PARENTS[0], *more), first)
    yield Layout(event, container, (*own, *more), first)
    for comm in narrower:
        yield Layout(event, container, (*own, *more), comm)


def most_container(chosen: int, line_width: int | None) -> int:
    """How wide the column CONTAINER may become. chosen: by the user; 0: nothing."""
    if chosen or line_width is None:
        return chosen or _MOST_UNCUT
    least = _PIDNS if line_width >= _USUAL_LINE else LEAST_CONTAINER
    return max(least, min(_MOST_CONTAINER, line_width // _OF_LINE))


def grown(container: int, wanted: int, most: int) -> int:
    """The width of the column CONTAINER when a name needs so many cells: it grows in steps, up to most."""
    if wanted <= container:
        return min(container, most)
    return min(most, container - (container - wanted) // _STEP * _STEP)
