"""scripts/bench: measures, prints tables, keeps every result, so that a run that was broken off can go on."""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import kernel, page, report, scale
from bench.measure import CannotRun, Result, Workload, await_bytes, first_event, latency, quiet_namespace, under_storm
from bench.process import Running
from bench.tools import FLOODED, NONE, OURS, PACKAGES, PEERS, SHORT, STORM, Tool, floors, of_threads

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "bench"


@dataclass(frozen=True)
class Size:
    """How much is measured: processes or threads a storm, rounds of the storm of spawns, lone events."""

    storm: int
    rounds: int
    lone: int

    def workloads(self) -> dict[str, Workload]:
        """By mode. flood: more than a reader can take, from all CPUs."""
        return {
            "spawn": Workload("spawn", self.storm),
            "fork": Workload("fork", self.storm),
            "thread": Workload("thread", 3 * self.storm),
            "rate": Workload("spawn", min(self.storm // 2, 5 * RATE), RATE),
            "flood": Workload("fork", self.storm, copies=os.cpu_count() or 1),
        }


RATE = 1_000
SAID = {
    "spawn": "vfork, exec, wait at full speed.",
    "fork": "fork, exit, wait at full speed: the same without exec.",
    "thread": "Threads that are made and joined at full speed.",
    "rate": f"vfork, exec, wait {RATE} times a second: what an operation takes (its median), with and without.",
    "flood": "fork, exit, wait on all CPUs at once, with a small ring: the reader lets the others go first.",
}
SIZES = {"quick": Size(3_000, 1, 50), "default": Size(10_000, 3, 200), "full": Size(30_000, 3, 400)}


class Results:
    """All results so far, in a file with one object a line; what is in there is not measured again."""

    def __init__(self, path: Path, resume: bool) -> None:
        self._path = path
        self.all: list[Result] = []
        if resume and path.exists():
            self.all = [json.loads(line) for line in path.read_text().splitlines()]
        else:
            path.write_text("")

    def once(self, key: dict[str, Any], measure: Callable[..., Result], *args: Any) -> None:
        """Measure what key names, unless it has been."""
        if any(all(result.get(name) == value for name, value in key.items()) for result in self.all):
            return
        try:
            result = measure(*args)
        except CannotRun as reason:
            result = {"why_not": str(reason)}
        self.all.append(key | result)
        with self._path.open("a") as file:
            file.write(json.dumps(key | result) + "\n")
        _say(f"{' '.join(map(str, key.values()))}: {_brief(result)}")

    def of(self, what: str) -> list[Result]:
        """Results of one kind of measurement."""
        return [result for result in self.all if result["what"] == what]


def _brief(result: Result) -> str:
    if "why_not" in result:
        return str(result["why_not"])
    if "ms" in result:
        return f"p50 {report.percentile(result['ms'], 0.5):.2f} ms"
    return f"{result['seconds']:.3f} s" if "seconds" in result else ""


def _say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


def build() -> tuple[Path, Path]:
    """The workload and the floors, compiled."""
    programs = BUILD / STORM, BUILD / "floor"
    flags = ["-O2", "-Wall", "-static", "-pthread"]
    for source, program in zip(("storm.c", "floor.c"), programs, strict=True):
        subprocess.run(["gcc", *flags, "-o", program, ROOT / "bench" / source], check=True)
    return programs


def storms(results: Results, mode: str, tools: Sequence[Tool], size: Size, storm: Path, quiet_pid: int) -> None:
    """Every tool in turn, and no tool before and behind each; the storm of spawns again and again."""
    workload = size.workloads()[mode]
    for turn in range(size.rounds if mode == "spawn" else 1):
        for place, tool in enumerate([NONE, *itertools.chain.from_iterable((one, NONE) for one in tools)]):
            key = {"what": "storm", "mode": mode, "tool": tool.name, "round": turn, "place": place}
            results.once(key, under_storm, tool, workload, storm, quiet_pid)


def tools_for(mode: str, everyone: Sequence[Tool]) -> list[Tool]:
    """All tools see the spawn storm; ours, the floors and a few peers the others."""
    some = [tool for tool in everyone if tool.group != "peer" or tool.name in SHORT]
    if mode == "thread":
        return of_threads(some)
    if mode == "flood":
        return list(FLOODED)
    return list(everyone) if mode == "spawn" else some


def first_events(results: Results, tools: Sequence[Tool], size: Size, storm: Path) -> None:
    """From the start to the first line."""
    for turn in range(size.rounds):
        for tool in tools:
            if tool.streams:
                results.once({"what": "first", "tool": tool.name, "round": turn}, first_event, tool, storm)


def latencies(results: Results, tools: Sequence[Tool], size: Size, storm: Path) -> None:
    """From fork to line: lone events, and in a storm."""
    workloads = {"lone": Workload("fork", size.lone, 20), "storm": Workload("spawn", size.storm)}
    for tool in tools:
        for name, workload in workloads.items():
            if tool.streams:
                key = {"what": "latency", "tool": tool.name, "workload": name}
                results.once(key, latency, tool, workload, storm)


def probes(results: Results, size: Size, storm: Path, quiet_pid: int) -> None:
    """ns of each probe: of what is followed, and of what is filtered."""
    for name, args in (("followed", ["follow"]), ("filtered", ["follow", f"pid:{quiet_pid}"])):
        results.once({"what": "probes", "case": name}, _probe_costs, args, size, storm)


def _probe_costs(args: list[str], size: Size, storm: Path) -> Result:
    known = set(kernel.programs())
    told, argv = BUILD / "told", [*OURS[0].argv[:3], *args]
    with told.open("wb") as out, kernel.counting(), Running(argv, out, BUILD / "err") as tracer:
        await_bytes([told], tracer)
        subprocess.check_output(Workload("spawn", size.storm // 4).argv(storm))
        ours = [program for number, program in kernel.programs().items() if number not in known]
    return {"programs": [program._asdict() for program in ours]}


def machine() -> dict[str, Any]:
    """Where this was measured."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())  # fmt: skip
    return {
        "cpu": cpu, "cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version(),
        "time": time.strftime("%Y-%m-%d %H:%M"), "load": os.getloadavg()[0],
        "commit": subprocess.check_output(["git", "-C", ROOT, "describe", "--always", "--dirty"], text=True).strip(),
    }  # fmt: skip


def show(results: Results, modes: Sequence[str]) -> str:
    """All tables."""
    parts = []
    for mode in modes:
        found = [result for result in results.of("storm") if result["mode"] == mode]
        names = list(dict.fromkeys(result["tool"] for result in found))
        rows = report.storm_rows(names, found, results.of("first") if mode == "spawn" else [])
        columns = len(report.HEADER) if mode == "spawn" else len(report.HEADER) - 1
        parts += [SAID[mode], report.table(report.HEADER[:columns], [row[:columns] for row in rows])]
    header = ["tool", "events", "p50 ms", "p99 ms", "most ms"]
    if latencies := results.of("latency"):
        parts.append(report.table(header, report.latency_rows(latencies)))
    rows = [
        [result["case"], program["name"], f"{program['ns'] / program['runs']:.0f}", str(program["runs"]),
         str(program["instructions"])]
        for result in results.of("probes") for program in result["programs"] if program["runs"]
    ]  # fmt: skip
    if rows:
        parts.append(report.table(["events", "probe", "ns a run", "runs", "instructions"], rows))
    return "\n\n".join(parts)


def _where(results: Results, options: argparse.Namespace) -> str:
    """By which command, when and where."""
    at = results.of("machine")[0]
    where = f"{at['cpus']} CPUs ({at['cpu']}), Linux {at['kernel']}, Python {at['python']}"
    words = [f"--{name}" for name in ("scale", "quick", "full", "peers") if getattr(options, name)]
    return (
        f"`{' '.join(['scripts/bench', *words])}`, {at['time']}: {where}, "
        f"nstrace {at['commit']}, load {at['load']:.1f} at the beginning."
    )


def _scale(size: str, options: argparse.Namespace) -> None:
    results = Results(BUILD / f"scale-{size}.jsonl", options.resume)
    results.once({"what": "machine"}, machine)
    storm, _floor = build()
    for what, sizes in scale.SIZES.items():
        for count in sizes if size == "full" else sizes[:-1]:
            results.once({"what": what, "size": count}, scale.measure, what, count, storm, BUILD)
    measured = {what: results.of(what) for what in scale.SIZES}
    tables = "\n\n".join(report.table(scale.HEADERS[what], scale.rows(what, found)) for what, found in measured.items())
    print(tables)
    if options.write:
        scale.plot(measured, ROOT / "docs/scale.svg")
        page.put(ROOT / "docs/scale.md", f"{_where(results, options)}\n\n{tables}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench", description="What tracing costs, of tools side by side.")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", action="store_true", help="a minute or two: to see that it runs")
    sizes.add_argument("--full", action="store_true", help="storms of 30 000: some 35 minutes with --peers")
    parser.add_argument("--mode", choices=list(SAID), help="one kind of storm alone; all of them without")
    parser.add_argument("--peers", action="store_true", help=f"other tools too; installs {', '.join(PACKAGES)}")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was broken off")
    parser.add_argument(
        "--scale", action="store_true", help="instead: cost against processes, namespaces, targets, events"
    )
    parser.add_argument("--write", action="store_true", help="put the figures into docs/ and README.md")
    parser.add_argument("--only", metavar="WORD", help="only tools with WORD in their names")
    parser.epilog = "scripts/bench --micro [REV]: what an event costs on its way through Python, against a commit."
    options = parser.parse_args()
    if options.scale and options.write and not importlib.util.find_spec("matplotlib"):
        parser.error("--scale --write draws a picture, which needs matplotlib: .venv/bin/pip install -e '.[bench]'")
    if options.scale and (options.mode or options.peers or options.only):
        parser.error("--scale goes with --quick, --full, --resume and --write alone")
    if options.write and (options.mode or options.only):
        parser.error("--write puts whole runs into docs/: without --mode and --only")
    return options


def main() -> None:
    """Measure and show."""
    options = _options()
    if os.geteuid():
        sys.exit("bench: tracing needs root: sudo scripts/bench")
    name = "quick" if options.quick else "full" if options.full else "default"
    BUILD.mkdir(parents=True, exist_ok=True)
    if options.scale:
        return _scale(name, options)
    if options.peers:
        subprocess.run([ROOT / "scripts/packages", *PACKAGES], check=True)
    storm, floor = build()
    everyone = [*OURS, *floors(floor), *(PEERS if options.peers else ())]
    file = BUILD / f"{options.mode or 'all'}-{name}.jsonl"
    results = Results(file, options.resume)
    results.once({"what": "machine"}, machine)
    size = SIZES[name]
    modes = [options.mode] if options.mode else list(SAID)
    with quiet_namespace(storm) as quiet_pid:
        for mode in modes:
            tools = [tool for tool in tools_for(mode, everyone) if (options.only or "") in tool.name]
            storms(results, mode, tools, size, storm, quiet_pid)
            if mode == "spawn":
                first_events(results, tools, size, storm)
                latencies(results, tools, size, storm)
                probes(results, size, storm, quiet_pid)
    tables = show(results, modes)
    print(tables)
    if options.write:
        page.put(ROOT / "docs/benchmarks.md", f"{_where(results, options)}\n\n{tables}")
        spawns = [result for result in results.of("storm") if result["mode"] == "spawn"]
        page.put(ROOT / "README.md", report.summary(spawns, results.of("first")))
    _say(f"all results are in {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
