"""The documentation: the site is built without a warning and without a network, its Python runs as printed."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tracer

ROOT = Path(__file__).parents[2]
LIVE = ('translate("web/15")', 'tracer.ps("web")', "follow_typed(")  # need a container, or root
CELLS = json.loads((ROOT / "docs/notebook.ipynb").read_text())["cells"]
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/python.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def in_docs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the folder of the recording that the examples read, in UTC."""
    monkeypatch.chdir(ROOT / "docs")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def run(source: str, names: dict[str, Any]) -> str:
    """What a cell writes to stdout, and the repr of its last line where that is an expression: as a notebook shows it.

    No Jupyter kernel runs it: ipykernel and nbclient would make scripts/setup 9 s longer, for these lines.
    """
    *body, last = ast.parse(source).body
    written, value = io.StringIO(), None
    with contextlib.redirect_stdout(written):
        exec(compile(ast.Module(body, []), "<cell>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
        else:
            exec(compile(ast.Module([last], []), "<cell>", "exec"), names)
    return written.getvalue() + ("" if value is None else repr(value))


def test_the_notebook_shows_what_its_cells_give(in_docs: None) -> None:
    names: dict[str, Any] = {}
    for cell in CELLS:
        if cell["cell_type"] == "code":
            stored = "".join("".join(out.get("text") or out["data"]["text/plain"]) for out in cell["outputs"])
            assert run("".join(cell["source"]), names) == stored


def test_the_python_page_runs_as_printed(in_docs: None) -> None:
    names: dict[str, Any] = {"tracer": tracer}
    ran = [run(block, names) for block in BLOCKS if not any(word in block for word in LIVE)]
    assert len(ran) == 2
    assert "3 2026-11-29 01:33:51.461285+00:00" in ran[0]
    assert "no process in no-such-container" in ran[1]


@pytest.mark.kernel
def test_the_live_example_runs_as_printed(in_docs: None) -> None:
    if os.geteuid():
        pytest.skip("needs root")
    (block,) = (block for block in BLOCKS if "follow_typed(" in block)
    assert re.search(r"\[\d+\] 3 20", run(block, {"tracer": tracer}))


def test_the_site_is_built_without_a_warning_and_without_a_network() -> None:
    if importlib.util.find_spec("mkdocs") is None:
        (pytest.fail if os.environ.get("NSTRACE_REQUIRE") else pytest.skip)("mkdocs is not installed: scripts/setup")
    alone = ["unshare", "--net"] if os.geteuid() == 0 else []
    environment = os.environ | {"PYTHON": sys.executable}
    argv = [*alone, str(ROOT / "scripts/docs")]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    site = ROOT / "build/docs"
    reference = (site / "api.html").read_text()
    for name in set(tracer.__all__) - {"__version__"}:
        assert f"tracer.{name}" in reference, name
    for page in site.rglob("*.html"):
        assert not re.search(r"<(script|link|img)[^>]*(src|href)=\"(https?:)?//", page.read_text()), page.name
