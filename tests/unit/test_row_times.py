"""The forms of the column TIME: what a loop over the JSON computes; the same however rows are cut into batches."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import SECOND_NS, batch, exits, fork, gap
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import facts, record, storm
from test_golden import ALL_KINDS, WALL_OFFSET_NS, everything, shown

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.text import zone
from tracer.text.row_times import row_times
from tracer.views.fields import TextFields
from tracer.views.jsonl import JsonLines
from tracer.views.lines import Lines
from tracer.views.view import View

ROOT = Path(__file__).parents[2]
OTHERS = ("epoch", "boot", "relative", "delta")
FORMS: dict[str, Callable[[int, int, int], str]] = {
    "epoch": lambda at, _first, _before: seconds(at + WALL_OFFSET_NS, 9),
    "boot": lambda at, _first, _before: seconds(at, 6),
    "relative": lambda at, first, _before: seconds(at - first, 6),
    "delta": lambda at, _first, before: seconds(at - before, 6),
}


def seconds(ns: int, digits: int) -> str:
    unit = 10 ** (9 - digits)
    text = f"{abs(ns) // unit:0{digits + 1}}"
    sign = "-" if ns <= -unit else ""
    return f"{sign}{text[:-digits]}.{text[-digits:]}"


def lines() -> Lines:
    return Lines(ALL_KINDS, False, False, WALL_OFFSET_NS)


def of_fields() -> TextFields:
    return TextFields(["time", "event"], JsonLines(ALL_KINDS, False, WALL_OFFSET_NS), False, WALL_OFFSET_NS)


def expected(form: str, told: Batch) -> list[str]:
    """The column, by a loop over the JSON."""
    times = [json.loads(line)["ts_ns"] for line in shown(JsonLines(ALL_KINDS, False, 0), told).splitlines()]
    before = [times[0], *times[:-1]]
    return [FORMS[form](at, times[0], earlier) for at, earlier in zip(times, before, strict=True)]


@pytest.mark.parametrize("form", OTHERS)
@pytest.mark.parametrize("view", [lines, of_fields])
def test_as_a_loop_over_the_json(form: str, view: Callable[[], View], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone, "_form", form)
    for told in (storm(1, 5), storm(1, 200)):
        assert [line.split()[0] for line in shown(view(), told).splitlines()] == expected(form, told)


@pytest.mark.parametrize("form", OTHERS)
def test_gaps_are_rows_too(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone, "_form", form)
    rows = [fork(9, ts_ns=SECOND_NS), gap(5, SECOND_NS, 3 * SECOND_NS), exits(9, ts_ns=7 * SECOND_NS)]
    for view in (lines(), of_fields()):
        times = [line.split()[0].removeprefix("time=") for line in shown(view, batch(*rows)).splitlines()]
        assert times == expected(form, batch(*rows))
    first, last = (FORMS[form](at * SECOND_NS, SECOND_NS, SECOND_NS) for at in (1, 3))
    between = f"{first} and {last}" if form in ("epoch", "boot") else "22:13:21.000 and 22:13:23.000"
    monkeypatch.setattr(zone, "fields", lambda second: __import__("time").gmtime(second))
    assert f"lost 5 events on CPU 0 between {between}" in shown(lines(), batch(*rows))


@pytest.mark.parametrize("form", OTHERS)
@pytest.mark.parametrize("view", [lines, of_fields])
@settings(max_examples=20)
@given(cuts=st.sets(st.integers(0, len(everything())), max_size=6))
def test_the_same_however_rows_are_cut(form: str, view: Callable[[], View], cuts: set[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zone, "_form", form)
        told, cut, attribution = everything(), view(), Attribution()
        ends = [0, *sorted(cuts), len(told)]
        pieces = [told.part(begin, end) for begin, end in itertools.pairwise(ends)]
        parts = [part for piece in pieces for part in attribution.split_and_learn(piece)]
        text = b"".join([*(cut.render(part, attribution) for part in parts), cut.rest()]).decode()
        assert text == shown(view(), told)


@pytest.mark.parametrize("form", zone.FORMS)
def test_columns_stand_below_their_titles(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone, "_form", form)
    for columns in (None, 60, 80, 120):
        view = Lines(ALL_KINDS, False, False, WALL_OFFSET_NS, lambda columns=columns: columns)  # type: ignore[misc]
        lines = [view.header, *shown(view, storm(1, 5)).splitlines()]
        header = max(at for at, line in enumerate(lines) if "TIME" in line)  # again where the columns have changed
        end = lines[header].index(" PID ") + len(" PID")
        assert len(lines[header + 1 :]) == 15
        assert all(line[end - 1].isdigit() and line[end] == " " for line in lines[header + 1 :])
        assert all(columns is None or len(line) <= columns for line in lines)


def test_a_row_that_is_earlier_has_a_sign() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zone, "_form", "delta")
        times = row_times(0)
        assert [times.text(ns).strip() for ns in (-1_500_000_000, -999, 0, 1_000)] == [
            "-1.500000",
            "0.000000",
            "0.000000",
            "0.000001",
        ]


def nstrace(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"NSTRACE_CONFIG": ""} | variables
    argv = [sys.executable, "-m", "tracer", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=env, timeout=60)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs of nstrace."""
    folder = tmp_path_factory.mktemp("runs")
    for name, run in (("a", 1), ("b", 2)):  # of two hosts: what both have seen of one host is shown once
        record(folder / f"{name}.arrows", [facts(), storm(1, 3)], run=str(run) * 32, host=f"web{run}")
    return folder


def test_each_run_begins_anew(runs: Path) -> None:
    shown = [line.split()[0] for line in nstrace("replay", "-q", "--time", "relative", runs).stdout.splitlines()]
    assert len(shown) == 18 and shown[:9] == shown[9:] and shown[0] == "0.000000"


def test_as_a_setting_and_where_it_has_no_meaning(runs: Path) -> None:
    file = runs / "a.arrows"
    whole = nstrace("replay", "-q", "--time", "boot", file).stdout
    assert whole and nstrace("replay", "-q", file, NSTRACE_TIME="boot").stdout == whole
    assert nstrace("replay", "--json", file, NSTRACE_TIME="boot").stdout.startswith('{"time":"2023-11-14T22:13:21')
    assert nstrace("ps", "--from", file, "all", NSTRACE_TIME="delta").returncode == 0
    wrong = "'sometimes' is not valid\n  time is local, utc, epoch, boot, relative or delta\n"
    assert nstrace("replay", file, NSTRACE_TIME="sometimes").stderr == f"nstrace: NSTRACE_TIME={wrong}"
    for typed in ("replay --json", "replay -o json --fields pid"):
        done = nstrace(*typed.split(), "--time", "delta", file)
        assert done.returncode == 2
        assert done.stderr.startswith("nstrace: --time delta is for text: times in JSON have one form\n")
    for typed in ("ps", f"export --to csv {file}", f"summary {file}"):
        done = nstrace(*typed.split(), "--time", "boot")
        assert done.returncode == 2
        assert done.stderr.startswith("nstrace: --time boot has no meaning here: it is local or utc\n")
