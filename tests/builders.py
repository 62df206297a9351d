"""Rows and batches made by hand, for tests of what stands behind the kernel.

A row's chain is given as its numbers inside, outermost first, without the host's: `inside=[(4026532180, 15)]`, or with
a generation as third. What is not given has a plain value.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from tracer.answers.census import NOBODY, Entry
from tracer.stream.batch import EVENT, NUMBER, Batch, pad_args
from tracer.stream.metadata import CgroupFact, Container, Killer, LifeFact, SessionFact
from tracer.stream.pidns import Number, PidnsId, ProcId
from tracer.stream.schema import INLINE_LEVELS, Kind
from tracer.system.host_pidns import INITIAL_PIDNS_INUM

PIDNS = 4026532180
SECOND_NS = 1_000_000_000
NO_PAIR = (0, 0, 0)


class Row(NamedTuple):
    """One row of a batch, and its part of the heap."""

    event: np.void
    heap: bytes


def batch(*rows: Row) -> Batch:
    """A batch of these rows, in this order."""
    events = np.array([row.event for row in rows], EVENT) if rows else np.empty(0, EVENT)
    return Batch(events, b"".join(row.heap for row in rows))


def row(
    kind: Kind,
    tgid: int,
    inside: Sequence[tuple[int, ...]] = (),
    *,
    exe: bytes = b"",
    args: Sequence[bytes] = (),
    comm: bytes = b"sh",
    flags: int = 0,
    start_ns: int = SECOND_NS,
    ts_ns: int = 2 * SECOND_NS,
    parent_tgid: int = 1,
    parent_start_ns: int = 1,
    killer: Killer | None = None,
    **fields: int,
) -> Row:
    """A row of any kind. fields: further fields of EVENT."""
    event: np.void = np.zeros(1, EVENT)[0]
    numbers = [(inum, nr, *(rest or (1,))) for inum, nr, *rest in inside] or [(INITIAL_PIDNS_INUM, tgid, 1)]
    innermost_first = np.array([(inum, nr, gen) for inum, nr, gen in reversed(numbers)], NUMBER)
    inline = innermost_first[:INLINE_LEVELS]
    event["chain"][: len(inline)] = inline
    said = msgspec.json.encode(killer) if killer else b""
    heap = (innermost_first[INLINE_LEVELS:].tobytes() + said, exe, pad_args(args))
    values = {
        "kind": kind, "flags": flags, "tgid": tgid, "tid": tgid, "vtid": numbers[-1][1], "level": len(inside),
        "start_ns": start_ns, "ts_ns": ts_ns, "parent_tgid": parent_tgid, "parent_start_ns": parent_start_ns,
        "comm": comm, "deep_len": len(heap[0]), "exe_len": len(heap[1]), "args_len": len(heap[2]),
        "args_total": len(heap[2]), "killer_len": len(said),
    }  # fmt: skip
    for name, value in (values | fields).items():
        event[name] = value
    return Row(event, b"".join(heap))


def fork(tgid: int, inside: Sequence[tuple[int, ...]] = (), **fields: Any) -> Row:
    """A process is born. fields: as of row."""
    return row(Kind.FORK, tgid, inside, **({"ts_ns": fields.get("start_ns", SECOND_NS)} | fields))


def exits(tgid: int, inside: Sequence[tuple[int, ...]] = (), *, status: int = 0, **fields: Any) -> Row:
    """A process ends; status as wait(2) gives it. fields: as of row."""
    return row(Kind.EXIT, tgid, inside, status=status, **fields)


def gap(
    lost: int,
    since_ns: int = SECOND_NS,
    until_ns: int = 2 * SECOND_NS,
    cpu: int = 0,
    pair: tuple[int, int, int] = NO_PAIR,
    flags: int = 0,
) -> Row:
    """Events were lost. pair: whose, innermost PID namespace (inum, gen) and cgroup."""
    event: np.void = np.zeros(1, EVENT)[0]
    event["chain"]["inum"][0], event["chain"]["gen"][0], event["cgroup_id"] = pair
    event["flags"] = flags
    event["kind"], event["seq"], event["cpu"] = Kind.GAP, lost, cpu
    event["start_ns"], event["ts_ns"] = since_ns, until_ns
    return Row(event, b"")


def life(action: str, container: Container, cgroup_id: int = 0, **said: Any) -> Row:
    """What happened to a container. said: of a LifeFact."""
    return _fact(Kind.CONTAINER, LifeFact(action, container, **said), cgroup_id)


def session(action: str, container: Container, number: int = 1, cgroup_id: int = 0, **said: Any) -> Row:
    """What happened to a session in a container. said: of a SessionFact."""
    fact = SessionFact(number, action, container, said.pop("since_ns", SECOND_NS), said.pop("pids", [60, 15]), **said)
    made = _fact(Kind.SESSION, fact, cgroup_id)
    made.event["session"] = number
    return made


def _fact(kind: Kind, fact: LifeFact | SessionFact, cgroup_id: int) -> Row:
    payload = msgspec.json.encode(fact)
    event: np.void = np.zeros(1, EVENT)[0]
    event["kind"], event["cgroup_id"], event["ts_ns"] = kind, cgroup_id, 2 * SECOND_NS
    event["args_len"] = event["args_total"] = len(payload)
    return Row(event, payload)


def repair(began_ns: int = 3 * SECOND_NS, done_ns: int | None = None) -> Row:
    """The processes were compared with the kernel's list."""
    event: np.void = np.zeros(1, EVENT)[0]
    event["kind"], event["start_ns"], event["ts_ns"] = Kind.REPAIR, began_ns, done_ns or began_ns + 1
    return Row(event, b"")


