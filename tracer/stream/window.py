"""What of a stream belongs to a window of time. Times are boottime. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracer.stream.batch import Batch
from tracer.stream.schema import Kind

_LATEST_NS = np.iinfo(np.uint64).max


def up_to(batch: Batch, end_ns: int) -> Batch:
    """The batch, in which a gap that began before the end of a window, and went on behind it, ends with the window. A
    gap stands where it ends: else a window that ends within it would look as if nothing was missing. Its count stays:
    so many events were lost in it at most."""
    if not batch.has(Kind.GAP) or end_ns > _LATEST_NS:
        return batch
    rows = batch.rows
    goes_on = (rows["kind"] == Kind.GAP) & (rows["start_ns"] <= end_ns) & (rows["ts_ns"] > end_ns)
    if not goes_on.any():
        return batch
    rows = rows.copy()
    rows["ts_ns"][goes_on] = end_ns
    return Batch(rows, batch.heap)


def within(rows: NDArray[np.void], begin_ns: int, end_ns: int) -> NDArray[np.bool_]:
    """Which rows are of the window, its ends included, shape (n,)."""
    times = rows["ts_ns"]
    result: NDArray[np.bool_] = (times >= max(0, begin_ns)) & (times <= min(max(0, end_ns), int(_LATEST_NS)))
    return result
