"""Recordings of many processes, made by hand: for tests of what shows them, and for measurements.

python -m crowd FILE PROCESSES [CONTAINERS]
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from builders import PIDNS, SECOND_NS, batch, cgroup, gap
from numpy.typing import NDArray

from tracer.stream.batch import EVENT, Batch, pad_args
from tracer.stream.metadata import Container
from tracer.stream.schema import Kind

STEP = 20_000
GAP_NS = SECOND_NS
ROWS = (Kind.FORK, Kind.EXEC, Kind.EXIT)
COMMANDS = [(b"/bin/%s" % name, pad_args([name, *args])) for name, args in (
    (b"ls", [b"-l", b"/srv"]), (b"cat", [b"/etc/hosts"]), (b"sleep", [b"0.1"]), (b"grep", [b"-q", b"a b"]),
)]  # fmt: skip


def container(number: int) -> Container:
    """One of them: c0, c1, ..."""
    return Container(f"{number + 1:064x}", "docker", f"c{number}", "busybox:1.36", {})


def crowd(
    processes: int, containers: int = 40, span_s: float = 60.0, longest_s: float = 3.0, unlike: bool = False
) -> Iterator[Batch]:
    """Each process is a child of its container's first one, has a fork, an exec and an exit, and lives up to longest_s;
    one in ten fails, one in forty is killed. Behind the first STEP of them events were lost. unlike: no two commands
    are the same."""
    yield batch(*(cgroup(1000 + number, container(number)) for number in range(containers)))
    random = np.random.default_rng(16)
    begins = np.sort(random.integers(SECOND_NS, int(SECOND_NS * (1 + span_s)), processes))
    lived = (longest_s * SECOND_NS * 10 ** random.uniform(-2.8, 0, processes)).astype(np.int64)
    for first in range(0, processes, STEP):
        part = slice(first, min(first + STEP, processes))
        yield _rows(np.arange(part.start, part.stop), begins[part], lived[part], containers, unlike)
        if first == 0:
            yield batch(gap(1234, int(begins[part][-1]) - GAP_NS, int(begins[part][-1])))


def _rows(
    number: NDArray[np.int64], begins: NDArray[np.int64], lived: NDArray[np.int64], containers: int, unlike: bool
) -> Batch:  # fmt: skip
    rows = np.zeros((len(number), len(ROWS)), EVENT)
    of = number % containers
    rows["kind"] = ROWS
    rows["start_ns"], rows["tgid"] = begins[:, None], 1000 + number[:, None]
    rows["tid"], rows["level"], rows["comm"] = rows["tgid"], 1, b"sh"
    rows["parent_tgid"], rows["parent_start_ns"] = 10 + of[:, None], SECOND_NS
    rows["cgroup_id"] = 1000 + of[:, None]
    inside = rows["chain"][:, :, 0]
    inside["inum"], inside["gen"], inside["nr"] = (
        PIDNS + of[:, None],
        1 + of[:, None],
        2 + number[:, None] // containers,
    )
    rows["chain"][:, :, 0] = inside
    rows["ts_ns"] = begins[:, None] + np.stack([np.zeros_like(lived), lived // 50, lived], axis=1)
    mixed = number * 7919 % 1000
    rows["status"][:, 2] = np.select([mixed < 100, mixed >= 975], [1 << 8, 9], 0)
    own = [COMMANDS[at % len(COMMANDS)] for at in number.tolist()]
    if unlike:
        own = [
            (exe, args + b"--run=%d-%x\0" % (at, at * 7919))
            for at, (exe, args) in zip(number.tolist(), own, strict=True)
        ]
    rows["exe_len"][:, 1], rows["args_len"][:, 1] = [len(exe) for exe, _ in own], [len(args) for _, args in own]
    rows["args_total"] = rows["args_len"]
    order = np.argsort(rows["ts_ns"].reshape(-1), kind="stable")
    heap = b"".join(exe + args for at in order.tolist() if at % len(ROWS) == 1 for exe, args in [own[at // len(ROWS)]])
    return Batch(rows.reshape(-1)[order], heap)
