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
LOGS, TOOLS = "node:logs", "node:tools"
_ID = re.compile("[0-9a-f]{64}")


class Address(NamedTuple):
    """A socket, or what a node is asked without one. url: unix:///path, LOGS or TOOLS. owner: the user whose engine it
    is, a stranger, who alone may answer there; None: root's, or the one that DOCKER_HOST names. places: what is asked
    of the node, in the tables of `tracer.containers.node_questions`."""

    url: str
    owner: int | None = None
    places: tuple[int, ...] = ()

    @property
    def is_engine(self) -> bool:
        """Whether an engine answers there, with states, ends and events."""
        return self.url not in (LOGS, TOOLS)

    @property
    def is_relied_on(self) -> bool:
        """Whether an answer is worth waiting for: that of an engine of root's, and of folders; tools may be slow."""
        return self.owner is None and self.url != TOOLS

    def may_know(self, key: str) -> bool:
        """Whether it can be asked by this: engines know ids alone, folders of logs ids and pods."""
        if _ID.fullmatch(key):
            return True
        is_pod = key.startswith("pod:")
        return (self.url == LOGS and is_pod) or (self.url == TOOLS and not is_pod)

    @property
    def path(self) -> str:
        """The path of the socket."""
        return self.url.removeprefix(_PREFIX)

    @property
    def exists(self) -> bool:
        """Whether there is something at the path, as far as we may see."""
        if not self.is_engine:
            return True
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


def node_sources() -> tuple[Address, ...]:
    """What may name containers that no engine knows, in the order in which it is believed: the tools of runtimes, and
    the kubelet's folders of logs; where there are none, nothing."""
    from tracer.containers.node_connector import useful_logs, useful_tools

    found = Address(TOOLS, None, tuple(useful_tools())), Address(LOGS, None, tuple(useful_logs()))
    return tuple(address for address in found if address.places)


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
