"""Results as tables for people: medians, with the least and the most of all rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

Rows = list[list[str]]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, and in brackets least and most where there are several."""
    if not values:
        return "-"
    middle = f"{median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(header: list[str], rows: Rows) -> str:
    """A Markdown table whose columns stand under each other."""
    widths = [max(len(row[at]) for row in [header, *rows]) for at in range(len(header))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
             for row in [header, *rows]]  # fmt: skip
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


HEADER = ["tool", "time with/without", "told", "reader us/event", "peak MiB", "bytes/event", "first event s"]


def storm_rows(tools: Sequence[str], results: list[dict[str, Any]], firsts: list[dict[str, Any]]) -> Rows:
    """A row for each tool of what `bench.measure.under_storm` gave. The time is compared with no tool's right before
    and behind."""
    without = {(r["round"], r["place"]): _took(r) for r in results if r["tool"] == "none" and "seconds" in r}
    return [_storm_row(tool, [r for r in results if r["tool"] == tool], without, firsts) for tool in tools]


def _took(result: dict[str, Any]) -> float:
    """How long the storm took; at a rate, where it always takes as long, an operation."""
    return float(result["op_ns"]["p50"] if result["mode"] == "rate" else result["seconds"])


def _slow_down(result: dict[str, Any], without: dict[tuple[int, int], float]) -> float:
    """Against the runs without a tool beside it; 0: there are none."""
    step = 2 if result["tool"] == "none" else 1
    beside = [without.get((result["round"], result["place"] + way)) for way in (-step, step)]
    found = [seconds for seconds in beside if seconds]
    return _took(result) / (sum(found) / len(found)) if found else 0.0


def _storm_row(
    tool: str, results: list[dict[str, Any]], without: dict[tuple[int, int], float], firsts: list[dict[str, Any]]
) -> list[str]:
    good = [result for result in results if "seconds" in result]
    if not good:
        reason = results[-1]["why_not"] if results else "not measured"
        return [tool, reason, *[""] * (len(HEADER) - 2)]
    slow = [ratio for r in good if (ratio := _slow_down(r, without))]
    if tool == "none":
        return [tool, spread(slow), *["-"] * (len(HEADER) - 2)]
    expected, told = sum(r["expected"] for r in good), sum(r["told"] for r in good)
    rss = spread([r["rss"] / 2**20 for r in good], 0)
    if not expected:
        return [tool, spread(slow), "-", f"{spread([r['cpu_ns'] / 1e6 for r in good], 0)} ms in all", rss, "-", "-"]
    events = [max(1, r["told"]) for r in good]
    after = [r["after_ns"] / n / 1e3 for r, n in zip(good, events, strict=True)]
    cpu = spread([r["cpu_ns"] / n / 1e3 for r, n in zip(good, events, strict=True)])
    first = [f["seconds"] for f in firsts if f["tool"] == tool and "seconds" in f]
    return [
        tool,
        spread(slow),
        "all" if told == expected else f"{math.floor(10_000 * told / expected) / 100:.2f} %",
        f"{cpu} + {median(after):.1f} later" if median(after) else cpu,
        rss,
        f"{median(r['bytes_per_event'] for r in good):.0f}",
        spread(first),
    ]


def summary(results: list[dict[str, Any]], firsts: list[dict[str, Any]]) -> str:
    """The small table: ours, the cheapest peer that tells events as they happen, a floor."""
    named = {row[0]: row for row in storm_rows(list(dict.fromkeys(r["tool"] for r in results)), results, firsts)}
    shown = ["nstrace follow", "nstrace follow --json", "nstrace record", *_PEERS_IN_SUMMARY, *_FLOORS_IN_SUMMARY]
    return table(HEADER[:5], [named[name][:5] for name in shown if name in named])


_PEERS_IN_SUMMARY = ("bpftrace", "libbpf-tools execsnoop + exitsnoop", "forkstat", "perf trace", "perf record")
_FLOORS_IN_SUMMARY = ("ring, C reader that counts", "the same, woken by every event")


def latency_rows(results: list[dict[str, Any]]) -> Rows:
    """A row for each tool and workload of what `bench.measure.latency` gave."""
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
