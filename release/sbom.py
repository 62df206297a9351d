"""Writes what a release is made of: scripts/sbom [FILE]. CycloneDX's own tool makes it of requirements.lock; what it
leaves open is filled in from pyproject.toml: name, version and licence of nstrace itself, and that it needs the rest.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tracer.version import VERSION  # noqa: E402


def made(lock: Path) -> dict[str, Any]:
    """The document, from a lock file."""
    argv = [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible", "--of", "JSON", str(lock)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    document: dict[str, Any] = json.loads(done.stdout)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    itself = {
        "bom-ref": project["name"],
        "type": "application",
        "name": project["name"],
        "version": VERSION,
        "description": project["description"],
        "licenses": [{"license": {"id": project["license"]}}],
        "purl": f"pkg:pypi/{project['name']}@{VERSION}",
    }
    document["metadata"] = {**document.get("metadata", {}), "component": itself}
    for component in document["components"]:
        component["bom-ref"] = component["purl"]  # it is the number of a line
        del component["description"]  # the line itself
    needed = sorted(component["bom-ref"] for component in document["components"])
    document["dependencies"] = [{"ref": one} for one in needed] + [{"ref": project["name"], "dependsOn": needed}]
    return document


def main() -> int:
    """Write it, twice, and compare."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / f"build/nstrace-{VERSION}.cdx.json"
    first, second = (json.dumps(made(ROOT / "requirements.lock"), indent=1, sort_keys=True) for _ in range(2))
    if first != second:
        print("sbom: the same lock file gave two different documents", file=sys.stderr)
        return 1
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(first + "\n")
    print(f"sbom: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
