"""The local container engine, asked for names, images and labels.

Asks by list: inspect waits for the lock that a container holds while it starts. Only the first process of a container
is not in a list.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

import msgspec

from tracer.containers.cgroups import Description
from tracer.containers.http_api import TIMEOUT_S, HttpApi, Refused
from tracer.errors import ExitCode, NstraceError

T = TypeVar("T")

DOCKER = "unix:///var/run/docker.sock"
PODMAN = "unix:///run/podman/podman.sock"

_ALIVE = ("running", "paused", "stopping")


@dataclass(frozen=True)
class FoundContainer:
    """A container that the engine lists. running: it has processes, paused or not. state: the engine's word for it."""

    id: str
    name: str
    image: str
    running: bool
    state: str = field(default="", compare=False)
    description: Description = field(default=Description(None, None), compare=False)


class _Listed(msgspec.Struct, rename="pascal"):
    """An entry of GET /containers/json: the members that are read."""

    id: str
    names: list[str] | None = None
    image: str | None = None
    labels: dict[str, str] | None = None
    state: str = ""

    @property
    def name(self) -> str | None:
        """The name without its leading slash, and not a link's (/other/alias); None while the container is removed."""
        names = [name.removeprefix("/") for name in self.names or ()]
        return next((name for name in names if "/" not in name), None)

    def found(self, runtime: str) -> FoundContainer:
        description = Description(self.name, self.image, self.labels or {}, runtime)
        name, image = self.name or self.id[:12], self.image or ""
        return FoundContainer(self.id, name, image, self.state in _ALIVE, self.state, description)


class _State(msgspec.Struct, rename="pascal"):
    pid: Annotated[int, msgspec.Meta(ge=0)] = 0


class _Inspected(msgspec.Struct, rename="pascal"):
    """The members of GET /containers/ID/json that are read."""

    state: _State


class _Component(msgspec.Struct, rename="pascal"):
    name: str = ""


class _Version(msgspec.Struct, rename="pascal"):
    """The members of GET /version that are read."""

    components: list[_Component] | None = None


class Engine:
    """An engine that has answered on its local socket. All methods raise NstraceError where it fails."""

    def __init__(self, address: str) -> None:
        """address: unix:///path of its socket."""
        self.address = address
        self._api = HttpApi(address.removeprefix("unix://"))
        self._runtime = ""

    @staticmethod
    def connect(timeout_s: float = TIMEOUT_S) -> Engine:
        """The engine on DOCKER_HOST, else docker's default socket, else podman's; it has answered. Contexts are not
        read: they mostly name remote engines."""
        host = os.environ.get("DOCKER_HOST", "").strip()
        if host:
            return Engine._open(_checked(host), timeout_s)
        try:
            return Engine._open(DOCKER, timeout_s)
        except NstraceError as error:
            if error.exit_code == ExitCode.NOT_PERMITTED:
                raise
            try:
                return Engine._open(PODMAN, timeout_s)
            except NstraceError:
                raise error from None

    @staticmethod
    def _open(address: str, timeout_s: float) -> Engine:
        engine = Engine(address)
        engine._name(timeout_s)
        return engine

    def find(self, text: str) -> list[FoundContainer]:
        """As the engine itself resolves it: the container with this id or name, else all whose ids begin with it."""
        everyone = self.all()
        for exact in ([c for c in everyone if c.id == text], [c for c in everyone if c.name == text]):
            if exact:
                return exact
        return [container for container in everyone if container.id.startswith(text)]

    def all(self) -> list[FoundContainer]:
        """All containers, stopped ones too."""
        return list(self.listed(None, TIMEOUT_S).values())

    def listed(self, ids: Collection[str] | None, timeout_s: float) -> dict[str, FoundContainer]:
        """By id, those of these containers that exist, stopped ones too. ids: None: all containers."""
        runtime = self._name(timeout_s)
        if ids is not None and not ids:
            return {}
        filters = {} if ids is None else {"id": sorted(ids)}  # matches beginnings and patterns too
        found = self._ask(lambda: self._api.containers(filters, timeout_s), list[_Listed])
        return {one.id: one.found(runtime) for one in found if ids is None or one.id in ids}

    def init_tgid(self, container_id: str) -> int | None:
        """The host PID of a container's first process, as the engine reports it; None: the container is not running."""
        found = self._ask(lambda: self._api.inspect_container(container_id), _Inspected)
        return found.state.pid or None

    def _name(self, timeout_s: float) -> str:
        """docker or podman, which has the same interface."""
        if not self._runtime:
            version = self._ask(lambda: self._api.version(timeout_s), _Version)
            names = [component.name for component in version.components or ()]
            self._runtime = "podman" if any(name.startswith("Podman") for name in names) else "docker"
        return self._runtime

    def _ask(self, question: Callable[[], bytes], answer: type[T]) -> T:
        try:
            return msgspec.json.decode(question(), type=answer)
        except (OSError, Refused, http.client.HTTPException, msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise _failure(self.address, error) from error


def _checked(host: str) -> str:
    """The value of DOCKER_HOST, if it is a socket of this host. Raises NstraceError."""
    if host.startswith("unix:///"):
        return host
    hint = "unset DOCKER_HOST, or set it to unix:///path/of/the/socket"
    if host.startswith("unix:"):
        raise NstraceError(f"DOCKER_HOST={host!r} is not an absolute path", hint)
    raise NstraceError(f"DOCKER_HOST={host!r} is a remote engine: its PIDs mean nothing on this host", hint)


def _failure(address: str, error: Exception) -> NstraceError:
    """The error, with what the user can do about it."""
    detail = f"{type(error).__name__}: {error}"
    if isinstance(error, PermissionError):
        return NstraceError(
            f"no permission to ask the container engine on {address}",
            "run it with sudo",
            ExitCode.NOT_PERMITTED,
            detail,
        )
    if isinstance(error, Refused) and (explanation := _one_line(error.explanation)):
        return NstraceError(f"the container engine on {address} fails: {explanation}", detail=detail)
    if not isinstance(error, OSError):
        message = f"the container engine on {address} gives an answer that cannot be read"
        return NstraceError(message, "is this an engine? DOCKER_HOST names its socket", detail=detail)
    return NstraceError(
        f"no container engine answers on {address}",
        "start it (systemctl start docker), or name pid:N, pidns:INUM, host or all, which need none",
        detail=detail,
    )


def _one_line(words: str) -> str:
    """The engine's own message on one line, safe to print."""
    line = " ".join(words.split())[:200]
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
