"""Where batches go: a server that stores them. What a publisher needs of it, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec


class Message(msgspec.Struct, frozen=True):
    """What is stored. what: EVENTS or ALIVE of `tracer.fleet.names`; id: no other message ever has it; headers: of
    `tracer.fleet.envelope`; payload: bytes that a sink does not look into."""

    what: str
    id: str
    headers: dict[str, str]
    payload: bytes


class Unavailable(Exception):
    """The server does not store it now: it may later. The message says why, in words for people."""


class Refused(Exception):
    """The server does not store it, now or later. The message says why; limit: how many bytes a message may have."""

    def __init__(self, why: str, limit: int = 0) -> None:
        super().__init__(why)
        self.limit = limit


class Sink(Protocol):
    """A server. Every method may be called again after it has failed; only one runs at a time."""

    async def open(self) -> int:
        """Connect. Returns how many bytes the payload of a message may have. Raises Unavailable; Refused where the
        server knows us and does not let us in."""

    async def store(self, message: Message) -> None:
        """Returns when the server has stored the message for good, or had before: a message that is sent again with
        the same id is stored once, as far as the server remembers ids. Raises Unavailable, Refused."""

    async def last(self) -> Mapping[str, str] | None:
        """The headers of this host's latest batch in the server, `Nats-Msg-Id` with its id among them; None: there is
        none. Raises Unavailable."""

    async def close(self) -> None:
        """Disconnect."""
