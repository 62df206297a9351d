"""A made-up fleet: containers that come and go with the same inode numbers, processes whose PIDs are used again,
losses. What was seen of it, as an archive has it; and a log, of whose rows it is known whom they mean."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

S = 10**9
NEVER_NS = (1 << 63) - 1
BEGIN_NS = 1_764_000_000 * S
NESTED, HOST = 4026531836 + 700, 4026531836


@dataclass
class Life:
    """A process as it was. numbers, spaces: from the host's namespace inwards. ended_ns: None: it lives on."""

    host: str
    numbers: list[int]
    spaces: list[int]
    container: str | None
    life: int
    began_ns: int
    ended_ns: int | None

    @property
    def proc_id(self) -> str:
        return f"{self.numbers[0]}-{self.began_ns - BEGIN_NS}"


@dataclass
class Fleet:
    """lives: all that were; the tables are what an archive has of them."""

    lives: list[Life] = field(default_factory=list)
    processes: list[dict[str, Any]] = field(default_factory=list)
    gaps: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)

    def tables(self) -> dict[str, pa.Table]:
        """By the names that the query has for them."""
        return {
            "processes": pa.Table.from_pylist(self.processes, _PROCESSES),
            "gaps": pa.Table.from_pylist(self.gaps, _GAPS),
            "runs": pa.Table.from_pylist(self.runs, _RUNS),
            "logs": pa.Table.from_pylist(self.log, _LOG),
        }

    def meant(self, row: dict[str, Any], lag_ns: int) -> list[Life]:
        """Who had the number within the lag before the row's time."""
        return [
            life for life in self.lives
            if life.host == row["host"] and row["number"] == _number(life, row["container"])
            and life.began_ns <= row["time"] and (life.ended_ns is None or life.ended_ns > row["time"] - lag_ns)
        ]  # fmt: skip


def _number(life: Life, container: str | None) -> int | None:
    if container is None:
        return life.numbers[0]
    return life.numbers[1] if life.container == container and len(life.numbers) > 1 else None


