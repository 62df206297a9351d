"""The local container engine, through the docker SDK: names, images, labels, states. The only importer of docker."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from tracer.errors import ExitCode, NstraceError

DEFAULT_SOCKET = "/var/run/docker.sock"
_PODMAN_SOCKET = "/run/podman/podman.sock"
_TIMEOUT_S = 2.0
_DESCRIBE_TIMEOUT_S = 0.5
_PAUSE_S = 5.0  # after a failure, the tracer is not held up again so soon


class Description(NamedTuple):
    """What the engine tells of a container."""

    name: str | None
    image: str | None
    labels: dict[str, str]


class FoundContainer(NamedTuple):
    """A container that the engine knows."""

    id: str
    name: str
    image: str
    running: bool


class Engine:
    """A connection to the engine. connect() makes one."""

    def __init__(self, client: Any, quick: Any, address: str) -> None:
        self._client, self._quick, self.address = client, quick, address
        self._not_before = 0.0

    @classmethod
    def connect(cls) -> Engine:
        """The engine of DOCKER_HOST, else the default one. Raises NstraceError where it is remote or silent."""
        address = _address()
        client = _open(address, _TIMEOUT_S)
        engine = cls(client, _open(address, _DESCRIBE_TIMEOUT_S), address)
        engine._ask(lambda: client.version())
        return engine

    def describe(self, container_id: str) -> Description | None:
        """Name, image and labels; None where the engine does not tell in time. Never raises.

        Asks for the list, not for the container: an inspection waits while the container starts.
        """
        if time.monotonic() < self._not_before:
            return None
        try:
            found = self._quick.containers(all=True, filters={"id": container_id})
        except Exception:  # whatever the SDK throws: names are a courtesy
            self._not_before = time.monotonic() + _PAUSE_S
            return None
        return next((_description(item) for item in found if item.get("Id") == container_id), None)

    def all(self) -> list[FoundContainer]:
        """Every container, running or not."""
        return [_found(item) for item in self._ask(lambda: self._client.containers(all=True))]

    def find(self, text: str) -> list[FoundContainer]:
        """Containers meant by a name or the beginning of an id, as docker resolves it."""
        containers = self.all()
        exact = [item for item in containers if text in (item.id, item.name)]
        return exact or [item for item in containers if item.id.startswith(text)]

    def state(self, container_id: str) -> str | None:
        """ "running", "exited", ...; None: there is no such container."""
        found = self._ask(lambda: self._client.containers(all=True, filters={"id": container_id}))
        return next((str(item.get("State")) for item in found if item.get("Id") == container_id), None)

    def _ask(self, question: Any) -> Any:
        try:
            return question()
        except Exception as error:  # the SDK's own, requests', urllib3's
            raise _unavailable(self.address, error) from error


def _address() -> str:
    host = os.environ.get("DOCKER_HOST", "")
    if host.startswith("unix://"):
        return host
    if host:
        raise NstraceError(
            f"DOCKER_HOST is {host}: a remote engine's PIDs mean nothing on this host",
            "unset DOCKER_HOST, or run nstrace on the engine's host",
        )
    if not Path(DEFAULT_SOCKET).exists() and Path(_PODMAN_SOCKET).exists():
        return f"unix://{_PODMAN_SOCKET}"
    return f"unix://{DEFAULT_SOCKET}"


def _open(address: str, timeout_s: float) -> Any:
    import docker

    timeout: Any = timeout_s  # requests takes fractions, the SDK's annotation does not

    try:
        return docker.APIClient(base_url=address, version="1.24", timeout=timeout)
    except Exception as error:
        raise _unavailable(address, error) from error


def _unavailable(address: str, error: Exception) -> NstraceError:
    if "Permission denied" in str(error):
        return NstraceError(
            f"the container engine on {address} is not ours to ask",
            "run it with sudo",
            ExitCode.NOT_PERMITTED,
            str(error),
        )
    return NstraceError(
        f"no container engine answers on {address}",
        "start it (systemctl start docker), or follow pid:N, pidns:INUM, host or all, which need none",
        detail=str(error),
    )


def _name(item: dict[str, Any]) -> str:
    names = item.get("Names") or ["/"]
    return str(min(names, key=lambda name: name.count("/"))).lstrip("/")  # links have two slashes


def _description(item: dict[str, Any]) -> Description:
    return Description(_name(item) or None, item.get("Image"), dict(item.get("Labels") or {}))


def _found(item: dict[str, Any]) -> FoundContainer:
    return FoundContainer(item["Id"], _name(item), str(item.get("Image")), item.get("State") == "running")
