"""What is checked of a decoded batch before anything else sees it: times, texts and facts are within the limits.

What is larger, or lies outside of the calendar, was not written by nstrace (`tracer.recording.limits`).
"""

from __future__ import annotations

import msgspec
import numpy as np

from tracer.recording.columns import InvalidColumns
from tracer.recording.fitting import too_large
from tracer.recording.index import Index
from tracer.recording.indexer import is_always
from tracer.recording.keys import keys_of
from tracer.recording.limits import MAX_BOOT_NS, MAX_COUNT, MAX_FACTS, is_possible
from tracer.stream.attribution import fact_of, reported_owner
from tracer.stream.batch import Batch, of_kind
from tracer.stream.metadata import CgroupFact, Container, Killer
from tracer.stream.schema import CONTAINER_KINDS, Kind

_TIMES = ("ts_ns", "start_ns", "parent_start_ns")


class Checks:
    """Checks the batches of one recording, which may hold MAX_FACTS facts altogether."""

    def __init__(self) -> None:
        self._facts_left = MAX_FACTS

    def check(self, batch: Batch) -> None:
        """Raises InvalidColumns where a batch holds what no version of nstrace writes."""
        rows = batch.rows
        if not len(rows):
            return
        for name in _TIMES:
            if rows[name].max() > MAX_BOOT_NS:
                raise InvalidColumns(f"a {name} that is not plausible")
        if too_large(batch).any():
            raise InvalidColumns("a row with more text than nstrace writes")
        gaps = rows["seq"][rows["kind"] == Kind.GAP]
        if len(gaps) and gaps.max() > MAX_COUNT:
            raise InvalidColumns("a number of lost events that is not plausible")
        self._check_facts(batch)
        for index in np.flatnonzero(rows["killer_len"]).tolist():
            try:
                msgspec.json.decode(batch.payload(index).killer, type=Killer)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                raise InvalidColumns("a sender of a signal that cannot be read") from error

    def _check_facts(self, batch: Batch) -> None:
        rows = batch.rows
        is_fact = of_kind(rows, Kind.CGROUP, *CONTAINER_KINDS) | (rows["kind"] == Kind.PIDNS) & (rows["args_len"] > 0)
        places = np.flatnonzero(is_fact).tolist()
        self._facts_left -= len(places)
        if self._facts_left < 0:
            raise InvalidColumns(f"more than {MAX_FACTS} cgroups")
        for index in places:
            try:
                container = _container_in(batch, index)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                raise InvalidColumns("a container that cannot be read") from error
            has_not_lived = container and container.incarnation == 0 and rows["kind"][index] in CONTAINER_KINDS
            if container and not has_not_lived and not is_possible("incarnation", container.incarnation):
                raise InvalidColumns("a container whose incarnation is not plausible")


def check_fits(batch: Batch, index: Index) -> None:
    """Raises InvalidColumns where rows of a batch, all or some, are not what its metadata says: by that readers skip
    batches."""
    rows = batch.rows
    if not len(rows):
        return
    if rows["ts_ns"].min() < index.first_ns or rows["ts_ns"].max() > index.last_ns:
        raise InvalidColumns("metadata with other times than its rows")
    if not index.always and is_always(rows).any():
        raise InvalidColumns("metadata that does not tell of rows that are always needed")
    keys = index.keys()
    if keys is not None and not keys.may_have(keys_of(batch)).all():
        raise InvalidColumns("metadata that does not tell of all its numbers")


def _container_in(batch: Batch, index: int) -> Container | None:
    kind, args = batch.rows["kind"][index], batch.payload(index).args
    if kind in CONTAINER_KINDS:
        return fact_of(batch, index).container
    return msgspec.json.decode(args, type=CgroupFact).container if kind == Kind.CGROUP else reported_owner(args)
