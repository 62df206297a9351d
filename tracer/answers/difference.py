"""What two lives of a container, or two recordings, ran differently. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

_FACTOR, _LEAST_NS = 2.0, 10_000_000  # of durations that changed much


class Ran(NamedTuple):
    """How a command went. runs: execs; failed: exits with another code than 0; killed: by a signal; codes: the
    different exit codes, and signals; median_ns: of how long its processes lived; None: none has ended."""

    runs: int
    failed: int
    killed: int
    codes: tuple[str, ...]
    median_ns: int | None


class Difference(NamedTuple):
    """A command that differs. a and b: how it went on each side; None: it did not run. changed: what is different, by
    the names of `Ran`; () where one side did not run it."""

    command: str
    a: Ran | None
    b: Ran | None
    changed: tuple[str, ...]


def differences(a: Mapping[str, Ran], b: Mapping[str, Ran]) -> list[Difference]:
    """The commands that differ: those of a alone, those of b alone, then those of both; most runs first."""
    found = [
        Difference(command, a.get(command), b.get(command), changed)
        for command in {**a, **b}
        for changed in [tuple(_changes(a.get(command), b.get(command)))]
        if changed or command not in a or command not in b
    ]
    return sorted(found, key=lambda one: (_place(one), -_runs(one), one.command))


def _place(one: Difference) -> int:
    return 0 if one.b is None else 1 if one.a is None else 2


def _runs(one: Difference) -> int:
    return sum(side.runs for side in (one.a, one.b) if side)


def _changes(a: Ran | None, b: Ran | None) -> Iterator[str]:
    if a is None or b is None:
        return
    for name in ("runs", "failed", "killed", "codes"):
        if getattr(a, name) != getattr(b, name):
            yield name
    if a.median_ns is not None and b.median_ns is not None:
        less, more = sorted((a.median_ns, b.median_ns))
        if more >= _FACTOR * less and more - less >= _LEAST_NS:
            yield "median_ns"
