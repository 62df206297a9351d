"""One recording in text (JSON), in the page of timeline, in Perfetto's trace and in top: the same facts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from agreement import source
from builders import PIDNS, SECOND_NS, batch, cgroup, exits, fork, gap, row
from crowd import container, crowd
from recordings import record
from test_perfetto import Read

from tracer.past.timeline import Collector, Fate
from tracer.recording.perfetto import write_trace
from tracer.screen.model import Model, Proc
from tracer.stream.samples import ProcKey
from tracer.stream.sampling import Sampler
from tracer.stream.schema import EVENT_NAMES, Flag, Kind
from tracer.text.wait_status import ending
from tracer.views.jsonl import JsonLines

SHOWN = frozenset(Kind[name.upper()] for name in EVENT_NAMES)


class Facts(NamedTuple):
    """counts: of processes by container. ends: of those that ended, by container and how. gaps: how many were lost."""

    counts: Counter[str]
    ends: Counter[tuple[str, str]]
    gaps: list[int]


@pytest.fixture(scope="module")
def arrows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "x.arrows"
    odd = batch(
        cgroup(2000, container(90)),
        row(Kind.SNAPSHOT, 50, [(PIDNS + 90, 1)], start_ns=5, ts_ns=SECOND_NS, cgroup_id=2000),
        fork(51, [(PIDNS + 90, 2)], cgroup_id=2000, ts_ns=2 * SECOND_NS),
        exits(51, [(PIDNS + 90, 2)], cgroup_id=2000, flags=Flag.INFERRED, ts_ns=3 * SECOND_NS),
        fork(52, [(PIDNS + 90, 3), (PIDNS + 91, 1)], cgroup_id=2000, ts_ns=3 * SECOND_NS),
        gap(7, 3 * SECOND_NS, 4 * SECOND_NS),
    )
    record(path, [odd, *crowd(600, containers=5, span_s=20)])
    return path


def how(status: int) -> str:
    end = ending(status)
    return end.signal or f"exit {end.exit_code}"


def of_text(arrows: Path) -> Facts:
    found, view = source(arrows), JsonLines(SHOWN, False, 0)
    lines: list[dict[str, Any]] = []
    for part in found.batches(lambda: 0.0):
        lines += map(json.loads, view.render(part, found.attribution).splitlines())
    processes = [line for line in lines if "proc_id" in line]
    first = {line["proc_id"]: line["container"]["name"] for line in processes}
    over = [line for line in processes if line["event"] == "exit"]
    ends = [(line["container"]["name"], line["signal"] or f"exit {line['exit_code']}") for line in over if
            line["signal"] or line["exit_code"] is not None]  # fmt: skip
    return Facts(Counter(first.values()), Counter(ends), [line["lost"] for line in lines if line["event"] == "gap"])


def of_timeline(arrows: Path) -> Facts:
    found, collector = source(arrows), Collector()
    for part in found.batches(lambda: 0.0):
        collector.take(part, found.attribution)
    whole = collector.finish(0)
    labels = [lane.label for lane in whole.lanes.all]
    lives = whole.processes
    over = lives[lives["fate"] == Fate.ENDED]
    ends = zip((labels[lane] for lane in over["lane"]), map(how, over["status"].tolist()), strict=True)
    gaps = [note.lost for note in whole.notes if note.kind == "gap" and note.lost is not None]
    return Facts(Counter(labels[lane] for lane in lives["lane"]), Counter(ends), gaps)


def of_perfetto(arrows: Path) -> Facts:
    trace = arrows.with_suffix(".pftrace")
    with trace.open("wb") as file:
        write_trace(source(arrows), file)
    told = Read(trace.read_bytes())
    lanes = [(each.lane.split("/")[0], each.facts) for each in told.slices]
    ends = [
        (lane, facts.get("signal") or f"exit {facts['exit_code']}") for lane, facts in lanes if "ended" not in facts
    ]
    gaps = [each.facts["lost"] for each in told.instants if "lost" in each.facts]
    return Facts(Counter(lane for lane, _facts in lanes), Counter(ends), gaps)


def of_top(arrows: Path) -> Facts:
    """As few rows a sample as there can be, so that most processes are named."""
    found, sampler, model = source(arrows), Sampler(), Model()
    counts, ends, gaps, known = Counter[str](), Counter[tuple[str, str]](), list[int](), dict[ProcKey, Proc]()
    for part in found.batches(lambda: 0.0):
        for at in range(len(part)):
            sampler.take(part.part(at, at + 1), found.attribution)
            told = sampler.sample()
            model.apply(told)
            counts.update(model.groups[one.lane].facts.label for one in told.born)
            known |= model.procs
            known |= model._nameless  # who has ended after a brief life
            for one in told.ended:
                if one.status is not None:
                    proc = known[one.key]
                    ends[model.groups[proc.lane].facts.label, proc.how] += 1
            gaps += [loss.lost for loss in told.losses]
    assert model.living == sum(proc.ended_ns is None for proc in model.procs.values())
    return Facts(counts, ends, gaps)


@pytest.mark.parametrize("output", [of_timeline, of_perfetto, of_top])
def test_they_tell_the_same(output: Any, arrows: Path) -> None:
    expected = of_text(arrows)
    assert len(expected.counts) == 6
    assert expected.gaps == [7, 1234]
    assert len(expected.ends) > 10
    assert output(arrows) == expected
