"""Lines of text on a terminal: one row an event, at any width."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from builders import PIDNS, WEB, Row, batch, cgroup, exits, fork, gap, repair, row

from tracer.stream.attribution import Attribution
from tracer.stream.metadata import Container
from tracer.stream.schema import Flag, Kind
from tracer.text.width import width
from tracer.views.layout import layout
from tracer.views.lines import Lines

KINDS = frozenset({Kind.FORK, Kind.EXEC, Kind.EXIT, Kind.SNAPSHOT})
LONG = Container("b" * 64, "docker", "shop-background-worker-frontend-1")
WIDE = Container("c" * 64, "docker", "日本語日本語日本語日本語日本語")
INSIDE = [(PIDNS, 15)]
ARGS = [b"python3", b"-m", b"http.server", "日本語".encode() * 40, b"--bind", b"x" * 400]


@pytest.fixture(autouse=True)
def utc(in_zone: Callable[[str], None]) -> None:
    in_zone("UTC")


def rows() -> list[Row]:
    return [
        cgroup(7, WEB),
        cgroup(8, LONG),
        cgroup(9, WIDE),
        row(Kind.EXEC, 4194304, [(PIDNS, 4194303)], args=ARGS, comm="日本語日本".encode(), cgroup_id=7, old_tid=1),
        row(Kind.EXEC, 41, INSIDE, args=ARGS[:3], flags=Flag.ARGS_TRUNCATED, cgroup_id=8, old_tid=41),
        fork(42, INSIDE, comm=b"\x1b\x1b\x1b\x1b\x1b\x1b", cgroup_id=9),
        exits(43, INSIDE, status=256, cgroup_id=8),
        exits(44, INSIDE, status=11 | 128, cgroup_id=7),
        exits(45, [(PIDNS + level, 10 + level) for level in range(6)], status=0, cgroup_id=7),
    ]


def render(view: Lines, *told: Row) -> list[str]:
    containers = Attribution()
    parts = containers.split_and_learn(batch(*(told or rows())))
    return b"".join([*(view.render(part, containers) for part in parts), view.rest()]).decode().splitlines()


def on_terminal(columns: int | None, color: bool = False, threads: bool = False, **options: int | bool) -> Lines:
    return Lines(KINDS, color, threads, 0, lambda: columns, **options)  # type: ignore[arg-type]


def plain(line: str) -> str:
    return re.sub("\x1b\\[[0-9;]*m", "", line)


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("columns", [1, 20, 40, 61, 62, 63, 80, 100, 120, 200, 5000])
def test_no_line_is_longer_than_the_terminal(columns: int, color: bool, threads: bool) -> None:
    view = on_terminal(columns, color, threads)
    lines = [plain(line) for line in [view.header, *render(view)]]
    assert len([line for line in lines if not line.startswith("TIME"[: max(1, columns - 1)])]) == 6 or columns < 5
    assert all(width(line) <= columns for line in lines)
    assert all(not line.endswith("\x1b") for line in lines)


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_columns_are_aligned(columns: int) -> None:
    view = on_terminal(columns)
    *_before, header = [line for line in [view.header, *render(view)] if line.startswith("TIME")]
    lines = [line for line in render(view) if not line.startswith("TIME")]
    end = header.index("NSPID") + len("NSPID")
    for line in lines:
        cells = "".join(char + "\0" * (width(char) - 1) for char in line)
        assert cells[end - 1].isdigit() and cells[end] == " ", line


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_gaps_and_repairs_fit_too_whatever_else_is_shown(columns: int) -> None:
    view = Lines(frozenset({Kind.EXIT}), False, False, 0, lambda: columns)
    lines = render(view, gap(123, 1, 10**9), repair(10**9), gap(4, 10**9, 2 * 10**9), exits(5))
    assert len(lines) == 4
    assert all(width(line) <= columns for line in lines)
    assert "lost 123 events" in lines[0] or columns < 80


def test_info_is_whole_where_nothing_is_cut() -> None:
    assert any(line.endswith("x" * 400) for line in render(on_terminal(None)))
    assert any(LONG.label in line for line in render(on_terminal(None)))


def test_a_narrow_terminal_has_no_parents_but_info() -> None:
    narrow, wide = on_terminal(80), on_terminal(120)
    assert narrow.header.split() == ["TIME", "EVENT", "CONTAINER", "PID", "NSPID", "COMM", "INFO"]
    assert wide.header.split()[3:7] == ["PID", "NSPID", "PPID", "NSPPID"]
    lines = render(narrow)
    assert any("exit 0, 1.0 s" in line for line in lines)
    assert any(
        line.rstrip().endswith("exit 1") for line in lines
    )  # how long a failure lived makes room for its command


def test_the_column_grows_with_the_names_and_says_where_it_has() -> None:
    view = on_terminal(200)
    lines = render(view)
    titles = [line for line in lines if line.startswith("TIME")]
    assert len(titles) == 1
    assert titles[0].index("PID") > view.header.index("PID")
    assert "shop-backgro…-frontend-1" in lines[lines.index(titles[0]) + 1]
    assert not [line for line in render(view) if line.startswith("TIME")]  # nothing has changed any more


def test_the_width_of_the_column_can_be_chosen() -> None:
    lines = render(on_terminal(200, container_width=40))
    assert any(LONG.label in line for line in lines)
    lines = render(on_terminal(200, container_width=9))
    assert any(" shop…nd-1 " in line for line in lines)


def test_a_terminal_that_is_resized() -> None:
    columns = [200]
    view = Lines(KINDS, False, False, 0, lambda: columns[0])
    one = exits(44, status=11 | 128)
    assert len(render(view, one)) == 1
    columns[0] = 80
    title, line = render(view, one)
    assert title == layout(80, 8, 12, False).header
    assert width(line) <= 80
    columns[0] = 78
    (line,) = render(view, one)  # the columns are the same, and INFO is shorter
    assert width(line) <= 78


def test_without_titles_there_are_none() -> None:
    columns = [200]
    view = Lines(KINDS, False, False, 0, lambda: columns[0], titles=False)
    assert view.header == ""
    columns[0] = 80
    assert not [line for line in render(view) if line.startswith("TIME")]


def test_failures_are_red_and_nothing_else_is() -> None:
    red = [plain(line) for line in render(on_terminal(120, color=True)) if "\x1b[31m" in line]
    assert len(red) == 2
    assert all(" exit " in line for line in red)


def test_containers_have_colors_of_their_own_in_all_their_lives() -> None:
    again = Container("a" * 64, "docker", "web", incarnation=2)
    lines = render(
        on_terminal(120, color=True),
        *(cgroup(1 + number, found) for number, found in enumerate([WEB, LONG, again])),
        *(fork(40 + number, INSIDE, cgroup_id=1 + number) for number in range(3)),
        fork(50),
    )
    found = re.findall("\x1b\\[([0-9;]+)m(web|shop\\S+|web#2)\x1b\\[0m", "\n".join(lines))
    colors = [color for color, _name in found]
    assert [name for _color, name in found] == ["web", "shop-bac…ntend-1", "web#2"] or len(found) == 3
    assert colors[0] == colors[2] != colors[1]
    assert "31" not in colors
    assert re.search("m +- ", plain(lines[-1])) is None


@pytest.mark.parametrize("columns", [200, None])
def test_the_column_is_wide_enough_for_names_that_are_known_ahead(columns: int | None) -> None:
    view = on_terminal(columns, expected=24)
    assert view.header.index("PID") == len("22:13:22.000 snapshot ") + 24 + 1 + 4
    assert not [line for line in render(view) if line.startswith("TIME")]
