"""The engine's HTTP interface without its SDK, whose import alone takes longer than a whole answer may.

Offers what `tracer.containers.engine` uses of docker.APIClient, under the same names.
"""

from __future__ import annotations

import http.client
import socket
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

_MAX_ANSWER_BYTES = 64 << 20


class Refused(Exception):
    """The engine's answer was an error. explanation: its own words."""

    def __init__(self, status: int, explanation: str) -> None:
        super().__init__(f"{status}: {explanation}")
        self.status = status
        self.explanation = explanation


class _Message(msgspec.Struct):
    message: str = ""


class DirectApi:
    """Asks the engine on a local socket that answers; a connection for each question. Raises OSError, Refused,
    http.client.HTTPException or msgspec.MsgspecError."""

    def __init__(self, address: str, timeout: float) -> None:
        self.timeout = timeout
        self._path = address.removeprefix("unix://")
        self._version = msgspec.json.decode(self._get("/version"))

    def close(self) -> None:
        """There is nothing to give back."""

    def version(self) -> Any:
        """GET /version, decoded, as it was answered first."""
        return self._version

    def containers(self, all: bool, filters: dict[str, list[str]]) -> Any:
        """GET /containers/json, decoded."""
        query = {"all": str(int(all))}
        if filters:
            query["filters"] = msgspec.json.encode(filters).decode()
        return msgspec.json.decode(self._get(f"/containers/json?{urlencode(query)}"))

    def inspect_container(self, container_id: str) -> Any:
        """GET /containers/ID/json, decoded."""
        return msgspec.json.decode(self._get(f"/containers/{quote(container_id, safe='')}/json"))

    def _get(self, path: str) -> bytes:
        connection = _UnixConnection("localhost", timeout=self.timeout)
        connection.path = self._path
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read(_MAX_ANSWER_BYTES)
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise Refused(answer.status, _explanation(body))
        return body


class _UnixConnection(http.client.HTTPConnection):
    path = ""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def _explanation(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Message).message
    except msgspec.MsgspecError:
        return ""
