"""Durations and sizes as users type them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import ExitCode, NstraceError
from tracer.typed.durations import parse_duration
from tracer.typed.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        *(("5s", 5000), ("1.5m", 90_000), ("2h", 7_200_000), ("1d", 86_400_000), ("500ms", 500), ("1h30m", 5_400_000)),
        *(("90", 90_000), ("0.25", 250), (" 5 s ", 5000), ("5 minutes", 300_000), ("1 hour 30 min", 5_400_000)),
        *(("0", 0), ("1m30", None), ("", None), (" ", None), ("s", None), ("5x", None), ("-5s", None), ("5 5", None)),
        *(("1e3", None), ("5M", None), ("٥s", None), ("1..5s", None), ("nan", None), ("inf", None), ("9" * 11, None)),
    ],
)
def test_a_duration(text: str, milliseconds: int | None) -> None:
    if milliseconds is not None:
        assert parse_duration(text) == milliseconds * 10**6
        return
    with pytest.raises(NstraceError, match="is not a valid duration") as caught:
        parse_duration(text)
    assert (caught.value.exit_code, bool(caught.value.hint)) == (ExitCode.USAGE, True)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("64000", 64_000), ("100k", 100_000), ("100K", 100_000), ("100M", 10**8), ("100m", 10**8), ("1.5G", 1.5e9)),
        *(("100MB", 10**8), ("100mb", 10**8), ("16MiB", 1 << 24), ("16mib", 1 << 24), ("16Mi", 1 << 24), ("1 GB", 1e9)),
        *(("7b", 7), ("2T", 2 * 10**12), ("", None), ("M", None), ("5x", None), ("-1", None), ("5iB", None)),
        *(("1e3", None), ("5 M B", None), ("٥", None), ("9" * 13, None), ("nan", None)),
    ],
)
def test_a_size(text: str, size: int | None) -> None:
    if size is not None:
        assert parse_size(text) == size
        return
    with pytest.raises(NstraceError, match="is not a valid size") as caught:
        parse_size(text)
    assert (caught.value.exit_code, bool(caught.value.hint)) == (ExitCode.USAGE, True)


def test_what_a_number_without_a_unit_counts() -> None:
    assert parse_size("16", plain_bytes=1 << 20) == 1 << 24
    assert parse_size("0.0625", plain_bytes=1 << 20) == 1 << 16
    assert parse_size("16M", plain_bytes=1 << 20) == 16_000_000


@given(st.text(max_size=30))
def test_whatever_is_typed_is_a_number_or_refused(text: str) -> None:
    for parse in (parse_duration, parse_size):
        with contextlib.suppress(NstraceError):
            assert parse(text) >= 0
