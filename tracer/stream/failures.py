"""Which rows report a failure. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracer.stream.batch import Batch, of_kind
from tracer.stream.known import Known
from tracer.stream.schema import NOTE_KINDS


def is_failure(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """The exits with another code than 0 or by a signal, and the execs that failed, shape (n,). rows: array of EVENT.
    How a process ended that ended unseen is not known, so it is none."""
    known = Known(rows)
    failed: NDArray[np.bool_] = known("status") & (rows["status"] != 0) | known("errno")
    return failed


def failures(batch: Batch) -> Batch:
    """The failures of a batch, and what says how complete the stream is."""
    return batch.select(is_failure(batch.rows) | of_kind(batch.rows, *NOTE_KINDS))
