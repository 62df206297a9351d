"""scripts/mutate breaks what it says it breaks: a text that is not there, or more than once, proves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutation", [pytest.param(each, id=each.rule) for each in MUTATIONS])
def test_the_text_is_there_once_and_so_is_who_has_to_notice(mutation: Mutation) -> None:
    assert (ROOT / mutation.file).read_text().count(mutation.old) == 1
    files = [test.partition("::")[0] for test in mutation.tests if test.startswith("tests/")]
    assert files
    assert all((ROOT / file).is_file() for file in files)
