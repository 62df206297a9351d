"""Texts as wide as a terminal shows them."""

import pytest

from tracer.text.width import cut, pad, pad_left, width


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
