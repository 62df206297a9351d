"""Cgroup path -> container id, for every runtime, by a table of patterns. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_H = "[0-9a-f]{64}"
_TOP = r"\A(?:/\.\.)*"  # a private cgroup namespace shows what lies outside of it as /../..
_CONTAINERD_NAME = "[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*"  # identifiers.Validate() of containerd

# runtime, and what a path ends with down to the container's own cgroup. The first that fits decides. Monitors of a
# container run outside of it and fit none: crio-conmon-H, libpod-conmon-H, lxc.monitor.NAME, NAME.scope/supervisor.
_TABLE = tuple(
    (runtime, re.compile(pattern + r"\Z", re.DOTALL))
    for runtime, pattern in (
        ("docker", rf"/docker/({_H})"),
        ("docker", rf"[/:]docker[:-]({_H})(?:\.scope)?"),
        ("containerd", rf"[/:]cri-containerd[:-]({_H})(?:\.scope)?"),
        ("cri-o", rf"[/:]crio[:-]({_H})(?:\.scope)?"),
        ("podman", rf"[/:]libpod(?:-payload)?[:-]({_H})(?:\.scope)?"),
        ("nerdctl", rf"[/:]nerdctl[:-]({_H})(?:\.scope)?"),
        ("actions", rf"/actions_job/({_H})"),
        ("lxc", r"/lxc\.payload[./]([^/]+)"),
        ("lxc", r"/lxc/(?!lxc\.)([^/]+)"),
        ("nspawn", r"/systemd-nspawn@([^/]+)\.service/payload"),
        ("nspawn", r"/machine-([^/]+)\.scope/payload"),
        ("containerd", rf"/(?:[^/]*-)?kubepods[^/]*/(?:.*/)?({_H})"),
        # /<namespace>/<id>; what stands alone below libpod_parent is a pod, below a unit it is not containerd's
        ("containerd", rf"{_TOP}/(?!libpod_parent/|[^/]*\.(?:slice|scope|service)/){_CONTAINERD_NAME}/({_H})"),
        ("containerd", rf"{_TOP}/(?:default|k8s\.io)/({_CONTAINERD_NAME})"),
    )
)


class Found(NamedTuple):
    """A container in a path. id: 64 hex digits, or a name where the runtime has no more (lxc, nspawn, ctr).

    depth: the container's own cgroup is the first depth components of the path.
    """

    runtime: str
    id: str
    depth: int


def find(path: str) -> Found | None:
    """The innermost container in a cgroup path (as in /proc/PID/cgroup); None: there is none.

    An id that is there more than once (an init system inside repeats its own path) counts where it comes first.
    """
    parts = path.removesuffix(" (deleted)").removeprefix("/").split("/")
    innermost: Found | None = None
    for depth in range(len(parts), 0, -1):
        found = _ends_at(parts, depth)
        if found and (innermost is None or found[:2] == innermost[:2]):
            innermost = found
    return innermost


def _ends_at(parts: list[str], depth: int) -> Found | None:
    head = "/" + "/".join(parts[:depth])
    for runtime, pattern in _TABLE:
        if match := pattern.search(head):
            return Found(runtime, _unescaped(match[1]) if runtime == "nspawn" else match[1], depth)
    return None


def _unescaped(name: str) -> str:
    """A machine's name from a unit's: of what it may hold only - is escaped there (systemd.unit(5))."""
    return name.replace(r"\x2d", "-")
