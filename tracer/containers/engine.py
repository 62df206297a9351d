"""The local container engine, asked for names, images and labels. The only importer of the docker SDK.

Asks by list: inspect waits for the lock that a container holds while it starts. Only its first process is not in a
list.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from tracer.containers.cgroups import Description
from tracer.errors import ExitCode, NstraceError

if TYPE_CHECKING:
    from docker import APIClient

__all__ = ["Description", "Engine", "FoundContainer"]

DOCKER = "unix:///var/run/docker.sock"
PODMAN = "unix:///run/podman/podman.sock"

TIMEOUT_S = 2.0
_SILENCE_S = 5.0
_ID_DIGITS = 64
_ALIVE = ("running", "paused", "stopping")


@dataclass(frozen=True)
class FoundContainer:
    """A container that the engine lists. running: it has processes, be they paused."""

    id: str
    name: str
    image: str
    running: bool


class _Listed(msgspec.Struct, rename="pascal"):
    """One entry of GET /containers/json, as far as it is read."""

    id: str
    names: list[str] | None = None
    image: str | None = None
    labels: dict[str, str] | None = None
    state: str = ""

    @property
    def name(self) -> str | None:
        """Without the slash in front, and not a link's name (/other/alias); while it is removed it has none."""
        names = [name.removeprefix("/") for name in self.names or ()]
        return next((name for name in names if "/" not in name), None)

    @property
    def description(self) -> Description:
        return Description(self.name, self.image, self.labels or {})

    def found(self) -> FoundContainer:
        return FoundContainer(self.id, self.name or self.id[:12], self.image or "", self.state in _ALIVE)


class _State(msgspec.Struct, rename="pascal"):
    pid: int = 0


class _Inspected(msgspec.Struct, rename="pascal"):
    """Of GET /containers/ID/json what is read."""

    state: _State


