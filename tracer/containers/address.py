"""Which sockets an engine may answer on."""

from __future__ import annotations

import os
from pathlib import Path

from tracer.errors import ExitCode, NstraceError

DOCKER = "unix:///var/run/docker.sock"
PODMAN = "unix:///run/podman/podman.sock"
_PREFIX = "unix://"


def addresses() -> tuple[str, ...]:
    """DOCKER_HOST alone, else docker's default socket and podman's, in the order in which they are tried. Contexts are
    not read: they mostly name remote engines. Raises NstraceError where DOCKER_HOST is no socket of this host."""
    host = os.environ.get("DOCKER_HOST", "").strip()
    if not host:
        return DOCKER, PODMAN
    if host.startswith(f"{_PREFIX}/"):
        return (host,)
    hint = "unset DOCKER_HOST, or set it to unix:///path/of/the/socket"
    if host.startswith("unix:"):
        raise NstraceError(f"DOCKER_HOST={host!r} is not an absolute path", hint)
    raise NstraceError(f"DOCKER_HOST={host!r} is a remote engine: its PIDs mean nothing on this host", hint)


def path_of(address: str) -> str:
    """The path of an address."""
    return address.removeprefix(_PREFIX)


def no_engine(address: str, detail: str = "") -> NstraceError:
    """The error where no engine answers on this address."""
    return NstraceError(
        f"no container engine answers on {address}",
        "start it (systemctl start docker), or use a TARGET that needs none: pid:N, pidns:INUM, host or all",
        ExitCode.FAILURE,
        detail,
    )


def exists(address: str) -> bool:
    """Whether there is something at the path of an address, as far as we may see."""
    try:
        Path(path_of(address)).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return True
