"""Results as tables for people: medians, with the least and the greatest of all rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median, quantiles
from typing import Any

Rows = list[list[str]]
Results = Sequence[dict[str, Any]]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, and in brackets least and greatest where there are several."""
    if not values:
        return "-"
    middle = f"{median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that at least this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def grouped(count: int) -> str:
    """A count with spaces between its thousands."""
    return f"{count:,}".replace(",", " ")


def table(header: list[str], rows: Rows) -> str:
    """A Markdown table whose columns stand under each other."""
    widths = [max(len(row[at]) for row in [header, *rows]) for at in range(len(header))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
             for row in [header, *rows]]  # fmt: skip
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def is_wide(values: Sequence[float]) -> bool:
    """Whether the middle half of the values is too far apart for a figure; False for a single value."""
    if len(values) < 2:
        return False
    lower, middle, upper = quantiles(values, n=4, method="inclusive")
    return upper - lower > _NARROW * middle


_NARROW = 0.03

HEADER = ["tool", "time with/without", "events", "reader us/event", "peak MiB", "bytes/event"]
HEADLINE = ["tool", "all CPUs busy", "a CPU to spare", *HEADER[2:], "first event s"]


def slow_downs(results: Results) -> dict[str, list[float]]:
    """By tool: how much longer a storm took than without a tool before and after it, once for each time."""
    without = {(r["round"], r["place"]): _took(r) for r in results if r["tool"] == "none" and "seconds" in r}
    found: dict[str, list[float]] = {}
    for result in results:
        if "seconds" in result and (ratio := _slow_down(result, without)):
            found.setdefault(result["tool"], []).append(ratio)
    return found


def _took(result: dict[str, Any]) -> float:
    """How long the storm took; at a fixed rate, an operation."""
    return float(result["op_ns"]["p50"] if result["mode"] == "rate" else result["seconds"])


def _slow_down(result: dict[str, Any], without: dict[tuple[int, int], float]) -> float:
    """The ratio to the runs without a tool beside it; 0: there are none."""
    step = 2 if result["tool"] == "none" else 1
    beside = [without.get((result["round"], result["place"] + way)) for way in (-step, step)]
    found = [seconds for seconds in beside if seconds]
    return _took(result) / (sum(found) / len(found)) if found else 0.0


def storm_rows(results: Results) -> Rows:
    """A row for each tool, from the results of `bench.measure.under_storm` for one kind of storm."""
    ratios = slow_downs(results)
    return [
        _storm_row(tool, [r for r in results if r["tool"] == tool], ratios.get(tool, []))
        for tool in dict.fromkeys(result["tool"] for result in results)
    ]


def _storm_row(tool: str, results: Results, slow: list[float]) -> list[str]:
    good = [result for result in results if "seconds" in result]
    if not good:
        return [tool, results[-1]["why_not"], *[""] * (len(HEADER) - 2)]
    if tool == "none":
        return [tool, spread(slow), *["-"] * (len(HEADER) - 2)]
    expected, reported = sum(r["expected"] for r in good), sum(r["told"] for r in good)
    rss = spread([r["rss"] / 2**20 for r in good], 0)
    if not expected:
        return [tool, spread(slow), "-", f"{spread([r['cpu_ns'] / 1e6 for r in good], 0)} ms in all", rss, "-"]
    after = median(r["after_ns"] / max(1, r["told"]) / 1e3 for r in good)
    cpu = spread(us_per_event(good))
    return [
        tool,
        spread(slow),
        "all" if reported == expected else f"{math.floor(10_000 * reported / expected) / 100:.2f} %",
        f"{cpu} + {after:.1f} later" if after else cpu,
        rss,
        f"{median(r['bytes_per_event'] for r in good):.0f}",
    ]


def us_per_event(results: Results) -> list[float]:
    """CPU of the reader during the storm, for each event that it reported, in us."""
    return [result["cpu_ns"] / max(1, result["told"]) / 1e3 for result in results]


def headline_rows(busy: Results, spawn: Results, firsts: Results) -> Rows:
    """A row for each tool: its slow-down on busy CPUs, and with a CPU to spare; all else under the first."""
    spare = slow_downs(spawn)
    rows = []
    for tool, slow, *rest in storm_rows(busy):
        ran = tool in spare
        first = [f["seconds"] for f in firsts if f["tool"] == tool and "seconds" in f]
        rows.append([tool, slow, spread(spare[tool]) if ran else "", *rest, spread(first) if ran else ""])
    return rows


def summary(busy: Results, spawn: Results) -> str:
    """The small table: nstrace, the peers that report events as they happen, two floors."""
    named = {row[0]: row[:6] for row in headline_rows(busy, spawn, [])}
    return table(HEADLINE[:6], [named[name] for name in _IN_SUMMARY if name in named])


_IN_SUMMARY = (
    *("nstrace follow", "nstrace follow --json", "nstrace record"),
    *("bpftrace", "libbpf-tools execsnoop + exitsnoop", "forkstat", "perf trace", "perf record"),
    *("ring, C reader that counts", "the same, woken by every event"),
)


def latency_rows(results: Results) -> Rows:
    """A row for each tool and workload, from the results of `bench.measure.latency`."""
    keys = list(dict.fromkeys((r["tool"], r["workload"]) for r in results))
    rows = []
    for tool, workload in keys:
        mine = [r for r in results if (r["tool"], r["workload"]) == (tool, workload)]
        good = [r["ms"] for r in mine if "ms" in r]
        if good:
            cells = [spread([percentile(ms, share) for ms in good]) for share in (0.5, 0.99, 1)]
        else:
            cells = [mine[-1]["why_not"], "", ""]
        rows.append([tool, workload, *cells])
    return rows
