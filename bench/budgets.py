"""The budgets of tracing, and the measured cost."""

from __future__ import annotations

from statistics import median

from bench.report import Rows, percentile, slow_downs, us_per_event
from bench.results import Results

HEADER = ["what", "at most", "seen, in bold where it is more"]
WAYS = {"text": "nstrace follow", "JSON": "nstrace follow --json", "record": "nstrace record"}


def rows(results: Results) -> Rows:
    """The budget and the measured value: a row for each budget that something was measured for."""
    return [row for row in (*_of_storms(results), *_of_latencies(results), *_of_starts(results)) if row[2]]


def _of_storms(results: Results) -> Rows:
    busy, spawn = results.of_storm("busy"), results.of_storm("spawn")
    by_way = {
        way: [result for result in busy if result["tool"] == tool and "seconds" in result] for way, tool in WAYS.items()
    }
    ours = [result for found in by_way.values() for result in found]
    cpu = {way: us_per_event(found) for way, found in by_way.items()}
    mb = {way: [result["rss"] / 1e6 for result in found] for way, found in by_way.items()}
    times = [{way: slow_downs(found).get(tool, []) for way, tool in WAYS.items()} for found in (busy, spawn)]
    limit = dict.fromkeys(WAYS, 1.03)
    return [
        ["storm on all CPUs, time with / without", "1.03", _seen(times[0], limit, 2)],
        ["storm with a CPU to spare", "1.03", _seen(times[1], limit, 2)],
        ["events lost in the first", "0", _bold(sum(r["expected"] - r["told"] for r in ours), 0, 0) if ours else ""],
        ["reader CPU an event in it, us: text / JSON / record", "1.2 / 1.8 / 1.0",
         _seen(cpu, {"text": 1.2, "JSON": 1.8, "record": 1.0}, 1)],
        ["resident memory, MB: follow / record", "60 / 100", _seen(mb, {"text": 60, "JSON": 60, "record": 100}, 0)],
    ]  # fmt: skip


def _of_latencies(results: Results) -> Rows:
    found = {
        (way, workload): [ms for result in results.of("latency") for ms in result.get("ms", [])
                          if (result["tool"], result["workload"]) == (tool, workload)]
        for way, tool in WAYS.items() for workload in ("lone", "storm")
    }  # fmt: skip

    def seen(workload: str, share: float, most: float, digits: int) -> str:
        values = {way: [percentile(ms, share)] for way in WAYS if (ms := found[way, workload])}
        return _seen(values, dict.fromkeys(WAYS, most), digits)

    return [
        ["a lone event, kernel to line, ms: p50", "2", seen("lone", 0.5, 2, 1)],
        ["the same: p99", "5", seen("lone", 0.99, 5, 1)],
        ["event to line in a storm, ms: p99", "50", seen("storm", 0.99, 50, 0)],
    ]


def _of_starts(results: Results) -> Rows:
    firsts = {
        way: [result["seconds"] for result in results.of("first") if result["tool"] == tool and "seconds" in result]
        for way, tool in WAYS.items()
    }
    return [["start to first event, s", "0.2", _seen(firsts, dict.fromkeys(WAYS, 0.2), 2)]]


def _seen(values: dict[str, list[float]], most: dict[str, float], digits: int) -> str:
    """The median of each way, as text."""
    return ", ".join(f"{_bold(median(found), most[way], digits)} ({way})" for way, found in values.items() if found)


def _bold(value: float, most: float, digits: int) -> str:
    """A value as text, in bold where it exceeds the budget as shown."""
    text = f"{value:.{digits}f}"
    return f"**{text}**" if float(text) > most else text
