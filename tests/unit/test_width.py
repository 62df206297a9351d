"""Texts as wide as a terminal shows them."""

import pytest

from tracer.text.width import cut, cut_line, cut_middle, pad, pad_left, width


@pytest.mark.parametrize(
    ("text", "columns"), [("", 0), ("abc", 3), ("日本", 4), ("ｗｅｂ", 6), ("e\u0301", 1), ("🐳", 2)]
)
def test_width(text: str, columns: int) -> None:
    assert width(text) == columns


def test_padding_counts_columns() -> None:
    assert pad("日本", 6) == "日本  "
    assert pad_left("日本", 6) == "  日本"
    assert pad("longer", 3) == pad_left("longer", 3) == "longer"


@pytest.mark.parametrize(
    ("text", "columns", "result"),
    [
        ("web", 3, "web"),
        ("webs", 3, "we…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),  # half a character cannot be shown
        ("e\u0301" * 5, 5, "e\u0301" * 5),
        ("ab", 1, "…"),
    ],
)
def test_cut(text: str, columns: int, result: str) -> None:
    assert cut(text, columns) == result
    assert width(cut(text, columns)) <= columns


@pytest.mark.parametrize(
    ("text", "columns", "result"),
    [
        ("web", 3, "web"),
        ("shop-worker-1", 8, "shop…r-1"),
        ("日本語日本語", 7, "日本…語"),
        ("abc", 1, "…"),
        ("abc", 2, "a…"),
    ],
)
def test_cut_in_the_middle(text: str, columns: int, result: str) -> None:
    assert cut_middle(text, columns) == result
    assert width(result) <= columns


def test_a_line_with_colors_is_cut_and_ends_its_colors() -> None:
    line = "12 \x1b[31mfailed\x1b[0m twice"
    assert cut_line(line, 15) == line
    assert cut_line(line, 11) == "12 \x1b[31mfailed\x1b[0m …"
    assert cut_line(line, 6) == "12 \x1b[31mfa…\x1b[0m"
    assert cut_line(line, 1) == "…\x1b[31m\x1b[0m"
