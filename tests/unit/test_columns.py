"""Columns as wide as what stands in them, and what gives way on a narrow terminal."""

from tracer.text.width import width
from tracer.views.columns import TextColumn, columns

TITLES = [
    TextColumn("NAME", gives_way=True),
    TextColumn("N", right=True),
    TextColumn("IMAGE", gives_way=True),
    TextColumn("LAST"),
]
ROWS = [["web", "7", "nginx", "sleep 1"], ["日本語", "12345", "x" * 30, "y" * 60]]


def test_each_is_as_wide_as_it_must_be() -> None:
    table = columns(TITLES, ROWS)
    assert table.header == f"NAME       N {'IMAGE':<30} LAST"
    assert table.lines[0] == f"web        7 {'nginx':<30} sleep 1"
    assert table.lines[1] == f"日本語 12345 {'x' * 30} {'y' * 60}"


def test_one_long_name_does_not_push_all_lines_apart() -> None:
    table = columns(TITLES[:2], [["web", "1"], ["n" * 100, "2"]])
    assert table.lines == [f"{'web':<40} 1", f"{'n' * 100} 2"]


def test_what_gives_way_leaves_room_for_the_last() -> None:
    table = columns(TITLES, ROWS, 60)
    assert table.lines[1] == f"日本語 12345 {'x' * 11}…{'x' * 10} {'y' * 23}…"
    assert all(width(line) <= 60 for line in columns(TITLES, ROWS, 20).lines)


def test_nothing_gives_way_where_there_is_room() -> None:
    assert columns(TITLES, ROWS, 200) == columns(TITLES, ROWS)


def test_no_rows() -> None:
    assert columns(TITLES, [], 80) == columns(TITLES, [])
    assert columns(TITLES, []).lines == []
