"""The shape of the package: pure modules import no edge, edges not each other, only the loader imports bcc."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "tracer"


def kind_of(package: Path) -> str:
    """What a package's docstring says it is: the first word of its last paragraph."""
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    return text.split("\n\n")[-1].split(":")[0]


def is_pure(module: Path) -> bool:
    """Whether a module's docstring says so, in the edge that it is a part of."""
    text = ast.get_docstring(ast.parse(module.read_text())) or ""
    return bool(re.search(r"\bPure\b", text.split("\n\n")[0]))


PACKAGES = {path.parent.name: kind_of(path.parent) for path in sorted(PACKAGE.glob("*/__init__.py"))}
EDGES = [f"tracer.{name}" for name, kind in PACKAGES.items() if kind == "Edge"]
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE and path.stem != "__init__"]
PURE = [path for path in MODULES if PACKAGES[path.parent.name] == "Pure" or is_pure(path)]
FLOOR = [path for path in MODULES if PACKAGES[path.parent.name] == "Floor"]
HEAVY = {"bcc", "numpy", "msgspec", "pyarrow"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def named(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def foreign_edges(path: Path) -> set[str]:
    """What a module imports of edges that it is no part of."""
    foreign = [edge for edge in EDGES if edge != f"tracer.{path.parent.name}"]
    return {name for name in imports(path) if any(name.startswith(edge) for edge in foreign)}


def test_every_package_says_what_it_is() -> None:
    assert set(PACKAGES.values()) == {"Pure", "Floor", "Edge", "Top"}
    assert EDGES == ["tracer.containers", "tracer.host", "tracer.kernel", "tracer.recording", "tracer.screen"]
    assert {path.parent.name for path in PACKAGE.glob("*/*.py")} == set(PACKAGES)


@pytest.mark.parametrize("path", PURE, ids=named)
def test_pure_modules_import_no_edge_and_ask_no_clock(path: Path) -> None:
    assert not foreign_edges(path)
    if PACKAGES[path.parent.name] != "Floor":
        assert not imports(path) & {"os", "time", "bcc", "docker", "socket", "subprocess"}


@pytest.mark.parametrize("path", FLOOR, ids=named)
def test_floors_import_no_edge(path: Path) -> None:
    assert not foreign_edges(path)
    if path.parent.name != "system":
        assert not imports(path) & {"os", "bcc", "docker", "socket", "subprocess"}


@pytest.mark.parametrize("edge", ["kernel", "containers", "recording"])
def test_edges_do_not_import_each_other(edge: str) -> None:
    for path in (PACKAGE / edge).glob("*.py"):
        assert not foreign_edges(path), path.name


def test_nobody_imports_what_stands_above() -> None:
    for path in MODULES:
        if PACKAGES[path.parent.name] != "Top":
            assert not {name for name in imports(path) if name.startswith(("tracer.wiring", "tracer.commands"))}, path


@pytest.mark.parametrize(("library", "owner"), [("bcc", "kernel/compiler.py")])
def test_one_importer(library: str, owner: str) -> None:
    users = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if library in imports(path)}
    assert users == {owner}


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys; from tracer.cli import nstrace\n"
        f"nstrace.main({words}, standalone_mode=False)\n"
        f"assert not {HEAVY!r} & set(sys.modules), {HEAVY!r} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr
    assert "follow" in done.stdout


def test_what_the_host_is_now_is_told_without_heavy_imports() -> None:
    heavy = HEAVY - {"msgspec"}
    modules = "tracer.host.translation, tracer.views.translation, tracer.host.numbers"
    code = f"import sys, {modules}; assert not {heavy!r} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("module", "end"), [("difflib", "ImportWarning"), ("sys", ""), ("no_such_module", "ModuleNotFoundError")]
)
def test_an_import_after_privileges_were_dropped_is_noticed(module: str, end: str) -> None:
    code = f"from tracer.system import imports; imports.load('json'); imports.seal(); import json, {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert (end in done.stderr) if end else not done.stderr


def test_no_two_test_files_have_one_name() -> None:
    """pytest imports them by their names alone: the second would hide the first."""
    names = [path.name for path in (PACKAGE.parent / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
