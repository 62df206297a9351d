"""A connection to NATS, by nats-py: made when it is needed, given up when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.client import JetStreamContext

from tracer.fleet.access import Access
from tracer.fleet.sink import Refused, Unavailable

TIMEOUT_S = 5
for _name in ("asyncio", "nats"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # what goes wrong with a connection is said by us
_NO_STREAM = 10059  # JetStream's API: stream not found


_STORED = b"$JS.ACK."  # where to answer that a stored message was received; the server makes this for each
_OURS = re.compile(rb"nstrace-[a-z-]+:[ -~]*", re.IGNORECASE)


def headers_of_message(headers: bytes) -> bytes:
    """The headers of a stored message, as they were sent, without those that no publisher of ours sends."""
    ours = [line for line in headers.split(b"\r\n")[1:] if _OURS.fullmatch(line)]
    return b"\r\n".join([b"NATS/1.0", *ours, b"", b""]) if ours else b""


class _Client(Client):
    """As that of nats-py, which trusts what it should not.

    It leaves it to the server whether a connection is encrypted: what the server says of that comes in the clear, from
    anybody. Where TLS is asked for, nothing is said without it. And it takes headers of a stored message, which whoever
    has published it has made up, for words of the server: "Status: 404" for the end of what there is.

    It reads no more after an unexpected exception, and calls that connected: an answer that nobody waits for any more
    is enough (asyncio.InvalidStateError). Here that is the end of the connection.
    """

    async def _read_loop(self) -> None:
        await super()._read_loop()
        task = asyncio.current_task()
        if self.is_connected and not (task and task.cancelling()):
            await self._process_op_err(nats.errors.ProtocolError())

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if headers and reply.startswith(_STORED):
            headers = headers_of_message(headers)
        await super()._process_msg(sid, subject, reply, data, headers)

    def _connect_command(self) -> bytes:
        if "tls" in self.options and not self._server_info.get("tls_required"):
            raise nats.errors.SecureConnRequiredError
        return super()._connect_command()


class Connection:
    """To one of the servers of an access. The client reconnects by us alone: what it would keep meanwhile could be
    stored long after it was given up."""

    def __init__(self, access: Access, name: str) -> None:
        self._access, self._name = access, name
        self._client: Client | None = None
        self._first = 0  # the server to try first
        self._errors: list[str] = []  # that the server has said of this connection

    async def client(self) -> Client:
        """The client, connected. Raises Unavailable; Refused where a server does not let us in."""
        if self._client is not None and self._client.is_connected:
            return self._client
        await self.drop()
        servers, said = self._access.servers, ""
        for at in range(len(servers)):
            number = (self._first + at) % len(servers)
            try:
                self._client = await self._connected(servers[number])
            except Unavailable as error:
                said = str(error)
            else:
                self._first = number
                return self._client
        self._first += 1
        raise Unavailable(said if len(servers) == 1 else f"no server of {self._access.name} answers")

    async def _connected(self, server: str) -> Client:
        client = _Client()
        self._errors = errors = []

        async def note(error: Exception) -> None:
            errors.append(str(error))

        options: dict[str, Any] = {"tls": self._access.tls} if self._access.tls else {}
        if self._access.token:
            options["token"] = self._access.token
        if mine := self._access.credentials:
            options |= {"user_jwt_cb": mine.jwt.encode, "signature_cb": mine.signature}
        try:
            await asyncio.wait_for(
                client.connect(
                    server, name=self._name, allow_reconnect=False, max_reconnect_attempts=1,
                    connect_timeout=TIMEOUT_S, reconnect_time_wait=0, error_cb=note, ping_interval=10,
                    max_outstanding_pings=2, **options,
                ),
                TIMEOUT_S,
            )  # fmt: skip
        except (OSError, TimeoutError, nats.errors.Error, asyncio.IncompleteReadError) as error:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(client.close(), 1.0)
            if isinstance(error, nats.errors.SecureConnRequiredError):
                raise Refused(f"{server} does not encrypt, and TLS is asked for") from error
            texts = " ".join([*errors, str(error)])
            if "Authorization" in texts or "Authentication" in texts:
                raise Refused(f"{server} does not let us in: wrong or missing credentials") from error
            if "CERTIFICATE_VERIFY_FAILED" in texts:
                raise Refused(f"the certificate of {server} is not valid for us") from error
            raise Unavailable(f"no server answers at {server}") from error
        return client

    async def drop(self) -> None:
        """Disconnect; what is not sent yet is given up."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(client.close(), 1.0)

    @contextlib.asynccontextmanager
    async def jetstream(self, timeout_s: float = TIMEOUT_S) -> AsyncIterator[JetStreamContext]:
        """JetStream, connected; where something fails in the block, the connection is given up. Raises Unavailable,
        Refused."""
        client = await self.client()
        try:
            yield client.jetstream(timeout=timeout_s)
        except nats.errors.MaxPayloadError as error:
            raise Refused("it is larger than the server takes", client.max_payload) from error
        except (nats.js.errors.NoStreamResponseError, nats.errors.NoRespondersError) as error:
            raise Unavailable("no stream of the server takes our messages: nstrace fleet init makes it") from error
        except nats.js.errors.APIError as error:
            if error.err_code == _NO_STREAM:
                raise Unavailable("the server has no stream for us: nstrace fleet init makes it") from error
            raise Unavailable(f"the server says: {error.description or error}") from error
        except (OSError, TimeoutError, nats.errors.Error) as error:
            await self.drop()
            if denied := next((text for text in self._errors if "permissions violation" in text.lower()), ""):
                raise Refused(f"the server does not permit it: {denied.removeprefix('nats: ')}") from error
            raise Unavailable(f"{self._access.name} does not answer") from error
