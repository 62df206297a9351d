"""What a row about a container, or about a session in it, says: as words, and as the members of its JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from tracer.stream.killers import killer_object
from tracer.stream.metadata import LifeFact, SessionFact
from tracer.views.lives import life_words
from tracer.views.sessions import session_words

Fact = LifeFact | SessionFact


def words(fact: Fact) -> str:
    """For the column INFO."""
    return session_words(fact) if isinstance(fact, SessionFact) else life_words(fact)


def members(fact: Fact) -> dict[str, Any]:
    """What the fact says, by the names of the JSON; what it does not say is not there."""
    said = msgspec.to_builtins(fact)
    if isinstance(fact, LifeFact):
        signals = [sent.signal for sent in fact.signals] if fact.signals else None
        killer = killer_object(fact.killed_by) if fact.killed_by else None
        said |= {"said_by": fact.said_by, "signals": signals, "killed_by": killer}
    return {name: value for name, value in said.items() if value is not None}
