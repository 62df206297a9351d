"""The table with many living processes: its memory, an update and a lookup. Prints MiB, us and us.

python -m bench.living PROCESSES
"""

import gc
import mmap
import sys
import time
from pathlib import Path

import numpy as np

from bench.synthetic import PIDNS, batch
from tracer.stream.batch import Batch
from tracer.stream.pidns import PidnsId
from tracer.stream.schema import Kind
from tracer.stream.table import Table

PER_SPACE = 50  # processes of a PID namespace
_FIRST_TGID = 1_000_000
_BATCH = 300


def births(first: int, count: int) -> Batch:
    """A batch of forks, each process with a number of its own, in namespaces of PER_SPACE."""
    lives = batch(count, first)
    born = lives.select(lives.rows["kind"] == Kind.FORK)
    order = first + np.arange(count)
    born.rows["tgid"] = _FIRST_TGID + order
    born.rows["chain"]["nr"][:, 0], born.rows["chain"]["inum"][:, 0] = 1 + order % PER_SPACE, PIDNS + order // PER_SPACE
    return born


def main() -> None:
    """Apply so many forks, in batches as they come from the ring; then look some of them up, both ways."""
    count = int(sys.argv[1])
    table = Table()
    gc.collect()
    before, spent_ns = _resident_bytes(), 0
    for first in range(0, count, _BATCH):
        batch_of_births = births(first, min(_BATCH, count - first))
        begin = time.perf_counter_ns()
        table.apply(batch_of_births)
        spent_ns += time.perf_counter_ns() - begin
    mib = (_resident_bytes() - before) / 2**20
    assert table.live == count
    asked = np.random.default_rng(1).integers(0, count, 100_000)
    tgids = (_FIRST_TGID + asked).tolist()
    places = [(PidnsId(PIDNS + one // PER_SPACE, 1), 1 + one % PER_SPACE) for one in asked.tolist()]
    begin = time.perf_counter_ns()
    found = [table.to_host(*place) for place in places]
    lookup_ns = (time.perf_counter_ns() - begin) / len(found)
    assert found == tgids
    print(mib, spent_ns / count / 1e3, lookup_ns / 1e3)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


if __name__ == "__main__":
    main()
