"""Targets as typed -> targets as they are now: names become ids, PIDs become namespaces."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from tracer.containers.engine import Engine, FoundContainer
from tracer.errors import ExitCode, NstraceError
from tracer.targets import Target, TargetKind

_NEED_AN_ENGINE = (TargetKind.GLOB, TargetKind.LABEL, TargetKind.IMAGE, TargetKind.COMPOSE)
_SHOWN = 8


class Resolved(NamedTuple):
    """The targets, and the names of those containers among them that do not run now."""

    targets: tuple[Target, ...]
    not_running: tuple[str, ...]


def resolve(targets: tuple[Target, ...], engine: Callable[[], Engine], pidns_of: Callable[[int], int]) -> Resolved:
    """Look every target up; the engine is asked only where a target needs it.

    Raises NstraceError (NO_TARGET) for a container or process that there is not.
    """
    resolved, not_running = [], []
    for target in targets:
        if target.kind == TargetKind.PID:
            inum = pidns_of(int(target.value))
            target = replace(target, kind=TargetKind.PIDNS, value=str(inum))
        elif target.kind == TargetKind.NAME:
            container = _the_one(engine(), target.value)
            target = replace(target, kind=TargetKind.ID, value=container.id)
            if not container.running:
                not_running.append(container.name)
        elif target.kind in _NEED_AN_ENGINE:
            engine()
        resolved.append(target)
    return Resolved(tuple(resolved), tuple(not_running))


def _the_one(engine: Engine, text: str) -> FoundContainer:
    found = engine.find(text)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"{item.name} ({item.id[:12]})" for item in found[:_SHOWN])
        raise NstraceError(f"{text!r} is the beginning of several ids", f"one of {names}", ExitCode.NO_TARGET)
    raise NstraceError(f"no container named {text!r}", _near(text, engine.all()), ExitCode.NO_TARGET)


def _near(text: str, containers: list[FoundContainer]) -> str:
    near = difflib.get_close_matches(text, [item.name for item in containers], n=3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    running = [item.name for item in containers if item.running]
    return f"running: {', '.join(running[:_SHOWN])}" if running else "no container is running: docker ps -a"
