"""scripts/bench: measures, prints tables, keeps every result, so that a run that was interrupted can continue."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import budgets, kernel, page, report, scale, storms
from bench.measure import Result, Workload, await_bytes, first_event, latency, quiet_namespace
from bench.process import Running
from bench.results import Results, say
from bench.storms import Size
from bench.tools import OURS, PACKAGES, PEERS, STORM, Tool, floors
from tracer.stream.schema import EVENT_BYTES

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "bench"


def build() -> tuple[Path, Path]:
    """Compile the workload and the floors; the paths of the two programs."""
    programs = BUILD / STORM, BUILD / "floor"
    flags = ["-O2", "-Wall", "-static", "-pthread", f"-DRECORD_BYTES={EVENT_BYTES}"]
    for source, program in zip(("storm.c", "floor.c"), programs, strict=True):
        subprocess.run(["gcc", *flags, "-o", program, ROOT / "bench" / source], check=True)
    return programs


def first_events(results: Results, tools: Sequence[Tool], size: Size, storm: Path) -> None:
    """Measure the time from the start to the first line."""
    for turn in range(size.most_rounds):
        for tool in tools:
            if tool.streams:
                results.once({"what": "first", "tool": tool.name, "round": turn}, first_event, tool, storm)


def latencies(results: Results, tools: Sequence[Tool], size: Size, storm: Path) -> None:
    """Measure the time from fork to line: for lone events, and in a storm."""
    workloads = {"lone": Workload("fork", size.lone, 20), "storm": Workload("spawn", size.storm)}
    for tool in tools:
        for name, workload in workloads.items():
            if tool.streams:
                key = {"what": "latency", "tool": tool.name, "workload": name}
                results.once(key, latency, tool, workload, storm)


def probes(results: Results, size: Size, storm: Path, quiet_pid: int) -> None:
    """Measure the ns of each probe: for what is followed, and for what is filtered."""
    for name, args in (("followed", ["follow"]), ("filtered", ["follow", f"pid:{quiet_pid}"])):
        results.once({"what": "probes", "case": name}, _probe_costs, args, size, storm)


def _probe_costs(args: list[str], size: Size, storm: Path) -> Result:
    known = set(kernel.programs())
    out_path, argv = BUILD / "told", [*OURS[0].argv[:3], *args]
    with out_path.open("wb") as out, kernel.counting(), Running(argv, out, BUILD / "err") as tracer:
        await_bytes([out_path], tracer)
        subprocess.check_output(Workload("spawn", size.storm // 4).argv(storm))
        ours = [program for number, program in kernel.programs().items() if number not in known]
    return {"programs": [program._asdict() for program in ours]}


def machine() -> dict[str, Any]:
    """The machine on which this was measured."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())  # fmt: skip
    return {
        "cpu": cpu, "cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version(),
        "time": time.strftime("%Y-%m-%d %H:%M"), "load": os.getloadavg()[0],
        "commit": subprocess.check_output(["git", "-C", ROOT, "describe", "--always", "--dirty"], text=True).strip(),
    }  # fmt: skip


def show(results: Results, modes: Sequence[str]) -> str:
    """All tables."""
    busy, spawn = (results.of_storm(mode) for mode in storms.HEADLINE)
    parts = []
    for mode in modes:
        found = results.of_storm(mode)
        both = mode == "busy" and len(spawn) > 0
        rows = report.headline_rows(busy, spawn, results.of("first")) if both else report.storm_rows(found)
        parts += [storms.SAID[mode], report.table(report.HEADLINE if both else report.HEADER, rows)]
    if latencies := results.of("latency"):
        header = ["tool", "events", "p50 ms", "p99 ms", "most ms"]
        parts.append(report.table(header, report.latency_rows(latencies)))
    rows = [
        [result["case"], program["name"], f"{program['ns'] / program['runs']:.0f}", str(program["runs"]),
         str(program["instructions"])]
        for result in results.of("probes") for program in result["programs"] if program["runs"]
    ]  # fmt: skip
    if rows:
        parts.append(report.table(["events", "probe", "ns a run", "runs", "instructions"], rows))
    if busy and spawn:
        parts += ["Against the budgets:", report.table(budgets.HEADER, budgets.rows(results))]
    return "\n\n".join(parts)


def _where(results: Results, options: argparse.Namespace) -> str:
    """The command, time and host of the results."""
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
    sizes.add_argument("--full", action="store_true", help="storms of 15 000: some 25 minutes with --peers")
    parser.add_argument("--mode", choices=list(storms.SAID), help="one kind of storm alone; all of them without")
    parser.add_argument("--peers", action="store_true", help=f"other tools too; installs {', '.join(PACKAGES)}")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was broken off")
    parser.add_argument(
        "--scale", action="store_true", help="instead: cost against processes, namespaces, targets, events"
    )
    parser.add_argument("--write", action="store_true", help="put the figures into docs/")
    parser.add_argument("--only", metavar="WORD", help="only tools with WORD in their names")
    parser.epilog = (
        "scripts/bench --fleet [--write]: how long it takes until fleet follow shows an event. "
        "scripts/bench --join [--write]: how long it takes to join a log of many hosts, by DuckDB and by Spark. "
        "scripts/bench --micro [REV]: what an event costs on its way through Python, against a commit."
    )
    options = parser.parse_args()
    if options.scale and options.write and not importlib.util.find_spec("matplotlib"):
        parser.error("--scale --write draws a picture, which needs matplotlib: .venv/bin/pip install -e '.[bench]'")
    if options.scale and (options.mode or options.peers or options.only):
        parser.error("--scale goes with --quick, --full, --resume and --write alone")
    if options.write and (options.mode or options.only):
        parser.error("--write puts whole runs into docs/: without --mode and --only")
    return options


def measure(results: Results, tools: dict[str, list[Tool]], size: Size, storm: Path) -> None:
    """Measure the storms of these modes, each with its tools; all else with the storm of spawns."""
    with quiet_namespace(storm) as quiet_pid:
        for mode, chosen in tools.items():
            storms.run(results, mode, chosen, size, storm, quiet_pid)
            if mode == "spawn":
                first_events(results, chosen, size, storm)
                latencies(results, chosen, size, storm)
                probes(results, size, storm, quiet_pid)


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
    tools = {
        mode: [tool for tool in storms.tools_for(mode, everyone) if (options.only or "") in tool.name]
        for mode in ([options.mode] if options.mode else storms.SAID)
    }
    measure(results, tools, storms.SIZES[name], storm)
    tables = show(results, list(tools))
    print(tables)
    if options.write:
        page.put(ROOT / "docs/benchmarks.md", f"{_where(results, options)}\n\n{tables}")
        page.put(ROOT / "docs/costs.md", report.summary(*(results.of_storm(mode) for mode in storms.HEADLINE)))
    say(f"all results are in {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
