"""Lines made column by column are those that formatting one by one makes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.stream.distinct import distinct
from tracer.views.sheet import Few, Sheet, sheet_of, with_lines

SHEETS = (Sheet, Few)
NUMBERS = st.lists(st.one_of(st.integers(0, 11_000), st.integers(0, 2**63 - 1)), min_size=1, max_size=40)


@pytest.mark.parametrize("kind", SHEETS)
@given(values=NUMBERS, width=st.integers(0, 9))
def test_numbers_stand_on_the_right_and_long_ones_make_their_own_line_longer(
    kind: type[Sheet], values: list[int], width: int
) -> None:
    sheet = kind(len(values))
    sheet.text(b"<")
    sheet.number(np.array(values, np.uint64), width)
    sheet.text(b">\n")
    assert sheet.render() == b"".join(b"<%*d>\n" % (width, value) for value in values)


@pytest.mark.parametrize("kind", SHEETS)
@given(
    values=NUMBERS,
    width=st.integers(0, 9),
    absent=st.sampled_from([b"", b"-", b"null", b"a longer one"]),
    data=st.data(),
)
def test_a_line_without_a_number_has_what_stands_for_none(
    kind: type[Sheet], values: list[int], width: int, absent: bytes, data: st.DataObject
) -> None:
    where = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    sheet = kind(len(values))
    sheet.text(b"<")
    sheet.number(np.array(values, np.int64), width, np.array(where), absent)
    sheet.text(b">\n")
    cells = [b"%d" % value if told else absent for value, told in zip(values, where, strict=True)]
    assert sheet.render() == b"".join(b"<%s>\n" % cell.rjust(width) for cell in cells)


@pytest.mark.parametrize("kind", SHEETS)
@given(values=st.lists(st.integers(0, 999_999_999), min_size=1))
def test_digits_have_zeros_in_front(kind: type[Sheet], values: list[int]) -> None:
    sheet = kind(len(values))
    sheet.digits(np.array(values, np.uint64), 9)
    assert sheet.render() == b"".join(b"%09d" % value for value in values)


@pytest.mark.parametrize("count", [1, 50, 5000])
def test_texts_of_their_own_find_their_lines(count: int) -> None:
    rows = np.arange(count)
    sheet = sheet_of(count)
    sheet.own(rows[::3], [b"three %d " % at for at in range(0, count, 3)])
    sheet.choice([b"even ", b"odd "], rows % 2)
    sheet.own(rows[::700], [b"%d" % at for at in range(0, count, 700)])
    sheet.number(rows)
    sheet.text(b"\n")
    assert sheet.render().decode() == "".join(
        f"{f'three {at} ' if at % 3 == 0 else ''}{'odd ' if at % 2 else 'even '}{at if at % 700 == 0 else ''}{at}\n"
        for at in range(count)
    )


@pytest.mark.parametrize("long", [b"", b"long " * 40])
@pytest.mark.parametrize("count", [1, 50, 5000])
def test_percent_signs_are_texts_like_others(count: int, long: bytes) -> None:
    """Whether many bytes of the lines are unused, or few of them."""
    texts, own = [b"50% ", b"%b%%%"], [b"%%d%b%d" % (b"%", at) for at in range(0, count, 3)]
    sheet = sheet_of(count)
    sheet.choice(texts, np.arange(count) % 2)
    sheet.own(np.arange(0, count, 3), own)
    sheet.text(long + b"100%\n")
    assert sheet.render() == b"".join(
        texts[at % 2] + (b"" if at % 3 else own[at // 3]) + long + b"100%\n" for at in range(count)
    )


@pytest.mark.parametrize("kind", SHEETS)
def test_names_are_shown_with_their_flags(kind: type[Sheet]) -> None:
    raw = np.array([b"sh", b"exactly15bytes!", b"", b"sh"], "S16")
    sheet = kind(4)
    sheet.names(raw, np.array([True, False, False, False]), lambda name, flag: f"{name.decode()}{'*' if flag else ''};")
    assert sheet.render() == b"sh*;exactly15bytes!;;sh;"


def test_more_lines_stand_where_they_belong() -> None:
    assert with_lines(b"b\nd\n", [(0, "a"), (2, "c"), (4, "e")]) == b"a\nb\nc\nd\ne\n"
    assert with_lines(b"", [(0, "a")]) == b"a\n"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(2**63, 2**63 + 3)), max_size=300))
def test_distinct_is_what_a_dictionary_says(pairs: list[tuple[int, int]]) -> None:
    table = np.array(pairs, np.uint64).reshape(-1, 2)
    first, of_row = distinct(table[:, 0], table[:, 1])
    different = list(dict.fromkeys(pairs))
    assert [pairs[at] for at in first.tolist()] == different
    assert [different[number] for number in of_row.tolist()] == pairs


def test_distinct_among_thousands() -> None:
    values = np.arange(2000, dtype=np.uint64) << np.uint64(40)
    first, of_row = distinct(np.concatenate([values, values]))
    assert first.tolist() == list(range(2000))
    assert of_row.tolist() == [*range(2000), *range(2000)]
