"""Which sockets engines may answer on."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tracer.errors import ExitCode, NstraceError

DOCKER = "unix:///var/run/docker.sock"
PODMAN = "unix:///run/podman/podman.sock"
USERS = "/run/user"
_OF_A_USER = ("docker.sock", "podman/podman.sock")
_MAX_USERS = 8
_PREFIX = "unix://"


class Address(NamedTuple):
    """A socket. url: unix:///path. owner: the user whose engine it is, a stranger, who alone may answer there; None:
    root's, or the one that DOCKER_HOST names."""

    url: str
    owner: int | None = None

    @property
    def path(self) -> str:
        """The path of the socket."""
        return self.url.removeprefix(_PREFIX)

    @property
    def exists(self) -> bool:
        """Whether there is something at the path, as far as we may see."""
        try:
            Path(self.path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, ValueError):
            return True
        return True


def addresses() -> tuple[Address, ...]:
    """DOCKER_HOST alone; else docker's default socket, podman's and users' that are there, at most some: in the order
    in which they are believed. Contexts are not read: they mostly name remote engines. Raises NstraceError where
    DOCKER_HOST is no socket of this host."""
    host = os.environ.get("DOCKER_HOST", "").strip()
    if not host:
        podman = [PODMAN] if Address(PODMAN).exists else []
        return (*_distinct(DOCKER, *podman), *itertools.islice(_of_users(), _MAX_USERS))
    if host.startswith(f"{_PREFIX}/"):
        return (Address(host),)
    hint = "unset DOCKER_HOST, or set it to unix:///path/of/the/socket"
    if host.startswith("/"):
        raise NstraceError(f"DOCKER_HOST={host!r} lacks its unix://", f"set it to {_PREFIX}{host}, or unset it")
    if host.startswith("unix:"):
        raise NstraceError(f"DOCKER_HOST={host!r} is not an absolute path", hint)
    raise NstraceError(f"DOCKER_HOST={host!r} is a remote engine: its PIDs mean nothing on this host", hint)


def _distinct(*urls: str) -> list[Address]:
    """Without those that lead to another one (podman-docker makes docker's socket a link to podman's)."""
    found = {os.path.realpath(Address(url).path): Address(url) for url in reversed(urls)}
    return list(reversed(found.values()))


def _of_users() -> Iterator[Address]:
    """The sockets in the users' runtime directories (pam_systemd(8))."""
    try:
        uids = sorted(int(name) for name in os.listdir(USERS) if re.fullmatch("[1-9][0-9]{0,9}", name))  # noqa: PTH208
    except OSError:
        return
    for uid, name in itertools.product(uids, _OF_A_USER):
        path = Path(USERS, str(uid), name)
        if path.is_socket():
            yield Address(f"{_PREFIX}{path}", uid)


def no_engine(address: str, detail: str = "") -> NstraceError:
    """The error where no engine answers on this address."""
    return NstraceError(
        f"no container engine answers on {address}",
        "start it (systemctl start docker), or use a TARGET that needs none: pid:N, pidns:INUM, host or all",
        ExitCode.FAILURE,
        detail,
    )
