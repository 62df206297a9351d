"""A storm of short-lived processes as the ring has it, made without a kernel."""

import numpy as np
from numpy.typing import NDArray

from tracer.stream.batch import EVENT, PIECE, Batch
from tracer.stream.decoding import Joiner
from tracer.stream.schema import Kind, PieceKind

PIDNS, GEN, CGROUP, PARENT = 4026532180, 1, 7, 4000
LIFE_NS = 300_000
EXE, ARGS = b"/usr/bin/true", b"/usr/bin/true\0--version\0"


def records(lives: int, first: int = 0) -> NDArray[np.void]:
    """fork, exec with two pieces, and exit of so many processes in container web, one after the other, as the ring has
    them: array of EVENT, shape (5 * lives,). first: how many processes lived before."""
    made = np.zeros((lives, 5), EVENT)
    numbers = first + np.arange(lives)
    events = made[:, [0, 3, 4]]
    events["kind"] = [Kind.FORK, Kind.EXEC, Kind.EXIT]
    events["seq"] = 3 * numbers[:, None] + np.arange(3)
    events["ts_ns"] = numbers[:, None] * LIFE_NS + np.arange(1, 4) * 100_000
    events["start_ns"] = numbers[:, None] * LIFE_NS + 90_000
    events["tgid"] = events["tid"] = 5000 + numbers[:, None] % 20_000
    events["chain"]["nr"][:, :, 0] = events["vtid"] = 10 + numbers[:, None] % 20_000
    events["chain"]["inum"][:, :, 0], events["chain"]["gen"][:, :, 0] = PIDNS, GEN
    events["level"], events["cgroup_id"] = 1, CGROUP
    events["parent_tgid"], events["parent_vtgid"], events["comm"] = PARENT, 1, b"true"
    events["exe_len"][:, 1], events["args_len"][:, 1] = len(EXE), len(ARGS)
    events["old_tid"][:, 1] = events["tgid"][:, 1]
    made[:, [0, 3, 4]] = events
    pieces = made[:, 1:3].copy().view(PIECE)
    pieces["seq"], pieces["kind"] = events["seq"][:, 1:2], [PieceKind.EXE, PieceKind.ARGS]
    for at, data in enumerate((EXE, ARGS)):
        pieces["len"][:, at] = len(data)
        pieces["bytes"][:, at, : len(data)] = np.frombuffer(data, np.uint8)
    made[:, 1:3] = pieces.view(EVENT)
    ring: NDArray[np.void] = made.reshape(-1)
    return ring


def batch(lives: int, first: int = 0) -> Batch:
    """The same events, decoded."""
    return Joiner().join(records(lives, first)).batch
