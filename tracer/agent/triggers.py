"""Conditions on what is recorded, and the notes that say where one was true. In the recorder, without privileges.

A condition is evaluated once a batch, by columns. After a match its trigger waits until the window around that is over:
however many events match, there is an incident of each trigger every `after` at most.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from tracer.agent.config import Trigger
from tracer.agent.notes import Note, pack
from tracer.errors import NstraceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracer.ask.event_filter import EventFilter
    from tracer.stream.batch import Batch
    from tracer.wiring.live import LiveSource

_LEAST_S = 1.0  # between two incidents of a trigger


@dataclass
class _Armed:
    """A trigger. from_ns: matches before are of an incident that there is already."""

    number: int
    trigger: Trigger
    condition: EventFilter
    from_ns: int = 0


class Triggers:
    """Receives batches, notes matches. Made while there are privileges; raises NstraceError where a condition is
    wrong."""

    def __init__(self, triggers: Sequence[Trigger], channel: socket.socket, say: Callable[[str], None]) -> None:
        from tracer.wiring.conditions import filter_of

        self._channel, self._say = channel, say
        self._armed = []
        for number, trigger in enumerate(triggers):
            if condition := filter_of((trigger.where,)):
                self._armed.append(_Armed(number, trigger, condition))
        self._source: LiveSource | None = None

    def begin(self, source: LiveSource, host: str) -> None:
        """Whose batches come."""
        self._source = source
        for armed in self._armed:
            armed.condition.add_run(source.attribution, source.wall_offset_ns, host)

    def take(self, batch: Batch) -> None:
        """As `BatchSink.take`."""
        for armed in list(self._armed):
            try:
                self._look(armed, batch)
            except NstraceError as error:
                self._say(f"a trigger is off: {error.message}")
                self._armed.remove(armed)

    def _look(self, armed: _Armed, batch: Batch) -> None:
        assert self._source
        containers = self._source.attribution
        for at in np.flatnonzero(armed.condition.matching(batch, containers)).tolist():
            at_ns = int(batch.rows["ts_ns"][at])
            if at_ns >= armed.from_ns:
                armed.from_ns = at_ns + int(max(_LEAST_S, armed.trigger.after_s) * 1e9)
                note = Note(armed.number, at_ns, self._source.wall_offset_ns, *self._names(batch, at))
                with contextlib.suppress(BlockingIOError, ConnectionError):  # or the agent has ended
                    self._channel.send(pack(note))

    def _names(self, batch: Batch, at: int) -> tuple[str, str]:
        """The container, whichever life of it, and the cause, as parts of a name: without a dash but for that between
        what happened and to whom."""
        from tracer.stream.pidns import chain_of
        from tracer.stream.schema import Kind

        assert self._source
        row = batch.rows[at]
        container = self._source.attribution.container(chain_of(batch, at), int(row["cgroup_id"]))
        comm = bytes(row["comm"]).rstrip(b"\0").decode("ascii", "replace")
        kind = Kind(int(row["kind"])).name.lower()
        whose = msgspec.structs.replace(container, incarnation=1).label if container else "host"
        return whose, f"{kind}-{comm.replace('-', '_')}"
