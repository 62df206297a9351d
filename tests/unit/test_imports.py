"""The shape of the package: pure modules import no edge, edges not each other, only the loader imports bcc."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "tracer"
# Every module of these packages, and these modules: no I/O, no clock, no edge.
PURE_PACKAGES = ["answers", "past", "stream"]
PURE_MODULES = [
    *("account", "annotate", "attribution", "beginning", "brief", "errors", "events", "facts", "hints", "holding"),
    *("known", "leads", "losses", "moves", "pidns", "proc", "recent", "repair", "selection", "table", "targets"),
    *("containers/cgroups", "containers/paths", "kernel/wire"),
]
PURE = [f"{package}/{path.stem}" for package in PURE_PACKAGES for path in sorted((PACKAGE / package).glob("*.py"))]
EDGES = ["tracer.kernel", "tracer.containers", "tracer.host", "tracer.recording"]
HEAVY = {"bcc", "numpy", "msgspec", "pyarrow"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("module", [*PURE, *PURE_MODULES])
def test_pure_modules_import_no_edge(module: str) -> None:
    used = imports(PACKAGE / f"{module}.py")
    foreign = [edge for edge in EDGES if not f"tracer.{module.replace('/', '.')}".startswith(edge)]
    assert not {name for name in used if any(name.startswith(edge) for edge in foreign)}
    assert not used & {"os", "time", "bcc", "docker", "socket", "subprocess"}


@pytest.mark.parametrize("edge", ["kernel", "containers", "recording"])
def test_edges_do_not_import_each_other(edge: str) -> None:
    others = [name for name in EDGES if name != f"tracer.{edge}"]
    for path in (PACKAGE / edge).glob("*.py"):
        assert not {name for name in imports(path) if any(name.startswith(other) for other in others)}, path.name


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
    code = f"from tracer import imports; imports.load('json'); imports.seal(); import json, {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert (end in done.stderr) if end else not done.stderr


def test_no_two_test_files_have_one_name() -> None:
    """pytest imports them by their names alone: the second would hide the first."""
    names = [path.name for path in (PACKAGE.parent / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
