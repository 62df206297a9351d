"""Which hierarchy of cgroups tells containers apart: one rule for the probes and for /proc, so that they agree.

A process is in one cgroup of each hierarchy (cgroups(7)): with version 1, or 1 and 2 side by side, it can be in a
container by one and outside of it by another. Light: the loader imports nothing that is installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

_CONTROLLERS = ("pids", "memory", "devices", "cpu")  # those that every runtime uses come first
UNIFIED = ""


@cache
def controller() -> str:
    """A controller of the hierarchy that counts on this host: of version 1, or UNIFIED for version 2."""
    return choose(_mounts())


@cache
def directory() -> str | None:
    """Where the hierarchy that counts on this host is mounted; None: nowhere."""
    return mounted_at(_mounts(), controller())


def _mounts() -> list[str]:
    return Path("/proc/self/mounts").read_text().splitlines()


def choose(mounts: Iterable[str]) -> str:
    """The same from the lines of /proc/self/mounts (proc(5)). Version 2 where it is what /sys/fs/cgroup shows; else the
    first of version 1's that is mounted anywhere."""
    fields = [line.split() for line in mounts]
    if any(mount[1] == "/sys/fs/cgroup" and mount[2] == "cgroup2" for mount in fields):
        return UNIFIED
    mounted = {option for mount in fields if mount[2] == "cgroup" for option in mount[3].split(",")}
    return next((name for name in _CONTROLLERS if name in mounted), UNIFIED)


def mounted_at(mounts: Iterable[str], counting: str) -> str | None:
    """Where the hierarchy that counts is mounted, from the lines of /proc/self/mounts; None: nowhere. counting: as
    `controller` gives it."""
    for _device, directory, kind, options, *_rest in (line.split() for line in mounts):
        if kind == "cgroup2" if counting == UNIFIED else kind == "cgroup" and counting in options.split(","):
            return directory
    return None


def paths(text: str, counting: str) -> tuple[str, ...]:
    """The different paths in /proc/PID/cgroup (lines of hierarchy:controllers:path), that of the hierarchy which counts
    first, then version 2's. counting: as `controller` gives it."""
    rows = [line.split(":", 2) for line in text.split("\n") if line]  # a name may hold what str.splitlines() cuts at
    rows.sort(key=lambda row: (counting not in row[1].split(","), row[0] != "0"))
    return tuple(dict.fromkeys(path for _hierarchy, _controllers, path in rows))
