"""What the stream has said of each session so far: the SESSION rows of a live stream and of a recording alike. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from tracer.stream.batch import Batch
from tracer.stream.lru import Lru
from tracer.stream.metadata import SessionFact
from tracer.stream.schema import Kind

_MAX_SESSIONS = 8192


class ToldSessions:
    """Receives every batch. Of at most _MAX_SESSIONS sessions the latest row is known, those that were asked for
    last."""

    def __init__(self) -> None:
        self._facts: Lru[int, SessionFact] = Lru(_MAX_SESSIONS)

    def get(self, number: int) -> SessionFact | None:
        """What was said of this session; None: nothing."""
        return self._facts.get(number) if number else None

    def split_and_learn(self, batch: Batch) -> Iterator[Batch]:
        """As `Attribution.split_and_learn`: each part is yielded when what it says is known, and nothing after it."""
        if not batch.has(Kind.SESSION):
            yield batch
            return
        done = 0
        for at in np.flatnonzero(batch.rows["kind"] == Kind.SESSION).tolist():
            if at > done:
                yield batch.part(done, at)
                done = at
            fact = msgspec.json.decode(batch.payload(at).args, type=SessionFact)
            self._facts.put(fact.number, fact)
        yield batch.part(done, len(batch))
