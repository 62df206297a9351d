"""The names of containers, for a command that asks and waits: of all engines of this host, and of the node itself.

Root's engines go before those of users, which are strangers: a name or an id that one of root's has is never theirs,
and what else they say is believed of that user's containers alone (`Description.owner`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping

from tracer.containers.address import TOOLS, addresses, node_sources
from tracer.containers.answers import Answer, Silence, is_id
from tracer.containers.channel import Channel
from tracer.containers.engine_names import LOGS_S, PATIENCE_S, STRANGERS_S, TOOLS_S, EngineNames, Patience, TooSlow
from tracer.containers.messages import FoundContainer, Last, Nonsense
from tracer.containers.together import together
from tracer.errors import NstraceError
from tracer.stream.metadata import ExecFact
from tracer.system.process_owner import runs_under

_HASTE_S = 1.0


class Names:
    """Names and other facts from engines; works without one. error: why there is none, or why one of root's does not
    answer. doubts: what engines have said of processes that cannot be, or why they were not asked any more, a line
    each. runs_under: (PID, user) -> whether the process is that user's; replaced where privileges are given up."""

    def __init__(self) -> None:
        self.error: NstraceError | None = None
        self.doubts: dict[str, None] = {}
        self.runs_under = runs_under
        self._patience = Patience(PATIENCE_S)
        strangers = Patience(STRANGERS_S)
        self._engines: list[EngineNames] = []
        self._node = [EngineNames(one, Patience(TOOLS_S if one.url == TOOLS else LOGS_S)) for one in node_sources()]
        try:
            for address in addresses():
                self._engines.append(EngineNames(address, self._patience if address.owner is None else strangers))
        except NstraceError as error:
            self.error = error

    def prepare(self) -> None:
        """Ask for the first lists, where there may be an engine, while the caller does something else."""
        for engine in self._engines:
            engine.prepare()
        self._start_node()

    def _start_node(self) -> None:
        """Start what asks the node: it is asked when no engine has a name."""
        for source in self._node:
            with contextlib.suppress(NstraceError):
                source.start()

    def start(self) -> list[Channel]:
        """Start all processes that ask: before any thread runs, and before privileges are given up. Returns the
        channels to them; none where DOCKER_HOST names no engine of this host."""
        for engine in self._engines:
            with contextlib.suppress(NstraceError):
                engine.start()
        self._start_node()
        return self._channels()

    def engines(self) -> list[tuple[Channel, Mapping[str, FoundContainer] | None]]:
        """After `start`: the channels, and what the engine of each has listed; None: it does not answer."""
        listed = {engine.channel: engine.listed if engine.is_there else None for engine in self._engines}
        listed |= {source.channel: source.listed if source.is_there_already else None for source in self._node}
        self._note_failures()
        return [(channel, listed[channel]) for channel in self._channels()]

    @property
    def has_logs(self) -> bool:
        """Whether this is a node of Kubernetes, whose folders of logs name containers."""
        return any(source.is_relied_on for source in self._node)

    @property
    def is_there(self) -> bool:
        """Whether an engine answers."""
        return next(self._answering(), None) is not None

    @property
    def has_failed(self) -> bool:
        """Whether there may be an engine of root's that does not answer as it should."""
        return any(engine.has_failed for engine in self._engines if engine.is_trusted)

    @property
    def may_come(self) -> bool:
        """Whether no engine answers, and one of root's has a socket: it hangs, or is being restarted."""
        silent = (engine for engine in self._engines if engine.is_trusted and engine.has_failed)
        return not self.is_there and any(engine.channel and engine.channel.address.exists for engine in silent)

    def _answering(self) -> Iterator[EngineNames]:
        """The engines that answer, in the order in which they are believed."""
        nobody = True
        for engine in self._engines:
            if engine.is_there:
                nobody = False
                yield engine
        self._note_failures()
        if nobody:
            self.error = self.error or next((engine.error for engine in self._engines), None)

    def _note_failures(self) -> None:
        failed = (engine.error for engine in self._engines if engine.is_trusted and engine.has_failed)
        self.error = self.error or next(failed, None)

    def require(self) -> None:
        """Raises NstraceError where no engine answers."""
        if not self.is_there:
            assert self.error
            raise self.error

    def hurry(self) -> None:
        """From now on wait for engines no longer than a moment in all: events wait meanwhile."""
        self._patience.left_s = min(_HASTE_S, self._patience.left_s)

    def close(self) -> None:
        """End the processes that ask."""
        for channel in self._channels():
            channel.close()

    def leave(self) -> None:
        """Leave the processes that ask to another one that has been forked."""
        for channel in self._channels():
            channel.leave()

    def _channels(self) -> list[Channel]:
        return [engine.channel for engine in (*self._engines, *self._node) if engine.channel]

    def describe(self, container_id: str) -> Answer:
        """What the first engine that knows a container reports of it, or else the node. container_id: or a key of the
        node's. Never raises."""
        asked = (one for one in (*self._engines, *self._node) if one.may_know(container_id))
        answer = together((one.is_relied_on, self._said_by(one, container_id)) for one in asked)
        self._note_failures()
        return answer

    def _said_by(self, engine: EngineNames, container_id: str) -> Answer:
        if not engine.is_there:
            return Silence.NO_ANSWER if engine.has_failed else Silence.NO_ENGINE
        try:
            found = engine.get(container_id)
        except NstraceError as error:
            self.error = error if engine.is_trusted else self.error
            return Silence.NO_ANSWER
        return found.description if found else None

    def first_tgid(self, container_id: str) -> int | None:
        """The host PID of a container's first process, as its engine reports it; None: it is not running, or its id is
        a name, which no engine has. Raises NstraceError where the engine does not answer, or reports what can be no
        PID."""
        if not is_id(container_id):
            return None
        self.require()
        answering = list(self._answering())
        engine = next((one for one in answering if container_id in one.listed), answering[0])
        try:
            return engine.first_tgid(container_id)
        except (Nonsense, TooSlow) as error:
            self.doubts[error.message] = None
            raise

    def last(self, container_id: str) -> Last | None:
        """How a container ended last, as its engine reports it; None: no engine knows it. Raises NstraceError."""
        answering = list(self._answering())
        if engine := next((one for one in answering if container_id in one.listed), None):
            return engine.last(container_id)
        for one in answering:  # it may be newer than the lists
            with contextlib.suppress(NstraceError):
                return one.last(container_id)
        return None

    def init_tgid(self, container_id: str) -> int | None:
        """As `first_tgid`; None also where the engine does not report it."""
        try:
            return self.first_tgid(container_id) if self.is_there else None
        except NstraceError:
            return None

    def execs(self, container_id: str) -> list[ExecFact]:
        """The execs that run in a container, as its engine reports them; none where it does not answer."""
        if not self.is_there:
            return []
        engines = [one for one in self._answering() if container_id in one.listed]
        with contextlib.suppress(NstraceError):
            return engines[0].execs(container_id) if engines else []
        return []

    def listed(self) -> list[FoundContainer]:
        """The containers that engines have listed, stopped ones too."""
        found: dict[str, FoundContainer] = {}
        for engine in self._answering():
            found |= {container_id: one for container_id, one in engine.listed.items() if container_id not in found}
        return list(found.values())

    def running(self) -> list[FoundContainer]:
        """The containers that run, as engines list them."""
        return [found for found in self.listed() if found.running]

    def inits(self, but: Collection[str]) -> dict[int, str]:
        """The first processes of all running containers except these: host PID -> id. Those of users' containers that
        do not run under that user are left out."""
        found_by_pid = {self.init_tgid(found.id): found for found in self.running() if found.id not in but}
        return {tgid: found.id for tgid, found in found_by_pid.items() if tgid and self._may_be(found, tgid)}

    def _may_be(self, found: FoundContainer, tgid: int) -> bool:
        owner = found.description.owner
        return owner is None or self.runs_under(tgid, owner)

    def find(self, text: str) -> list[FoundContainer]:
        """As an engine itself resolves it: the container with this id or name, else all whose ids begin with it; those
        of users only where root's engines have none. Raises NstraceError."""
        everyone = self.all()
        for of_strangers in (False, True):
            found = _resolved(text, [one for one in everyone if (one.description.owner is not None) is of_strangers])
            if found:
                self._wait_for(found)
                return found
        return []

    def _wait_for(self, found: Iterable[FoundContainer]) -> None:
        """Be patient with engines of users for what somebody has asked for by name."""
        ids = {one.id for one in found if one.description.owner is not None}
        for engine in self._engines:
            if not engine.is_trusted and not ids.isdisjoint(engine.listed):
                engine.wait_longer()

    def all(self) -> list[FoundContainer]:
        """As `listed`, as of now. Raises NstraceError."""
        for engine in self._answering():
            with contextlib.nullcontext() if engine.is_trusted else contextlib.suppress(NstraceError):
                engine.refresh()
        return self.listed()


def _resolved(text: str, everyone: list[FoundContainer]) -> list[FoundContainer]:
    for exact in ([c for c in everyone if c.id == text], [c for c in everyone if c.name == text]):
        if exact:
            return exact
    return [container for container in everyone if container.id.startswith(text)]
