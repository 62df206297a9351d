"""Lives of a container, with the truth: PIDs from the kernel, name and first process from the engine."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle import SOCKET, WORKLOAD, Pair, Receiver, pids_hierarchy

Event = dict[str, Any]
PAIRS = 10


@dataclass(frozen=True)
class Life:
    """One life of a container, from start to stop. init: its first process's host PID, alive at seen_ns (boottime).
    cgroup_id: the inode number of its cgroup's directory. pairs: processes that were put into it."""

    container_id: str
    name: str
    incarnation: int
    init: int
    seen_ns: int
    cgroup_id: int
    pairs: list[Pair]


def lives_of_one(engine: Any, image: str, workload: Path) -> list[Life]:
    """A container that is started, killed, started, restarted and removed, with processes in each of its lives."""
    name = f"nstrace-{uuid.uuid4().hex[:8]}"
    with Receiver() as receiver:
        mounts = [f"{workload}:{WORKLOAD}:ro", f"{receiver.directory}:{Path(SOCKET).parent}"]
        container = engine.containers.create(image, ["sleep", "600"], name=name, network_mode="none", volumes=mounts)
        try:
            container.start()
            lives = [_life(container, receiver, 1)]
            container.kill()
            container.wait()
            container.start()
            lives.append(_life(container, receiver, 2))
            container.restart(timeout=0)
            lives.append(_life(container, receiver, 3))
        finally:
            container.remove(force=True)
    return lives


def lives_under_one_name(engine: Any, image: str, workload: Path, name: str, count: int) -> list[Life]:
    """So many containers of one name, each removed by force as soon as processes were put into it."""
    lives = []
    with Receiver() as receiver:
        mounts = [f"{workload}:{WORKLOAD}:ro", f"{receiver.directory}:{Path(SOCKET).parent}"]
        for number in range(count):
            container = engine.containers.run(
                image, ["sleep", "600"], name=name, network_mode="none", volumes=mounts, detach=True
            )
            try:
                lives.append(_life(container, receiver, number + 1))
            finally:
                container.remove(force=True)
    return lives


def _life(container: Any, receiver: Receiver, incarnation: int) -> Life:
    container.reload()
    init = container.attrs["State"]["Pid"]
    known = len(receiver.pairs)
    done = container.exec_run([WORKLOAD, "pairs", SOCKET, str(PAIRS), "exec"])
    assert done.exit_code == 0, done.output
    pairs = receiver.wait(known + PAIRS)[known:]
    seen_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return Life(container.id, container.name, incarnation, init, seen_ns, cgroup_id_of(init), pairs)


def cgroup_id_of(tgid: int) -> int:
    """The id of a process's cgroup, in the hierarchy that names containers: the inode number of its directory."""
    lines = [line.split(":", 2) for line in Path(f"/proc/{tgid}/cgroup").read_text().splitlines()]
    paths = {"pids": "", "": ""} | {controllers: path for _number, controllers, path in lines}
    base = pids_hierarchy()
    return (base / paths["pids" if base.name == "pids" else ""].lstrip("/")).stat().st_ino


class Stream:
    """What was told, by process: host PIDs are given away again within seconds of a storm."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._by_pid: dict[int, dict[str, list[Event]]] = {}
        for event in events:
            if "proc_id" in event:
                self._by_pid.setdefault(event["pid"], {}).setdefault(event["proc_id"], []).append(event)

    def of(self, tgid: int, moment_ns: int) -> list[Event]:
        """All events of the process that had this host PID at a moment; [] when none of it was told."""
        for proc_id, events in self._by_pid.get(tgid, {}).items():
            begun_ns = int(proc_id.split("-")[1])
            if begun_ns <= moment_ns and not any(e["event"] == "exit" and e["ts_ns"] < moment_ns for e in events):
                return events
        return []

    def of_life(self, life: Life) -> list[tuple[list[int], list[Event]]]:
        """For each process of it the PIDs that it has, by the kernel and the engine, and its events."""
        pairs = [([pair.host_tgid, pair.ns_pid], self.of(pair.host_tgid, pair.boottime_ns)) for pair in life.pairs]
        return [([life.init, 1], self.of(life.init, life.seen_ns)), *pairs]


def wrong_about(life: Life, stream: Stream) -> Iterator[str]:
    """What was told of its processes and is not so. A name may come late, and is then null; another's never."""
    for pids, events in stream.of_life(life):
        for event in events:
            if event["level"] == 0:  # runc, before it is inside
                continue
            container = event["container"] or {}
            told = container.get("id"), event["incarnation"], event["cgroup_id"], event["pids"]
            truth = life.container_id, life.incarnation, life.cgroup_id, pids
            if told != truth or container["name"] not in (life.name, None):
                yield f"{event['event']} of {pids}: {told} {container.get('name')}, not {truth} {life.name}"


def missing_of(life: Life, stream: Stream) -> int:
    """How many forks, execs and exits of its processes were not told."""
    (_init, of_init), *others = stream.of_life(life)
    wanted = [(of_init, "exec"), (of_init, "exit")]
    wanted += [(events, kind) for _pids, events in others for kind in ("fork", "exec", "exit")]
    return sum(kind not in [event["event"] for event in events] for events, kind in wanted)
