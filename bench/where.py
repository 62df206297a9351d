"""python -m bench.where [--write]: what `follow --json --where` costs that lets nothing pass, beside the same without.

Two tables. In this process, CPU an event of rendering and condition, by the size of a batch: turn by turn, medians.
And of real `nstrace follow --json`, all at the same time under one storm (as root): CPU an event of each, and against
the one without a condition, from its first event to its last.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from bench import kernel, page, synthetic
from bench.__main__ import build
from bench.measure import Workload
from bench.process import Running
from bench.report import grouped, table
from tracer.ask.event_filter import EventFilter
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.schema import EVENT_NAMES, Kind
from tracer.views.jsonl import JsonLines

CONDITIONS = (
    "comm = 'nobody'",
    "exit_code <> 0 or signal is not null",
    "container like 'web-%'",
    "event = 'exec' and args like '%--debug%'",
)
ROWS = (21, 210, 2100, 21_000)
MARKS = "<!-- figures of conditions -->", "<!-- end of figures of conditions -->"
LOADS = {
    "a storm at full speed": Workload("spawn", 15_000),
    "1 000 processes a second": Workload("spawn", 4_000, 1_000),
    "100 processes a second": Workload("spawn", 500, 100),
    "10 processes a second": Workload("spawn", 60, 10),
}
_KINDS = frozenset(Kind[name.upper()] for name in EVENT_NAMES)
_TURNS, _ROUNDS = 9, 5
_READY_S, _ATTACHED_S = 20.0, 2.0


def renders(where: str | None) -> Callable[[Batch], bytes]:
    """What a session does with a batch: the condition, and JSON of what passes."""
    containers, view = Attribution(), JsonLines(_KINDS, False, 0)
    if where is None:
        return lambda batch: view.render(batch, containers)
    found = EventFilter(where)
    found.add_run(containers, 0, "host")
    return lambda batch: view.render(found.passing(batch, containers), containers)


def in_process() -> str:
    """The first table."""
    all_of_them = [renders(where) for where in (None, *CONDITIONS)]
    rows = []
    for count in ROWS:
        costs: list[list[float]] = [[] for _one in all_of_them]
        batches = [synthetic.batch(count // 3, first) for first in range(0, 20 * count, count)]
        for _turn in range(_TURNS):
            for cost, render in zip(costs, all_of_them, strict=True):
                cost.append(_us_an_event(render, [Batch(one.rows, one.heap) for one in batches]))
        rows.append([grouped(count), *(f"{statistics.median(cost):.2f}" for cost in costs)])
    return table(["rows", "without", *(f"`{where}`" for where in CONDITIONS)], rows)


def _us_an_event(render: Callable[[Batch], bytes], batches: Sequence[Batch]) -> float:
    render(batches[0])
    began = time.process_time_ns()
    for batch in batches[1:]:
        render(batch)
    return (time.process_time_ns() - began) / 1e3 / sum(map(len, batches[1:]))


def followed(workloads: Sequence[Workload], rounds: int, storm: Path) -> list[list[list[float]]]:
    """CPU of each reader in us an event, in the order of CONDITIONS, without one first: while each workload lasts, and
    each round. Events are those that the first one shows: others on this machine make some too."""
    with contextlib.ExitStack() as stack:
        folder, tracers = Path(stack.enter_context(tempfile.TemporaryDirectory())), []
        for number, where in enumerate((None, *CONDITIONS)):
            known = len(kernel.programs())
            out = stack.enter_context((folder / f"out{number}").open("wb"))
            argv = [sys.executable, "-m", "tracer", "follow", "--json", *(["--where", where] if where else [])]
            tracers.append(stack.enter_context(Running(argv, out, folder / f"err{number}")))
            _await(lambda known=known: len(kernel.programs()) > known)  # type: ignore[misc]
            time.sleep(_ATTACHED_S)
        workloads[0].run(storm)  # they are warm then
        shown = stack.enter_context((folder / "out0").open("rb"))
        return [[_cost(tracers, workload, storm, shown) for _round in range(rounds)] for workload in workloads]


def _cost(tracers: Sequence[Running], workload: Workload, storm: Path, shown: IO[bytes]) -> list[float]:
    for tracer in tracers:
        tracer.settle()
    shown.read()
    before = [tracer.cpu_ns() for tracer in tracers]
    workload.run(storm)
    for tracer in tracers:
        tracer.settle()
    after = [tracer.cpu_ns() for tracer in tracers]
    assert not any(tracer.has_ended for tracer in tracers)
    events = shown.read().count(b"\n")
    return [(then - ns) / 1e3 / events for ns, then in zip(before, after, strict=True)]


def _await(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + _READY_S
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)


def beside_each_other(rounds: int) -> str:
    """The second table."""
    storm, _floor = build()
    rows = []
    for name, found in zip(LOADS, followed(list(LOADS.values()), rounds, storm), strict=True):
        without = statistics.median(costs[0] for costs in found)
        shares = [statistics.median(costs[at] / costs[0] for costs in found) for at in range(1, len(CONDITIONS) + 1)]
        rows.append([name, f"{without:.1f} us", *(f"{share:.2f}" for share in shares)])
    return table(["load", "without", *(f"`{where}`" for where in CONDITIONS)], rows)


def main() -> None:
    """Print both; with --write they are those of docs/benchmarks.md."""
    origin = page.origin("python -m bench.where")
    parts = [origin, in_process(), *([beside_each_other(_ROUNDS)] if os.geteuid() == 0 else [])]
    print(*parts, sep="\n\n")
    if sys.argv[1:] == ["--write"]:
        page.put(page.ROOT / "docs/benchmarks.md", "\n\n".join(parts), *MARKS)


if __name__ == "__main__":
    main()
