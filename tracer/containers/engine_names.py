"""One engine as a command asks it: when a name is needed, and again for a new container.

How long a command waits for engines in all is bounded, whatever it asks: an engine that is slow delays it by some
seconds, and is then taken for one that does not answer.
"""

from __future__ import annotations

import contextlib
import time
from functools import cached_property

from tracer.containers.address import Address, no_engine
from tracer.containers.channel import SLOW, Asked, Channel
from tracer.containers.messages import FoundContainer, Last
from tracer.errors import NstraceError
from tracer.stream.metadata import ExecFact

TIMEOUT_S = 2.0
"""The time limit of one answer."""
PATIENCE_S = 4.0
"""The time limit of all answers of root's engines together."""
STRANGERS_S = 0.5
"""That of all answers of users' engines."""
TOOLS_S, LOGS_S = 2.2, 1.0
"""That of all answers of a node's tools, and of its folders."""
_RENEWAL = 0.1  # of the time that passes: a filter that runs for days asks for days
_LIST_AGAIN_S = 1.0


class EngineNames:
    """What one engine says, or a node without one. is_trusted: whether it is an engine of root's. is_relied_on,
    may_know: as `Address` has them. error: why it does not answer. channel: to the process that asks it, which is
    started when it is needed first, or by `start`; None: it was not."""

    def __init__(self, address: Address, patience: Patience) -> None:
        """patience: of all engines that are waited for together."""
        self.is_trusted = address.owner is None and address.is_engine
        self.is_relied_on, self.may_know = address.is_relied_on, address.may_know
        self.error: NstraceError | None = None
        self.channel: Channel | None = None
        self._address, self._patience = address, patience
        self._listed: dict[str, FoundContainer] = {}
        self._listed_s = 0.0
        self._first_list: Asked | None = None

    def start(self) -> Channel:
        """Start the process that asks, unless it runs: before any thread does, and before privileges are given up.
        Raises NstraceError."""
        self.channel = self.channel or Channel.opened(self._address)
        return self.channel

    def prepare(self) -> None:
        """Ask for the first list, if there may be an engine, while the caller does something else."""
        with contextlib.suppress(NstraceError):
            if self._address.exists:
                self._first_list = self.start().ask_list(None, TIMEOUT_S)

    @cached_property
    def is_there(self) -> bool:
        """Whether it answers."""
        try:
            if not self._address.exists:
                raise no_engine(self._address.url, "there is no socket")
            self.start()
            self._list()
        except NstraceError as error:
            self.error = error
            return False
        return True

    @property
    def is_there_already(self) -> bool:
        """As `is_there`; of tools, which are slow, only where they were asked before."""
        return self.is_there if self.is_relied_on else bool(self._listed)

    @property
    def has_failed(self) -> bool:
        """Whether there may be an engine, and it did not answer as it should."""
        return self.error is not None and self.channel is not None

    def _list(self) -> None:
        assert self.channel
        asked, self._first_list = self._first_list, None
        try:
            asked = asked or self.channel.ask_list(None, self._patience.timeout_s())
            self._listed = self._patience.wait(self.channel, asked).found
        finally:
            self._listed_s = time.monotonic()

    def wait_longer(self) -> None:
        """Wait for it as for an engine of root's from now on, apart from all others."""
        self._patience = Patience(TIMEOUT_S)

    def get(self, container_id: str) -> FoundContainer | None:
        """The container with this id; None: it has none. Raises NstraceError."""
        if container_id not in self._listed:
            self.refresh()
        return self._listed.get(container_id)

    def refresh(self) -> None:
        """Ask for the list again where that of before is old. Raises NstraceError."""
        if time.monotonic() - self._listed_s > _LIST_AGAIN_S:
            self._list()

    @property
    def listed(self) -> dict[str, FoundContainer]:
        """All containers that it has listed, by id."""
        return self._listed

    def first_tgid(self, container_id: str) -> int | None:
        """The host PID of a container's first process, as it reports it; None: the container is not running. Raises
        NstraceError."""
        channel = self.start()
        return self._patience.wait(channel, channel.ask_first(container_id, self._patience.timeout_s())).tgid

    def last(self, container_id: str) -> Last | None:
        """How a container ended last. Raises NstraceError."""
        channel = self.start()
        return self._patience.wait(channel, channel.ask_last(container_id, self._patience.timeout_s())).last

    def execs(self, container_id: str) -> list[ExecFact]:
        """The execs that run in a container. Raises NstraceError."""
        channel, patience = self.start(), self._patience
        ids = patience.wait(channel, channel.ask_execs(container_id, patience.timeout_s())).execs
        found = (patience.wait(channel, channel.ask_exec(one, patience.timeout_s())).exec for one in ids)
        return [
            ExecFact(one, said.container_id, said.tgid, said.user, said.command, said.exit_code, said.probes)
            for one, said in zip(ids, found, strict=True)
            if said and said.container_id == container_id
        ]


class TooSlow(NstraceError):
    """The engine has been waited for too long, by all questions together."""


class Patience:
    """How long engines may yet be waited for. limit_s: at most."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s, self.left_s, self._at_s = limit_s, limit_s, time.monotonic()

    def timeout_s(self) -> float:
        """The time limit of the next answer. Raises NstraceError where there is no time left."""
        now_s = time.monotonic()
        self.left_s = min(self._limit_s, self.left_s + _RENEWAL * (now_s - self._at_s))
        self._at_s = now_s
        if self.left_s <= _RENEWAL:
            raise TooSlow("the container engine does not answer in time", SLOW)
        return min(TIMEOUT_S, self.left_s)

    def wait(self, channel: Channel, asked: Asked) -> Asked:
        """The answer. Raises NstraceError."""
        began_s = time.monotonic()
        try:
            channel.wait(asked)
        finally:
            self.left_s -= time.monotonic() - began_s
        return asked
