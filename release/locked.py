"""A lock file, read: requirements with the hashes of their files, as pip --require-hashes takes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Locked:
    """One library in one version. hashes: SHA-256 of its files, in hexadecimal."""

    requirement: Requirement
    version: str
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The normalized name."""
        return canonicalize_name(self.requirement.name)

    @property
    def is_for_here(self) -> bool:
        """Whether it is installed for this Python and machine."""
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def read(path: Path) -> list[Locked]:
    """All of a lock file. Raises ValueError where a line is not one library in one version with hashes."""
    text = re.sub(r"^\s*#.*$", "", path.read_text(), flags=re.M)
    lines = [" ".join(line.split()) for line in text.replace("\\\n", " ").splitlines()]
    return [_locked(path, line) for line in lines if line]


def _locked(path: Path, line: str) -> Locked:
    wanted, *_ = line.split(" --hash=")
    try:
        requirement = Requirement(wanted)
    except InvalidRequirement as error:
        raise ValueError(f"{path.name}: {wanted!r} is no requirement") from error
    versions = list(requirement.specifier)
    if requirement.url or len(versions) != 1 or versions[0].operator != "==" or "*" in versions[0].version:
        raise ValueError(f"{path.name}: {wanted!r} is not one version")
    hashes = tuple(_HASH.findall(line))
    if not hashes or _HASH.sub("", line).strip() != wanted:
        raise ValueError(f"{path.name}: {requirement.name} has no SHA-256, or something else behind it")
    return Locked(requirement, versions[0].version, hashes)
