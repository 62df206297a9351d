"""Cgroup path -> container id, for every runtime: by what an engine lists, else by a table of patterns. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

_H = "[0-9a-f]{64}"
_HEX = re.compile(_H)
_TOP = r"\A(?:/\.\.)*"  # a private cgroup namespace shows what lies outside of it as /../..
_MAX_NESTED = 16  # containers in containers; what is below is the innermost's
_CONTAINERD_NAME = "[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*"  # identifiers.Validate() of containerd

_UNIT = r"[^/]*\.(?:slice|scope|service|mount|socket|swap)(?:/|\Z)"
_MAYBE_CONTAINERDS = re.compile(rf"(?!kubepods|{_UNIT}){_CONTAINERD_NAME}/(?!{_UNIT}){_CONTAINERD_NAME}")

# A runtime, what the last two parts of a path down to the container's own cgroup end with, and what stands above the
# last. The first that fits decides. Monitors of a container run outside of it and fit none: crio-conmon-H,
# libpod-conmon-H, lxc.monitor.NAME, NAME.service/supervisor.
_TABLE = tuple(
    (runtime, re.compile(ending + r"\Z"), re.compile(above))
    for runtime, ending, above in (
        ("docker", rf"/docker/({_H})", ""),
        ("docker", rf"[/:]docker[:-]({_H})(?:\.scope)?", ""),
        ("containerd", rf"[/:]cri-containerd[:-]({_H})(?:\.scope)?", ""),
        ("cri-o", rf"[/:]crio[:-]({_H})(?:\.scope)?", ""),
        ("podman", rf"[/:]libpod(?:-payload)?[:-]({_H})(?:\.scope)?", ""),
        ("nerdctl", rf"[/:]nerdctl[:-]({_H})(?:\.scope)?", ""),
        ("actions", rf"/actions_job/({_H})", ""),
        ("docker", rf"/({_H})", rf"{_TOP}/ecs/"),  # /ecs/<task>/<id>, of Amazon's agent
        ("lxc", r"/lxc\.payload[./]([^/]+)", ""),
        ("lxc", r"/lxc/(?!lxc\.)([^/]+)", ""),
        ("nspawn", r"/systemd-nspawn@([^/]+)\.service/payload", ""),
        ("nspawn", r"/machine-([^/]+)\.scope/payload", ""),
        ("containerd", rf"/({_H})", r"[/-]kubepods"),
        # /<namespace>/<id>; below libpod_parent it is a pod, below a unit it is not containerd's
        ("containerd", rf"/({_H})", rf"{_TOP}/(?!libpod_parent\Z|.*\.(?:slice|scope|service)\Z){_CONTAINERD_NAME}\Z"),
        ("containerd", rf"/({_CONTAINERD_NAME})", rf"{_TOP}/(?:default|k8s\.io)\Z"),
    )
)


# pod<uid>, or in a systemd slice's name with _ for -; the uid of a static pod is a hash of its manifest
_UID = "[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32}"
_POD = re.compile(rf"kubepods.*[-/]pod({_UID})(?:\.slice)?(?=[/:])")
_TASK = re.compile(rf"{_TOP}/ecs/(?:.*/)?([^/]+)/{_H}\Z")  # /ecs/<task>/<id>, before that /ecs/<cluster>/<task>/<id>


class Found(NamedTuple):
    """A container in a path. id: 64 hex digits, or where its runtime has no id but a name (lxc, nspawn, ctr) the path
    of its own cgroup: several may have the same name. name: that name; "": it has an id.

    depth: the container's own cgroup is the first depth components of the path.
    """

    runtime: str
    id: str
    depth: int
    name: str = ""

    @property
    def key(self) -> str:
        """By what a node is asked for it: its id, or runtime:name, of ctr containerd:namespace/name."""
        if not self.name:
            return self.id
        return f"{self.runtime}:{self.id if self.runtime == CONTAINERD else self.name}"


CONTAINERD = "containerd"
RuntimeOf = Callable[[str], str | None]
"""Id of 64 hex digits, or containerd:namespace/name -> the runtime of a container that an engine or a node lists by
this; None: none does."""


def claims(path: str, runtime_of: RuntimeOf = lambda _id: None) -> list[Found]:
    """The containers that a cgroup path (as in /proc/PID/cgroup) names, outermost first.

    A component that is an id which an engine lists is that engine's container, at any depth (docker run
    --cgroup-parent); the patterns are for what no engine knows. /namespace/name is one of containerd's where a node
    says so, for any namespace; default and k8s.io are known to be such. A hexadecimal id that is there more than once
    (an init system inside repeats the path that it sees) counts where it comes first; names do not, since a container
    may hold another of the same name.
    """
    parts = path.removesuffix(" (deleted)").removeprefix("/").split("/")
    found: list[Found] = []
    for depth in range(1, len(parts) + 1):
        maybe = _ends_at(parts, depth)
        if maybe is None or len(found) == _MAX_NESTED:
            continue
        is_hex = _HEX.fullmatch(maybe.id) is not None
        if is_hex and any(outer.id == maybe.id for outer in found):
            continue
        key = maybe.id if is_hex else f"{CONTAINERD}:{maybe.id}"
        listed = runtime_of(key) if is_hex or not maybe.runtime else None
        if runtime := listed or maybe.runtime:
            found.append(maybe._replace(runtime=runtime))
    return found


def find(path: str, runtime_of: RuntimeOf = lambda _id: None) -> Found | None:
    """The innermost container that a cgroup path names; None: there is none."""
    return next(reversed(claims(path, runtime_of)), None)


def pod_uid(path: str) -> str | None:
    """The uid of the Kubernetes pod of a container, from the path of its own cgroup; None: that names no pod."""
    found = _POD.search(path)
    return found[1].replace("_", "-") if found else None


def ecs_task(path: str) -> str | None:
    """The id of the task of Amazon's ECS, from the path of a container's own cgroup; None: that names none."""
    found = _TASK.search(path)
    return found[1] if found else None


def _ends_at(parts: list[str], depth: int) -> Found | None:
    """The container that may end at this depth; None: none. runtime "": only if an engine or a node lists it."""
    tail = _joined(parts[max(0, depth - 2) : depth])
    for runtime, ending, above in _TABLE:
        match = ending.search(tail)
        if match and above.search(_joined(parts[: depth - 1])):
            if _HEX.fullmatch(match[1]):
                return Found(runtime, match[1], depth)
            name = _unescaped(match[1]) if runtime == "nspawn" else match[1]
            return Found(runtime, _id_by_path(parts, depth), depth, name)
    if _HEX.fullmatch(parts[depth - 1]):
        return Found("", parts[depth - 1], depth)
    own = _id_by_path(parts, depth)
    return Found("", own, depth, parts[depth - 1]) if _MAYBE_CONTAINERDS.fullmatch(own) else None


def _id_by_path(parts: list[str], depth: int) -> str:
    """The path of a container's own cgroup, without what another cgroup namespace puts ahead of it."""
    return "/".join(part for part in parts[:depth] if part != "..")


def _joined(parts: list[str]) -> str:
    return "/" + "/".join(parts)


def _unescaped(name: str) -> str:
    """A machine's name from a unit's: of the characters in it only - is escaped there (systemd.unit(5))."""
    return name.replace(r"\x2d", "-")
