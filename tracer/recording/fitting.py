"""Rows that are larger than a recording holds, made to fit: what a reader would take for damage is not written."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracer.recording.limits import MAX_ARGS_BYTES, MAX_EXE_BYTES, MAX_FACT_BYTES, MAX_KILLER_BYTES
from tracer.stream.attribution import reported_owner
from tracer.stream.batch import Batch, Payload, of_kind
from tracer.stream.metadata import CgroupFact, Container
from tracer.stream.schema import CONTAINER_KINDS, Flag, Kind

_MAX_PATH = 1 << 12


def too_large(batch: Batch) -> NDArray[np.bool_]:
    """Which rows have a file name, arguments or a fact beyond the limits, shape (n,)."""
    rows = batch.rows
    is_fact = of_kind(rows, Kind.CGROUP, Kind.PIDNS, *CONTAINER_KINDS)
    found: NDArray[np.bool_] = (rows["exe_len"] > MAX_EXE_BYTES) | (rows["killer_len"] > MAX_KILLER_BYTES)
    return found | (rows["args_len"] > np.where(is_fact, np.uint32(MAX_FACT_BYTES), np.uint32(MAX_ARGS_BYTES)))


def fitted(batch: Batch) -> Batch:
    """The batch within the limits: file names and arguments are cut and marked as truncated, a container with too many
    labels has none."""
    large = too_large(batch)
    if not large.any():
        return batch
    rows, heap, at = batch.rows.copy(), [], 0
    for index in np.flatnonzero(large).tolist():
        row, payload = rows[index], batch.payload(index)
        exe, args = payload.exe[:MAX_EXE_BYTES], _smaller(int(row["kind"]), payload)
        row["exe_len"], row["args_len"] = len(exe), len(args)
        if row["kind"] not in (Kind.CGROUP, Kind.PIDNS):
            row["flags"] |= np.uint8(Flag.ARGS_TRUNCATED)
        start = int(batch.starts[index])
        heap += [batch.heap[at:start], payload.deep, payload.killer, exe, args]
        at = start + int(batch.lengths[index])
    return Batch(rows, b"".join([*heap, batch.heap[at:]]))


def _smaller(kind: int, payload: Payload) -> bytes:
    if len(payload.args) <= MAX_ARGS_BYTES:
        return payload.args
    if kind == Kind.CGROUP:
        fact = msgspec.json.decode(payload.args, type=CgroupFact)
        container = fact.container and _without_labels(fact.container)
        return msgspec.json.encode(CgroupFact(fact.path[:_MAX_PATH], container, fact.pending, fact.root))
    if kind == Kind.PIDNS and (owner := reported_owner(payload.args)):
        return msgspec.json.encode(_without_labels(owner))
    return payload.args[:MAX_ARGS_BYTES]


def _without_labels(container: Container) -> Container:
    """Without labels, and with as much of its names as fits."""
    name, image = container.name and container.name[:_MAX_PATH], container.image and container.image[:_MAX_PATH]
    engine = container.engine and container.engine[:_MAX_PATH]
    container_id, runtime = container.id[:_MAX_PATH], container.runtime[:_MAX_PATH]
    return Container(container_id, runtime, name, image, {}, container.incarnation, engine)
