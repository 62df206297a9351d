"""The cgroup hierarchy that distinguishes containers: one rule for the probes and for /proc, so that they agree.

A process is in one cgroup of each hierarchy (cgroups(7)): with version 1, or 1 and 2 side by side, it can be in a
container by one and outside of it by another. Imports the standard library alone: the loader uses it.
"""

from __future__ import annotations

import contextlib
import re
import stat
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_CONTROLLERS = ("pids", "memory", "devices", "cpu")  # those that every runtime uses come first
UNIFIED = ""
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_USERS = re.compile(r"/user@([0-9]{1,9})\.service/")


@cache
def controller() -> str:
    """A controller of the hierarchy that counts on this host: one of version 1, or UNIFIED for version 2."""
    return choose(_mounts())


@cache
def directory() -> str | None:
    """The mount point of the hierarchy that counts on this host; None: it is not mounted."""
    return mounted_at(_mounts(), controller())


def _mounts() -> list[str]:
    return Path("/proc/self/mounts").read_text().splitlines()


def choose(mounts: Iterable[str]) -> str:
    """As `controller`, from the lines of /proc/self/mounts (proc(5)). Version 2 where /sys/fs/cgroup shows it; else the
    first controller of version 1 that is mounted anywhere."""
    fields = [line.split() for line in mounts]
    if any(mount[1] == "/sys/fs/cgroup" and mount[2] == "cgroup2" for mount in fields):
        return UNIFIED
    mounted = {option for mount in fields if mount[2] == "cgroup" for option in mount[3].split(",")}
    return next((name for name in _CONTROLLERS if name in mounted), UNIFIED)


def mounted_at(mounts: Iterable[str], counting: str) -> str | None:
    """The mount point of the hierarchy that counts, from the lines of /proc/self/mounts; None: it is not mounted.
    counting: as `controller` returns it."""
    for _device, directory, kind, options, *_rest in (line.split() for line in mounts):
        if kind == "cgroup2" if counting == UNIFIED else kind == "cgroup" and counting in options.split(","):
            return directory
    return None


def maker(path: str) -> int:
    """Who may make cgroups beside the one with this path, and so decides what they are called, as in `CgroupName`: the
    owner of the directory around it, with higher bits where others may write there. Where that cannot be seen (it has
    been removed, or we are in a cgroup namespace) systemd's names count: what is below user@UID.service is that
    user's."""
    mounted, above = directory(), path.rpartition("/")[0]
    with contextlib.suppress(OSError):
        if mounted and ".." not in above.split("/"):
            found = Path(f"{mounted}{above}").stat()
            return (found.st_mode & _OTHERS_WRITE) << 32 | found.st_uid
    users = _USERS.search(f"{above}/")
    return int(users[1]) if users else 0


def paths(text: str, counting: str) -> tuple[str, ...]:
    """The different paths in /proc/PID/cgroup (lines of hierarchy:controllers:path), first that of the hierarchy which
    counts, then version 2's. counting: as `controller` returns it."""
    rows = [line.split(":", 2) for line in text.split("\n") if line]  # a name may hold what str.splitlines() splits at
    rows.sort(key=lambda row: (counting not in row[1].split(","), row[0] != "0"))
    return tuple(dict.fromkeys(path for _hierarchy, _controllers, path in rows))
