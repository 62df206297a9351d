"""What the benchmark of joins makes up is what it says: every row has one process, and DuckDB finds it."""

from __future__ import annotations

import pytest

from bench.joins import by_duckdb, measured

pytestmark = pytest.mark.kernel  # it needs root: an archive has another owner


def test_every_row_is_of_one_process() -> None:
    rows, _seconds, _memory = measured(40_000, [by_duckdb])
    assert rows == "40 000"
