"""What scripts/audit finds in lock files, and in a list of advisories."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "release"))
import locked  # noqa: E402

HASH = "a" * 64
PROJECT = """
[project]
name = "nstrace"
dependencies = ["Click>=8.1", "rich>=13"]
[project.optional-dependencies]
test = ["pytest>=8"]
dev = ["nstrace[test]", "ruff"]
bench = []
"""
RUNTIME = f"""# by scripts/lock
click==8.1.7 \\
    --hash=sha256:{HASH} \\
    --hash=sha256:{"b" * 64}
rich==14.0.0 ; python_version >= "3.0" \\
    --hash=sha256:{HASH}
"""
DEVELOPMENT = RUNTIME + "".join(f"{one} --hash=sha256:{HASH}\n" for one in ("pytest==8.3.1", "ruff==0.9"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "requirements.lock").write_text(RUNTIME)
    (tmp_path / "requirements-dev.lock").write_text(DEVELOPMENT)
    return tmp_path


def audit(root: Path, *args: str | Path) -> tuple[int, list[str]]:
    argv = [sys.executable, ROOT / "release/audit.py", "--root", root, *args]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert not done.stderr
    return done.returncode, [line.removeprefix("audit: ") for line in done.stdout.splitlines()]


def test_a_lock_that_is_in_order(root: Path) -> None:
    assert audit(root, "--offline") == (0, ["advisories were not looked at: --offline", "4 libraries, 0 findings"])
    assert audit(root, "--offline", "--require")[0] == 1


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("x>=1 --hash=sha256:" + HASH, "'x>=1' is not one version"),
        ("x==1.* --hash=sha256:" + HASH, "'x==1.*' is not one version"),
        ("x==1", "x has no SHA-256"),
        ("x==1 --hash=md5:" + HASH[:32], "x has no SHA-256"),
        (f"x==1 --hash=sha256:{HASH} --index-url=https://example.org", "something else behind it"),
        ("x @ https://example.org/x.whl --hash=sha256:" + HASH, "is not one version"),
        ("-r other.txt", "is no requirement"),
        ("--index-url https://example.org", "is no requirement"),
    ],
)
def test_a_line_that_pip_would_not_check(line: str, finding: str, root: Path) -> None:
    (root / "requirements-dev.lock").write_text(f"{DEVELOPMENT}{line}\n")
    code, (said,) = audit(root, "--offline")
    assert code == 1
    assert said.startswith("requirements-dev.lock: ") and finding in said


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_what_is_wanted_and_not_locked(name: str, root: Path) -> None:
    file = root / name
    file.write_text(file.read_text().replace("click==8.1.7", "click==8.0.0"))
    code, said = audit(root, "--offline")
    assert code == 1
    assert f"{name}: pyproject.toml wants Click>=8.1: run scripts/lock" in said
    assert "click is not the same in requirements.lock and requirements-dev.lock: run scripts/lock" in said


def advisory(name: str, *events: dict[str, str], **more: Any) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": list(events)}] if events else []
    return {
        "id": f"PYSEC-{name}",
        "affected": [{"package": {"ecosystem": "PyPI", "name": name}, "ranges": ranges, **more}],
    }


ADVISORIES = {
    "a range that is open": (advisory("click", {"introduced": "0"}), True),
    "a range": (advisory("CLICK", {"introduced": "8.0"}, {"fixed": "8.1.8"}), True),
    "fixed in it": (advisory("click", {"introduced": "0"}, {"fixed": "8.1.7"}), False),
    "fixed, out of order": (advisory("click", {"fixed": "8.1.7"}, {"introduced": "0"}), False),
    "the last that is weak": (advisory("click", {"introduced": "0"}, {"last_affected": "8.1.7"}), True),
    "another was the last": (advisory("click", {"introduced": "0"}, {"last_affected": "8.1.6"}), False),
    "again since": (advisory("click", {"introduced": "0"}, {"fixed": "7"}, {"introduced": "8.1.0"}), True),
    "later": (advisory("click", {"introduced": "9"}), False),
    "listed": (advisory("pytest", versions=["8.3.1"]), True),
    "not listed": (advisory("pytest", versions=["8.3.2"]), False),
    "no version": (advisory("click", {"introduced": "0"}, {"fixed": "what?"}), True),
    "another library": (advisory("clack", {"introduced": "0"}), False),
    "withdrawn": ({**advisory("click", {"introduced": "0"}), "withdrawn": "2024-01-01T00:00:00Z"}, False),
    "no PyPI": (
        {"id": "X", "affected": [{"package": {"ecosystem": "npm", "name": "click"}, "versions": ["8.1.7"]}]},
        False,
    ),
    "commits": ({"id": "X", "affected": [{"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}]}, False),
}


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "folder"])
@pytest.mark.parametrize("name", ADVISORIES)
def test_a_list_that_was_brought_here(name: str, is_zip: bool, root: Path) -> None:
    content, is_weak = ADVISORIES[name]
    if is_zip:
        with zipfile.ZipFile(root / "all.zip", "w") as archive:
            archive.writestr("A.json", json.dumps(content))
    else:
        (root / "all").mkdir()
        (root / "all/A.json").write_text(json.dumps(content))
    code, (*found, summary) = audit(root, "--require", "--advisories", root / ("all.zip" if is_zip else "all"))
    assert (code, summary) == (int(is_weak), f"4 libraries, {int(is_weak)} findings")
    assert len(found) == is_weak
    assert all(f"'{content['id']}'" in line for line in found)


def test_an_empty_list_is_no_list(root: Path) -> None:
    (root / "all").mkdir()
    code, said = audit(root, "--advisories", root / "all")
    assert (code, said[0]) == (1, f"there is no advisory in {root / 'all'}")


def test_our_own_lock_files_are_in_order() -> None:
    code, said = audit(ROOT, "--offline")
    assert code == 0, said
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text and "index" not in text
        assert len(locked.read(ROOT / name)) > 4


def test_they_fit_other_machines_and_pythons() -> None:
    """Files for arm64 and for the Pythons of Debian 12 and 13 are among the hashes."""
    compiled = {"numpy", "pyarrow", "msgspec"}
    for one in locked.read(ROOT / "requirements.lock"):
        assert one.name not in compiled or len(one.hashes) > 10, one.name
        assert Requirement(str(one.requirement)).url is None


def test_a_file_that_is_not_the_locked_one_is_not_installed(tmp_path: Path) -> None:
    """What pip does with such a file, by which scripts/setup lives."""
    wheel = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("x-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: x\nVersion: 1\n")
        archive.writestr("x-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("x-1.dist-info/RECORD", "")
    (tmp_path / "lock").write_text(f"x==1 --hash=sha256:{HASH}\n")
    argv = [sys.executable, "-m", "pip", "download", "-qq", "--no-index", "--find-links", str(tmp_path), "--no-deps"]
    argv += ["--require-hashes", "-r", str(tmp_path / "lock"), "-d", str(tmp_path / "into")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode
    assert "DO NOT MATCH THE HASHES" in done.stderr
    (tmp_path / "lock").write_text(f"y==1 --hash=sha256:{HASH}\n")
    assert "No matching distribution found" in subprocess.run(argv, capture_output=True, text=True, timeout=60).stderr
