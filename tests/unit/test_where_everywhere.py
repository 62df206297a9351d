"""A condition gives the same rows in replay, in export and in SQL: those that a plain loop over the JSON gives."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from asking import asked, exported, key, replayed
from expressions import Line, always, passing
from hypothesis import given, settings
from recordings import record, storm
from test_outputs_agree import golden
from test_where import EXPRESSIONS, JOBS, WHERE, Three

_NOT_IN_TABLES = "until"  # in JSON alone


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("everywhere") / "jobs.arrows"
    record(path, [JOBS, golden(), storm(1, 5)])
    return path


@pytest.fixture(scope="module")
def lines(file: Path) -> list[Line]:
    found = replayed(file)
    assert len(found) > 60
    return found


@pytest.mark.parametrize("where", WHERE)
def test_the_table(where: str, file: Path, lines: list[Line]) -> None:
    wanted = passing(lines, WHERE[where])
    assert replayed(file, where) == wanted
    assert exported(file, where) == Counter(map(key, wanted))
    if _NOT_IN_TABLES not in where:
        assert asked(file, where) == [key(line) for line in wanted if not always(line)]


def test_every_condition_but_the_last_tells_rows_apart(lines: list[Line]) -> None:
    same = [where for where, loop in WHERE.items() if len({bool(loop(line)) for line in lines if not always(line)}) < 2]
    assert same == ["true", "null", "until is null and lost is null"]


@settings(max_examples=25)
@given(EXPRESSIONS)
def test_any_expression(file: Path, lines: list[Line], expression: tuple[str, Three]) -> None:
    where, loop = expression
    wanted = passing(lines, loop)
    assert replayed(file, where) == wanted
    assert exported(file, where) == Counter(map(key, wanted))
    assert asked(file, where) == [key(line) for line in wanted if not always(line)]