def cgroup(
    cgroup_id: int,
    container: Container | None = None,
    path: str = "/",
    pending: bool = False,
    fact: CgroupFact | None = None,
    ts_ns: int = SECOND_NS,
) -> Row:
    """What a cgroup id stands for. fact: in place of what is given otherwise."""
    payload = msgspec.json.encode(fact or CgroupFact(path, container, pending))
    event: np.void = np.zeros(1, EVENT)[0]
    event["kind"], event["cgroup_id"], event["ts_ns"] = Kind.CGROUP, cgroup_id, ts_ns
    event["args_len"] = event["args_total"] = len(payload)
    return Row(event, payload)


def owner(tgid: int, inside: Sequence[tuple[int, ...]], container: Container, **fields: Any) -> Row:
    """The namespace that this process has begun is a container's, by an engine's word."""
    payload = msgspec.json.encode(container)
    first = row(Kind.PIDNS, tgid, inside, args_len=len(payload), args_total=len(payload), **fields)
    return Row(first.event, first.heap + payload)


WEB = Container("a" * 64, "docker", "web", "nginx:1.27", {"tier": "front"})


def entry(
    numbers: Sequence[int],
    parent: Entry | None = None,
    *containers: Container,
    inums: Sequence[int] = (PIDNS, PIDNS + 1, PIDNS + 2),
    args: bytes = b"sh\0-c\0sleep 1\0",
    comm: bytes = b"sh",
    state: str = "S",
    uid: int = 0,
    visible: bool = True,
    ns_ppid: int | None = 0,
    started_ns: int = 1_700_000_000 * SECOND_NS,
) -> Entry:
    """A process of a census. numbers: its PIDs, the host's first; inums: of the namespaces below the host's.

    visible: whether its namespaces are ours to see.
    """
    spaces = (PidnsId(INITIAL_PIDNS_INUM, 0), *(PidnsId(inum, 1) for inum in inums))
    chain = tuple(Number(pidns, nr) for pidns, nr in zip(spaces, numbers, strict=False))
    return Entry(
        ProcId(numbers[0], numbers[0] * SECOND_NS), parent.proc_id if parent else NOBODY, ns_ppid, tuple(numbers),
        chain if visible else None, containers, comm, b"/bin/" + comm, args, uid, state, started_ns,
    )  # fmt: skip
