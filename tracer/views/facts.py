"""What a row about a container, or about a session in it, says: as words, and as the members of its JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from tracer.stream.metadata import LifeFact, SessionFact
from tracer.views.sessions import session_words

Fact = LifeFact | SessionFact


def words(fact: Fact) -> str:
    """For the column INFO."""
    return session_words(fact) if isinstance(fact, SessionFact) else fact.action


def members(fact: Fact) -> dict[str, Any]:
    """What the fact says, by the names of the JSON; what it does not say is not there."""
    return {name: value for name, value in msgspec.to_builtins(fact).items() if value is not None}
