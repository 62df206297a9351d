"""What CONTRIBUTING.md and docs/architecture.md say of files is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tracer

ROOT = Path(__file__).parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
LISTS = dict(re.findall(r"<!-- files: (\w+) -->\n(.*?)\n\n", CONTRIBUTING + "\n\n", re.S))
AT_MOST = {"column": 3, "kind": 5}  # the probe and the change log among them


def first_files(listed: str) -> list[str]:
    """The file that each item of a list begins with."""
    return re.findall(r"^\d+\. `([^`]+)`", listed, re.M)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_every_file_that_is_named_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    named = re.findall(r"`((?:tracer|bpf|tests|scripts|docs)/[\w./-]*)", text)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_what_can_be_added_is_a_list_of_files() -> None:
    assert set(LISTS) == {"column", "kind", "command", "runtime", "kernel"}
    for name, listed in LISTS.items():
        files = first_files(listed)
        assert files and all((ROOT / file).is_file() for file in files), name
        assert len(files) <= AT_MOST.get(name, len(files)), name


def test_the_table_of_packages_is_whole() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    listed = set(re.findall(r"^\| `tracer/(\w+)` \|", text, re.M))
    assert listed == {path.parent.name for path in ROOT.glob("tracer/*/__init__.py")}


def test_files_that_are_named_in_sources_are_there() -> None:
    """In comments and docstrings: a stranger follows them."""
    sources = [
        *ROOT.glob("tracer/**/*.py"),
        *ROOT.glob("bpf/*.[ch]"),
        *ROOT.glob("bench/*.py"),
        *ROOT.glob("scripts/*"),
    ]
    for source in sources:
        text = source.read_text()
        files = re.findall(r"(?<![\w/.])((?:tracer|bpf|tests|scripts|docs)/[\w/.]*\w\.\w+)", text)
        modules = re.findall(r"`tracer\.([a-z_.]+[a-z_])(?:\.[A-Z]\w*)?`", text)
        named = [ROOT / file for file in files if not file.startswith("tracer/bpf")]
        missing = [file for file in named if not file.exists()]
        assert not missing, (source, missing)
        for module in modules:
            place = ROOT / "tracer" / module.replace(".", "/")
            is_there = place.with_suffix(".py").exists() or place.is_dir() or place.parent.with_suffix(".py").exists()
            assert is_there or hasattr(tracer, module), (source, module)
