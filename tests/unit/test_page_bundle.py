"""The script that is checked in is made of the sources that are, and has the licences of what is in it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUNDLE = (ROOT / "tracer/views/page/page.js").read_text()


def test_the_script_is_of_these_sources() -> None:
    sources = [ROOT / "page/package-lock.json", *sorted((ROOT / "page/src").glob("*.js"))]
    expected = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    assert f"sources: {expected}" in BUNDLE, "run scripts/page"


def test_the_licences_of_the_libraries_are_in_it() -> None:
    wanted = json.loads((ROOT / "page/package.json").read_text())["dependencies"]
    licences = BUNDLE.partition("*/")[0]
    for name in [*wanted, "d3-array", "d3-interpolate", "d3-transition"]:
        assert re.search(rf"\n{name}\nCopyright .*\n", licences)
    assert licences.count("THE SOFTWARE IS PROVIDED") >= len(wanted)


def test_the_versions_are_fixed_and_no_registry_is_named() -> None:
    package = json.loads((ROOT / "page/package.json").read_text())
    versions = [*package["dependencies"].values(), *package["devDependencies"].values()]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)
    assert "://" not in re.sub(r'"(url|funding)": ".*"', "", (ROOT / "page/package-lock.json").read_text())


def test_nothing_in_the_script_ends_it() -> None:
    assert not re.search("</script|<!--", BUNDLE, re.IGNORECASE)
