"""What a row about a container's life says: as words."""

from __future__ import annotations

from tracer.stream.metadata import LifeFact
from tracer.text.counted import counted
from tracer.text.times import duration
from tracer.views.killed import killed_by


def life_words(fact: LifeFact) -> str:
    """For the column INFO."""
    words = _words(fact)
    return f"{words} ({fact.doubt})" if fact.doubt else words


def _words(fact: LifeFact) -> str:
    match fact.action:
        case "stopped":
            return _end(fact)
        case "renamed" if fact.old_name:
            return f"renamed, before: {fact.old_name}"
        case "oom":
            who = f": {fact.victim} ({fact.victim_pid}) was killed" if fact.victim else ""
            return f"out of memory{who}"
        case "health" if fact.health:
            return f"health: {fact.health}"
        case "restarting":
            return "restarted by its engine"
        case _:
            return fact.action


def _end(fact: LifeFact) -> str:
    """How a life has ended: what is most important first, for a terminal may cut it."""
    parts = [f"stopped: {end_words(fact)}"]
    if fact.duration_ns is not None:
        parts[0] += f" after {duration(fact.duration_ns)}"
    parts[0] += memory_words(fact)
    if fact.signals:
        parts.append(f"engine sent {' '.join(sent.signal for sent in fact.signals)}")
    if fact.processes:
        parts.append(f"{counted(fact.processes, 'more process', 'es')} died with it")
    return ", ".join(parts)


def memory_words(fact: LifeFact) -> str:
    """That memory had run out before an end which has another cause."""
    return ", had run out of memory" if fact.oom and not (fact.killed_by and fact.killed_by.reason == "oom") else ""


def end_words(fact: LifeFact) -> str:
    """Exit code, or signal and who sent it."""
    if fact.signal:
        return f"{fact.signal}{killed_by(fact.killed_by, fact.first_pid or 0)}" if fact.killed_by else fact.signal
    return "ended unseen" if fact.exit_code is None else f"exit {fact.exit_code}"