class Engine:
    """An engine that has answered on its local socket. All methods but describe raise NstraceError when it fails."""

    def __init__(self, api: APIClient, address: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.address = address
        self._api = api
        self._clock = clock
        self._silent_until = clock()

    @staticmethod
    def connect(timeout_s: float = TIMEOUT_S, open_api: Callable[[str, float], Any] | None = None) -> Engine:
        """The engine on DOCKER_HOST, else docker's default socket, else podman's. Contexts are not read: what they
        name is mostly remote. open_api: (address, timeout) -> what asks it; the docker SDK where none is given."""
        open_api = open_api or _sdk
        host = os.environ.get("DOCKER_HOST", "").strip()
        if host:
            return Engine._open(_checked(host), timeout_s, open_api)
        try:
            return Engine._open(DOCKER, timeout_s, open_api)
        except NstraceError as error:
            if error.exit_code == ExitCode.NOT_PERMITTED:
                raise
            try:
                return Engine._open(PODMAN, timeout_s, open_api)
            except NstraceError:
                raise error from None

    @staticmethod
    def _open(address: str, timeout_s: float, open_api: Callable[[str, float], Any]) -> Engine:
        try:
            return Engine(open_api(address, timeout_s), address)
        except Exception as error:  # of the SDK, requests, urllib3 and json: the mix differs from release to release
            raise _failure(address, error) from error

    def close(self) -> None:
        """Give the connection back."""
        self._api.close()

    def describe(self, container_id: str, timeout_s: float = 0.5) -> Description | None:
        """Name, image and labels; None: not known, or not in time. Never raises, and after a failure or a slow answer
        does not ask for some seconds: the tracer must not wait."""
        began = self._clock()
        if began < self._silent_until or len(container_id) != _ID_DIGITS:
            return None
        try:
            listed = self._by_id(container_id, timeout_s)
        except NstraceError:
            self._silent_until = self._clock() + _SILENCE_S
            return None
        if self._clock() - began > timeout_s:  # each part came in time, the whole did not
            self._silent_until = self._clock() + _SILENCE_S
        return listed.description if listed else None

    def find(self, text: str) -> list[FoundContainer]:
        """What the engine itself would understand: the one with this id or name, else all whose ids begin so."""
        everyone = self.all()
        for exact in ([c for c in everyone if c.id == text], [c for c in everyone if c.name == text]):
            if exact:
                return exact
        return [container for container in everyone if container.id.startswith(text)]

    def all(self) -> list[FoundContainer]:
        """All containers, stopped ones too."""
        return [listed.found() for listed in self._list(TIMEOUT_S)]

    def state(self, container_id: str) -> str | None:
        """The engine's word: running, paused, restarting, exited, created, ...; None: there is no such container."""
        listed = self._by_id(container_id, TIMEOUT_S)
        return listed.state if listed else None

    def descriptions(self) -> dict[str, Description]:
        """What `describe` tells, of all containers by id."""
        return {listed.id: listed.description for listed in self._list(TIMEOUT_S)}

    def init_tgid(self, container_id: str) -> int | None:
        """The engine's word for the first process of a container, its host PID; None: it is not running."""
        self._api.timeout = TIMEOUT_S  # type: ignore[assignment]  # an int in the stub
        try:
            return msgspec.convert(self._api.inspect_container(container_id), _Inspected).state.pid or None
        except Exception as error:
            raise _failure(self.address, error) from error

    def _by_id(self, container_id: str, timeout_s: float) -> _Listed | None:
        # the engine's filter takes beginnings and patterns too
        return next((c for c in self._list(timeout_s, id=container_id) if c.id == container_id), None)

    def _list(self, timeout_s: float, **filters: str) -> list[_Listed]:
        self._api.timeout = timeout_s  # type: ignore[assignment]  # an int in the stub
        try:
            return msgspec.convert(self._api.containers(all=True, filters=filters), list[_Listed])
        except Exception as error:
            raise _failure(self.address, error) from error
        finally:
            self._api.close()  # the SDK keeps a connection for each URL, which holds a container's id here


def _sdk(address: str, timeout_s: float) -> APIClient:
    import docker

    timeout: Any = timeout_s  # requests takes fractions, the SDK's annotation does not
    return docker.APIClient(base_url=address, timeout=timeout)


def _checked(host: str) -> str:
    """DOCKER_HOST, where it is a socket of this host."""
    if host.startswith("unix:///"):
        return host
    hint = "unset DOCKER_HOST, or set it to unix:///path/of/the/socket"
    if host.startswith("unix:"):
        raise NstraceError(f"DOCKER_HOST={host!r} holds no absolute path", hint)
    raise NstraceError(f"DOCKER_HOST={host!r} is a remote engine: its PIDs mean nothing on this host", hint)


def _failure(address: str, error: Exception) -> NstraceError:
    """What the user can do about an exception of the SDK."""
    detail = f"{type(error).__name__}: {error}"
    causes = list(_causes(error))
    if any(isinstance(cause, PermissionError) for cause in causes):
        return NstraceError(
            f"no permission to ask the container engine on {address}",
            "run it with sudo",
            ExitCode.NOT_PERMITTED,
            detail,
        )
    for cause in causes:
        if explanation := _explanation(cause):
            return NstraceError(f"the container engine on {address} fails: {explanation}", detail=detail)
    return NstraceError(
        f"no container engine answers on {address}",
        "start it (systemctl start docker), or follow pid:N, pidns:INUM, host or all, which need none",
        detail=detail,
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and those behind it: urllib3 hands the system's on as an argument."""
    while error:
        yield error
        yield from (arg for arg in error.args if isinstance(arg, BaseException))
        error = error.__cause__ or error.__context__


def _explanation(error: BaseException) -> str:
    """The engine's own words (docker.errors.APIError), as one line that is safe to print; else nothing."""
    words: Any = getattr(error, "explanation", None)
    line = " ".join(str(words or "").split())[:200]
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
