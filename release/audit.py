"""Looks at the libraries that are locked.

    scripts/audit                    what can be seen without a network, then pip-audit, if its service answers
    scripts/audit --advisories PATH  a list of advisories that was brought here, instead of pip-audit: OSV's export of
                                     PyPI (all.zip), or a folder of such JSON files
    scripts/audit --offline          without any list
    scripts/audit --require          fails where no list was looked at

Without a network it shows: every library has one version and SHA-256 hashes, nothing comes by URL; what pyproject.toml
wants is locked, in a version that it allows; what is installed here is what is locked. With a list: which of these
versions are known to be weak. It does not show: weaknesses that nobody has reported; whether nstrace uses the code that
is weak; Python, BCC, libbpf and the kernel, which the distribution looks after. A version that an advisory neither
lists nor has in a range counts as good. The exit code is 1 where something was found.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from locked import Locked, read
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parents[1]
RUNTIME, DEVELOPMENT = "requirements.lock", "requirements-dev.lock"
EXTRAS = ("dev", "bench")
_TIMEOUT_S = 120


def main() -> int:
    """Look, print, and return the exit code."""
    parser = argparse.ArgumentParser(
        "scripts/audit", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--advisories", type=Path, metavar="PATH")
    parser.add_argument("--offline", action="store_true")
    parser.add_argument("--require", action="store_true")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        locks = {name: read(options.root / name) for name in (RUNTIME, DEVELOPMENT)}
    except (OSError, ValueError) as error:
        print(f"audit: {error}")
        return 1
    everything = {(one.name, one.version): one for lock in locks.values() for one in lock}
    found = [*unlocked(options.root, locks), *different(locks), *not_installed(options.root, locks[DEVELOPMENT])]
    looked = True
    if options.advisories:
        found += weak(list(everything.values()), options.advisories)
    elif options.offline or (answer := asked(options.root)) is None:
        looked = False
        print("audit: advisories were not looked at: " + ("--offline" if options.offline else "no service answers"))
    else:
        found += answer
    for line in found:
        print(f"audit: {line}")
    print(f"audit: {len(everything)} libraries, {len(found)} findings")
    return 1 if found or (options.require and not looked) else 0


def unlocked(root: Path, locks: dict[str, list[Locked]]) -> Iterator[str]:
    """What pyproject.toml wants and a lock does not have, or not in such a version."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {RUNTIME: project["dependencies"]}
    wanted[DEVELOPMENT] = [*project["dependencies"], *_all_of(extras, project["name"], EXTRAS)]
    for name, requirements in wanted.items():
        for requirement in map(Requirement, requirements):
            have = [one.version for one in locks[name] if one.name == canonicalize_name(requirement.name)]
            if not have or not all(requirement.specifier.contains(version, prereleases=True) for version in have):
                yield f"{name}: pyproject.toml wants {requirement}: run scripts/lock"


def _all_of(extras: dict[str, list[str]], project: str, names: Any) -> Iterator[str]:
    for name in names:
        for requirement in map(Requirement, extras[name]):
            if requirement.name == project:
                yield from _all_of(extras, project, sorted(requirement.extras))
            else:
                yield str(requirement)


def different(locks: dict[str, list[Locked]]) -> Iterator[str]:
    """What the two lock files have in different versions or with different hashes."""
    development = {(one.name, one.version): one.hashes for one in locks[DEVELOPMENT]}
    for one in locks[RUNTIME]:
        if development.get((one.name, one.version)) != one.hashes:
            yield f"{one.name} is not the same in {RUNTIME} and {DEVELOPMENT}: run scripts/lock"


def not_installed(root: Path, lock: list[Locked]) -> Iterator[str]:
    """What is in the checkout's environment in another version than the one that is locked."""
    if Path(sys.prefix) != root / ".venv":
        return
    for one in lock:
        if one.is_for_here:
            installed = metadata.version(one.name)
            if installed != one.version:
                yield f"{one.name} {installed} is installed here, {one.version} is locked: run scripts/setup"


def asked(root: Path) -> list[str] | None:
    """What pip-audit finds; None: no service answers it."""
    argv = [sys.executable, "-m", "pip_audit", "--requirement", DEVELOPMENT, "--require-hashes", "--disable-pip"]
    argv += ["--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    try:
        done = subprocess.run(argv, cwd=root, capture_output=True, text=True, timeout=_TIMEOUT_S)
        answers = json.loads(done.stdout)["dependencies"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError):
        return None
    unknown = [one["name"] for one in answers if "skip_reason" in one]  # the index may be one without advisories
    if len(unknown) == len(answers):
        return None
    if unknown:
        print(f"audit: no advisories could be looked up for {', '.join(unknown)}")
    return [f"{one['name']} {one['version']}: {known['id']}" for one in answers for known in one.get("vulns", ())]


def weak(libraries: list[Locked], path: Path) -> Iterator[str]:
    """Which of these versions an advisory names. path: OSV's advisories, one JSON file each, in a folder or a zip."""
    by_name: dict[str, list[Locked]] = {}
    for one in libraries:
        by_name.setdefault(one.name, []).append(one)
    count = 0
    for advisory in _advisories(path):
        count += 1
        for affected in () if advisory.get("withdrawn") else advisory.get("affected", ()):
            package = affected.get("package", {})
            name = canonicalize_name(package.get("name", "")) if package.get("ecosystem") == "PyPI" else ""
            for one in by_name.get(name, ()):
                if _is_affected(affected, one.version):
                    yield f"{one.name} {one.version}: {advisory.get('id', '?')!a}"
    if not count:
        yield f"there is no advisory in {path}"


def _advisories(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_dir():
        yield from (json.loads(file.read_bytes()) for file in sorted(path.glob("*.json")))
        return
    with zipfile.ZipFile(path) as archive:
        yield from (json.loads(archive.read(name)) for name in sorted(archive.namelist()) if name.endswith(".json"))


def _is_affected(affected: dict[str, Any], version: str) -> bool:
    """As OSV's schema says: a version that is listed, or in a range of the ecosystem's own order."""
    if version in affected.get("versions", ()):
        return True
    ranges = (one for one in affected.get("ranges", ()) if one.get("type") == "ECOSYSTEM")
    return any(_is_in(one.get("events", ()), Version(version)) for one in ranges)


def _is_in(events: Any, version: Version) -> bool:
    """Events in their order: introduced begins, fixed ends before that version, last_affected with it."""
    inside = False
    for at, kind in sorted(_moments(events)):
        if kind == "introduced" and version >= at:
            inside = True
        elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            inside = False
    return inside


def _moments(events: Any) -> Iterator[tuple[Version, str]]:
    for event in events:
        for kind, text in event.items():
            with contextlib.suppress(InvalidVersion):
                yield Version(text), kind


if __name__ == "__main__":
    sys.exit(main())
