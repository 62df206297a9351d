"""scripts/mutate breaks what it says it breaks: a text that is not there, or more than once, proves nothing."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def mutations() -> tuple[Any, ...]:
    loader = SourceFileLoader("mutate", str(ROOT / "scripts/mutate"))
    spec = spec_from_loader("mutate", loader)
    assert spec
    module = module_from_spec(spec)
    sys.modules["mutate"] = module  # its dataclass looks itself up
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
        del sys.modules["mutate"]
    found: tuple[Any, ...] = module.MUTATIONS
    return found


@pytest.mark.parametrize("mutation", [pytest.param(each, id=each.rule) for each in mutations()])
def test_the_text_is_there_once_and_so_is_who_has_to_notice(mutation: Any) -> None:
    assert (ROOT / mutation.file).read_text().count(mutation.old) == 1
    files = [test.partition("::")[0] for test in mutation.tests if test.startswith("tests/")]
    assert files
    assert all((ROOT / file).is_file() for file in files)
