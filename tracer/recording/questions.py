"""Questions about some numbers as of some time -> the batches of a run that are read for them, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import numpy as np

from tracer.errors import NstraceError
from tracer.past.translation import Hindsight
from tracer.recording.keys import KeyArray, host_keys, keys_in
from tracer.recording.lookup import Batches, asked_in, batches_about
from tracer.recording.past import read_past
from tracer.recording.row_filter import RowFilter
from tracer.recording.source import RecordedSource
from tracer.stream.pidns import PidnsId
from tracer.typed.moments import Span
from tracer.typed.processes import Proc, Space, parse_space


def span_of(source: RecordedSource) -> Span:
    """From when to when all processes were reported, by the wall clock, as `Past.span`, but before anything was read;
    not for a stream."""
    first, offset_ns = source.recordings[0], source.wall_offset_ns
    first_ns, last_ns = first.range_ns()
    began_ns = first.facts.began_ns - offset_ns
    if first.facts.part > 1 or began_ns > last_ns:
        began_ns = last_ns if first_ns is None else first_ns
    return Span(began_ns + offset_ns, source.recordings[-1].range_ns()[1] + offset_ns)


def narrow(source: RecordedSource, procs: Sequence[Proc], window: Span, names_next: bool) -> None:
    """Let a source read no more than the answers about these PROCs in a window need. window: by the wall clock.
    names_next: as for `batches_about`. Not for a stream. Raises NstraceError for a container that was not recorded."""
    named = [proc for proc in procs if proc.space == Space.CONTAINER]
    keys = [_keys(proc, ()) for proc in procs if proc.space in (Space.HOST, Space.PIDNS)]
    if named:
        containers = facts_alone(source)
        keys += [_keys(proc, containers.spaces(proc)) for proc in named]
    narrow_to(source, np.concatenate([np.empty(0, np.uint32), *keys]), window, names_next)


def narrow_to(source: RecordedSource, keys: KeyArray, window: Span, names_next: bool) -> None:
    """As `narrow`, for these keys."""
    offset_ns = source.wall_offset_ns
    asked = asked_in(keys, window.begin_ns - offset_ns, window.end_ns - offset_ns)
    source.choice = batches_about(source.recordings, asked, names_next) if len(keys) else Batches()


def narrow_to_lines(source: RecordedSource, numbers: Iterable[int], inums: Iterable[int] | None, window: Span) -> None:
    """As `narrow`, for these numbers in each of these PID namespaces, None: on the host. Where the window is most of
    what was recorded nothing is gained, and nothing is done."""
    recorded = span_of(source)
    if 2 * (window.end_ns - window.begin_ns) > recorded.end_ns - recorded.begin_ns:
        return
    if inums is None:
        keys = host_keys(numbers)
    else:
        spaces, every = np.array(sorted(set(inums)), np.uint64), np.fromiter(numbers, np.uint32)
        keys = keys_in(np.repeat(spaces, len(every)), np.tile(every, len(spaces)))
    narrow_to(source, keys, window, names_next=False)


def facts_alone(source: RecordedSource) -> Hindsight:
    """What is known of containers and namespaces, of no process. Not for a stream."""
    again = RecordedSource([recording.again() for recording in source.recordings])
    again.choice = Batches()
    return Hindsight(read_past(again, RowFilter(())))


def inums_of(where: str, facts: Hindsight) -> set[int] | None:
    """The inode numbers of the PID namespaces that the part of a PROC before the slash may mean, None: the host's; with
    "*" those of all containers."""
    if where == "*":
        return {space.inum for space in facts.container_spaces}
    proc = Proc(*parse_space(where), 1, where)
    match proc.space:
        case Space.HOST:
            return None
        case Space.PIDNS:
            return {int(proc.where)}
        case _:
            with suppress(NstraceError):
                return {space.inum for space in facts.spaces(proc)}
            return set()


def _keys(proc: Proc, spaces: Iterable[PidnsId]) -> KeyArray:
    if proc.space == Space.HOST:
        return host_keys([proc.nr])
    inums = [int(proc.where)] if proc.space == Space.PIDNS else [space.inum for space in spaces]
    inums = [inum for inum in inums if inum < 1 << 32]  # no namespace has another
    return keys_in(np.array(inums, np.uint64), np.full(len(inums), proc.nr, np.uint32))