def made(rng: random.Random, hosts: int, processes: int, rows: int, losses: int) -> Fleet:
    """A fleet with so many of each; losses: gaps on each host."""
    fleet = Fleet()
    for number in range(hosts):
        host = f"web{number}"
        end_ns = _live(fleet, rng, host, processes // hosts)
        gaps = sorted(rng.randrange(BEGIN_NS, end_ns - 10 * S) for _loss in range(losses))
        _tell(fleet, rng, host, end_ns, [(at, at + rng.randrange(2 * S)) for at in gaps])
    for line in range(rows):
        fleet.log.append({"line": line, **_row(rng, rng.choice(fleet.lives))})
    return fleet


def _live(fleet: Fleet, rng: random.Random, host: str, count: int) -> int:
    """Processes on the host and in containers, each of which has a namespace of the same inode number in all its lives;
    gives when all is over. A job has another name in each."""
    now, free = BEGIN_NS + S, dict.fromkeys(range(2, 40), 0)
    firsts: dict[str, Life] = {}
    for _process in range(count):
        now += rng.randrange(1, S)
        kind = rng.choice(["", "shop", "db", "job"])
        first = firsts.get(kind)
        if kind and (first is None or (first.ended_ns is not None and first.ended_ns <= now)):
            length, number = rng.choice([30 * S, 600 * S, 40_000 * S]), len(fleet.lives) + 1
            name, space = f"job{number}" if kind == "job" else kind, NESTED + ord(kind[0])
            if first := _begin(fleet, rng, host, free, now, now + length, [1], [space], name, number):
                firsts[kind] = first
            continue
        length = rng.choice([10**6, S, 90 * S, 8_000 * S])
        if first is None:
            _begin(fleet, rng, host, free, now, now + length, [], [], None, 0)
            continue
        taken = {
            life.numbers[1] for life in fleet.lives
            if life.host == host and life.life == first.life and (life.ended_ns is None or life.ended_ns > now)
        }  # fmt: skip
        inside = rng.choice([number for number in range(2, 30) if number not in taken] or [0])
        if inside:
            ended_ns = min(now + length, first.ended_ns or now + length)
            _begin(fleet, rng, host, free, now, ended_ns, [inside], first.spaces[1:], first.container, first.life)
    return now + 20 * S


def _begin(
    fleet: Fleet, rng: random.Random, host: str, free: dict[int, int], now: int, ended_ns: int,
    numbers: list[int], spaces: list[int], container: str | None, life: int,
) -> Life | None:  # fmt: skip
    ready = [number for number, since in free.items() if since <= now]
    if not ready:
        return None
    pid = rng.choice(ready)
    free[pid] = ended_ns + 1
    found = Life(host, [pid, *numbers], [HOST, *spaces], container, life, now, ended_ns)
    fleet.lives.append(found)
    return found


def _tell(fleet: Fleet, rng: random.Random, host: str, end_ns: int, gaps: list[tuple[int, int]]) -> None:
    """What an archive has of the host: two runs, one after the other. What happened in a gap was lost, and what was
    left of it is found by the list that is made after it."""
    middle_ns = BEGIN_NS + (end_ns - BEGIN_NS) // 2
    spans = [("a", BEGIN_NS, middle_ns), ("b", middle_ns + 5 * S, end_ns)]
    boot = {"host": host, "boot": "boot"}
    fleet.runs += [{**boot, "run": run, "began": since, "ended": until} for run, since, until in spans]
    holes: list[Hole] = []
    for since, until in gaps:
        run = next((run for run, begin, end in spans if begin <= since and until + 3 * S < end), None)
        if run is None:
            continue
        listed = until + rng.randrange(S)
        fleet.gaps.append({**boot, "run": run, "event": "gap", "since": since, "time": until})
        fleet.gaps.append({**boot, "run": run, "event": "repair", "since": listed, "time": listed + S})
        holes.append(Hole(since, until, listed, listed + S))
    for life in fleet.lives:
        if life.host == host and (told := _told(life, spans, holes)):
            fleet.processes.append({**boot, **told})


class Hole(NamedTuple):
    """What happened in since..until was lost; who lived at `listed` was told at `done`."""

    since: int
    until: int
    listed: int
    done: int


def _told(life: Life, spans: list[tuple[str, int, int]], holes: list[Hole]) -> dict[str, Any] | None:
    """The row of a process; None: none was written."""

    def hole_at(moment: int) -> Hole | None:
        return next((hole for hole in holes if hole.since <= moment < hole.until), None)

    ended_ns = life.ended_ns or NEVER_NS
    seen: list[tuple[int, str]] = []
    for run, since, until in spans:
        if not (life.began_ns < until and ended_ns >= since):
            continue
        first_ns = max(life.began_ns, since)
        if not (hole := hole_at(first_ns)):
            seen.append((first_ns, run))
        elif hole.listed < ended_ns:
            seen.append((hole.done, run))
        if ended_ns <= until and not hole_at(ended_ns):
            seen.append((ended_ns, run))
    if not seen:
        return None
    last_ns, run = max((min(at, ended_ns), run) for at, run in seen)
    end_hole = hole_at(ended_ns)
    ended, is_sure = (ended_ns if any(at == ended_ns for at, _run in seen) else None), True
    if end_hole and last_ns < end_hole.since and any(b <= ended_ns <= e and r == run for r, b, e in spans):
        ended, is_sure = end_hole.done, False
    container_id = f"{life.life:064x}" if life.container else None
    return {
        "run": run, "proc_id": life.proc_id,
        "pid": life.numbers[0], "ns_pid": life.numbers[-1], "pids": life.numbers, "pidns_chain": life.spaces,
        "comm": "sh", "args": ["sh"], "container": life.container, "container_id": container_id, "incarnation": 1,
        "ppid": 1, "parent_id": None, "uid": 0, "began": life.began_ns, "began_sure": True, "ended": ended,
        "ended_sure": is_sure, "exit_code": 0, "signal": None,
    }  # fmt: skip


def _row(rng: random.Random, life: Life) -> dict[str, Any]:
    """A row that this process, or whoever has its number about then, has written."""
    end_ns = life.ended_ns or life.began_ns + S
    at = rng.choice([rng.randrange(life.began_ns, end_ns), end_ns + rng.randrange(S), life.began_ns - rng.randrange(S)])
    container = life.container if rng.random() < 0.8 else None
    number = _number(life, container)
    return {"host": life.host, "container": container, "number": number, "time": at}


def strings(names: str) -> Iterator[pa.Field]:
    return (pa.field(name, pa.string()) for name in names.split())


def numbers(names: str, type_: pa.DataType) -> Iterator[pa.Field]:
    return (pa.field(name, type_) for name in names.split())


_PROCESSES = pa.schema([
    *strings("host boot run proc_id comm container container_id parent_id signal"),
    *numbers("pid ns_pid incarnation ppid exit_code", pa.int32()),
    *numbers("uid began ended", pa.int64()),
    *numbers("began_sure ended_sure", pa.bool_()),
    pa.field("pids", pa.list_(pa.int32())), pa.field("pidns_chain", pa.list_(pa.int64())),
    pa.field("args", pa.list_(pa.string())),
])  # fmt: skip
_GAPS = pa.schema([*strings("host boot run event"), *numbers("since time", pa.int64())])
_RUNS = pa.schema([*strings("host boot run"), *numbers("began ended", pa.int64())])
_LOG = pa.schema([*strings("host container"), *numbers("line number time", pa.int64())])
