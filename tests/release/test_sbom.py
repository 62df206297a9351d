"""The list of what a release is made of: the same each time, and the same libraries as in the lock file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tracer.version import VERSION

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "release"))
import locked  # noqa: E402


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sbom")
    paths = [folder / "one.json", folder / "two.json"]
    for path in paths:
        subprocess.run([sys.executable, ROOT / "release/sbom.py", path], check=True, timeout=60, capture_output=True)
    return paths


def test_it_is_the_same_each_time(files: list[Path]) -> None:
    one, two = (path.read_bytes() for path in files)
    assert one == two
    assert b"timestamp" not in one and b"serialNumber" not in one
    assert str(ROOT).encode() not in one and b"/tmp/" not in one


def test_it_is_what_is_locked(files: list[Path]) -> None:
    document = json.loads(files[0].read_text())
    lock = {(one.name, one.version): set(one.hashes) for one in locked.read(ROOT / "requirements.lock")}
    components = document["components"]
    assert {(one["name"], one["version"]) for one in components} == set(lock)
    for one in components:
        assert one["purl"] == f"pkg:pypi/{one['name']}@{one['version']}"
        hashes = {entry["content"] for place in one["externalReferences"] for entry in place.get("hashes", ())}
        assert hashes == lock[one["name"], one["version"]]
    itself = document["metadata"]["component"]
    assert (itself["name"], itself["version"]) == ("nstrace", VERSION)
    (needs,) = [entry["dependsOn"] for entry in document["dependencies"] if entry["ref"] == "nstrace"]
    assert set(needs) == {one["bom-ref"] for one in components}


def test_it_is_valid(files: list[Path]) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = files[0].read_text()
    version = SchemaVersion.from_version(json.loads(text)["specVersion"])
    assert JsonStrictValidator(version).validate_str(text) is None
