"""What an engine says about first processes or a user about a namespace -> what the kernel's list has of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracer.errors import ExitCode, NstraceError
from tracer.stream.batch import Batch
from tracer.stream.metadata import CgroupFact, Container
from tracer.stream.pidns import PidnsId
from tracer.stream.schema import Kind
from tracer.typed.targets import Target


class Claims:
    """The first processes of containers, as an engine reports them, and the PID namespaces that they began.

    inits: host PID -> id, of containers that no cgroup of the list shows. snapshot: the list; facts: what is known of
    its cgroups. container_of: id -> container. indistinct: containers whose first process has begun no namespace, or is
    in the cgroup of another container that has none: nothing distinguishes them. refuted: containers that have
    processes in a cgroup of their own, none of which is in the namespace of the reported one: it is not believed.
    """

    def __init__(
        self,
        inits: Mapping[int, str],
        snapshot: Batch,
        facts: Mapping[int, CgroupFact],
        container_of: Callable[[str], Container],
    ) -> None:
        self.indistinct: list[tuple[Container, int]] = []
        self.refuted: list[tuple[Container, int]] = []
        self._found: list[tuple[Batch, Container]] = []
        rows = snapshot.rows
        for tgid, container_id in inits.items():
            known = ((cgroup_id, fact.container) for cgroup_id, fact in facts.items())
            own = {cgroup_id: found for cgroup_id, found in known if found and found.id == container_id}
            for at in np.flatnonzero(rows["tgid"] == tgid).tolist():  # else it has ended meanwhile
                if int(rows["cgroup_id"][at]) in own:
                    continue  # its cgroup shows it
                if refuted := _refuted(rows, at, own):
                    self.refuted.append((refuted, tgid))
                elif _is_first(rows[at : at + 1])[0] and not _shares(rows, at, facts):
                    container = next(iter(own.values()), None) or container_of(container_id)
                    self._found.append((snapshot.part(at, at + 1), container))
                else:
                    self.indistinct.append((container_of(container_id), tgid))

    def owners(self, ts_ns: int) -> Batch:
        """PIDNS rows that say which container owns each of the namespaces. ts_ns: when that was found."""
        return Batch.concat(_owner_row(first, container, ts_ns) for first, container in self._found)


def _refuted(rows: NDArray[np.void], at: int, own: Mapping[int, Container]) -> Container | None:
    """The container, if there are processes in its own cgroups (by their ids), and none of them is in the innermost
    namespace of the row; else None."""
    claimed, members = rows["chain"][at, 0], rows[np.isin(rows["cgroup_id"], list(own))]
    same = (members["chain"]["inum"] == claimed["inum"]) & (members["chain"]["gen"] == claimed["gen"])
    return own[int(members["cgroup_id"][0])] if len(members) and not same.any() else None


def _is_first(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which rows are of processes that have begun a nested namespace, shape (n,)."""
    found: NDArray[np.bool_] = (rows["level"] > 0) & (rows["chain"]["nr"][:, 0] == 1)
    return found


def _shares(rows: NDArray[np.void], at: int, facts: Mapping[int, CgroupFact]) -> bool:
    """Whether the first process at a row is in the cgroup of another container which no other process distinguishes
    from it: none there has begun a namespace."""
    fact = facts.get(int(rows["cgroup_id"][at]))
    if fact is None or fact.container is None:
        return False
    own = [cgroup_id for cgroup_id, other in facts.items() if other.container and other.root == fact.root]
    others = _is_first(rows) & np.isin(rows["cgroup_id"], own) & (rows["tgid"] != rows["tgid"][at])
    return not others.any()


def _owner_row(first: Batch, container: Container, ts_ns: int) -> Batch:
    rows, payload = first.rows.copy(), msgspec.json.encode(container)
    rows["kind"], rows["ts_ns"], rows["exe_len"] = Kind.PIDNS, ts_ns, 0
    rows["args_len"] = rows["args_total"] = len(payload)
    return Batch(rows, first.payload(0).deep + payload)


def bound(target: Target, snapshot: Batch) -> Target:
    """A target pidns:INUM, bound to the namespace that has this number in a list. Raises NstraceError."""
    inum = int(target.value)
    chains = snapshot.rows["chain"].reshape(-1)
    found = chains[chains["inum"] == inum]
    if not len(found):
        raise NstraceError(
            f"no process in PID namespace {inum}", "lsns -t pid lists PID namespaces", ExitCode.NO_TARGET
        )
    pidns = PidnsId(inum, int(found["gen"][0]))
    return Target(target.kind, target.value, target.text, pidns.gen)
