"""nstrace join: the as-of join of DuckDB, line by line as translate - and as a plain loop over what happened."""

from __future__ import annotations

import csv
import io
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import SECOND_NS
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import WALL_NS
from test_narrowed_reading import record, source
from worlds import Being, World

from tracer.answers.translation import Translation
from tracer.ask.database import connect
from tracer.ask.join import NEEDED, Join, On
from tracer.ask.lives import build
from tracer.ask.log_numbers import numbers_in
from tracer.ask.log_times import moments_in
from tracer.ask.tables import Tables, readings
from tracer.errors import NstraceError
from tracer.past.log_lines import LogLines, Run, Unanswered
from tracer.past.translation import Hindsight
from tracer.recording.past import read_past
from tracer.recording.source import RecordedSource
from tracer.stream.metadata import split_args
from tracer.text.escape import decode
from tracer.text.log_numbers import pid_in
from tracer.text.stamps import moments_of
from tracer.text.times import rfc3339
from tracer.typed.processes import Proc, parse_space

ROOT = Path(__file__).parents[2]
WHERE = ("web", "db", "web#2", "nope", "")


def runs_of(paths: Sequence[Path]) -> list[RecordedSource]:
    return [source(list(paths))]


def joined(sources: list[RecordedSource], log: pa.Table, on: On) -> list[dict[str, Any]]:
    database = connect()
    runs = build(database, sources)
    Tables(database, readings(sources, lambda found: found), frozenset(NEEDED))
    rows: list[dict[str, Any]] = Join(database, runs, on, range(2023, 2025)).joined(log).to_pylist()
    return rows


def log_of(world: World, chance: random.Random, count: int) -> pa.Table:
    rows = []
    for _line in range(count):
        when_ns = WALL_NS + chance.randrange(0, world.now_ns + SECOND_NS)
        text = chance.choice((rfc3339(when_ns), str(when_ns), rfc3339(when_ns)[:23] + "Z", str(when_ns // 10**9), "?"))
        rows.append({"time": text, "nr": str(chance.randrange(0, 15)), "where": chance.choice(WHERE)})
    return pa.Table.from_pylist(rows)


@pytest.mark.parametrize("lag_ns", [0, 100_000_000])
@settings(max_examples=4, report_multiple_bugs=False)
@given(seed=st.integers(0, 1 << 32))
def test_it_is_what_translate_says(seed: int, lag_ns: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    world, chance = World(seed, losses=seed % 3 > 0), random.Random(seed)
    paths = record(tmp_path_factory.mktemp("world") / "x.arrows", world, 3)
    log, on = log_of(world, chance, 60), On("nr", "time", "where", "", lag_ns)
    past = read_past(source(paths))
    lines = LogLines([Run(Hindsight(past), past.span, past.wall_offset_ns, "host boot")], lag_ns)
    for row in joined(runs_of(paths), log, on):
        wanted: Translation | Unanswered
        if row["nr"] == "0":
            wanted = Unanswered.NO_PID
        elif not row["where"]:
            wanted = Unanswered.NO_CONTAINER
        elif not (stamps := moments_of(row["time"], range(2023, 2025))):
            wanted = Unanswered.NO_TIME
        else:
            wanted = lines.ask(Proc(*parse_space(row["where"]), int(row["nr"]), "x"), stamps)
        if isinstance(wanted, Unanswered):
            assert (row["process_id"], row["process_unknown"]) == (None, wanted.value), row
            continue
        entry = wanted.entry
        assert (row["process_id"], row["process_pids"]) == (str(entry.proc_id), list(entry.numbers)), row
        assert row["process_unknown"] is None
        assert row["process_comm"] == (decode(entry.comm) or None), row
        args = None if entry.args is None else [decode(arg) for arg in split_args(entry.args)]
        assert row["process_args"] == args, row
        if entry.comm:  # before its first report it is not known where it was
            assert row["process_container"] == (entry.container and entry.container.name), row


def holders(world: World, where: str, nr: int, begin_ns: int, end_ns: int) -> list[Being]:
    """Who really had a number at some time from begin to end."""

    def has(being: Being) -> bool:
        if not where:
            return being.tgid == nr
        return (
            any(number == nr for _inum, number, _gen in being.inside) and being.cgroup_id == {"web": 7, "db": 8}[where]
        )

    return [
        being
        for being in world.beings
        if has(being) and being.start_ns <= end_ns and (being.end_ns is None or being.end_ns > begin_ns)
    ]


@pytest.mark.parametrize("where", ["", "web"])
@settings(max_examples=4, report_multiple_bugs=False)
@given(seed=st.integers(0, 1 << 32))
def test_it_is_what_happened_or_not_known(seed: int, where: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Lines that processes write about themselves: none is given to another, and without losses each to its own."""
    world, chance = World(seed, losses=seed % 2 > 0), random.Random(seed)
    paths = record(tmp_path_factory.mktemp("world") / "x.arrows", world, 3)
    lines = []
    for being in world.beings:
        number = being.inside[-1][1] if where and being.inside else being.tgid
        if (being.cgroup_id == 7) == bool(where) or not where:
            end_ns = being.end_ns or world.now_ns
            lines.append((being, number, chance.randrange(being.start_ns, max(end_ns, being.start_ns + 1))))
    if not lines:
        return
    log = pa.table({"ts": [WALL_NS + ns for _being, _nr, ns in lines], "nr": [nr for _being, nr, _ns in lines]})
    try:
        found = joined(runs_of(paths), log, On("nr", "ts", "", where, 0))
    except NstraceError as error:
        assert "no container named 'web' was recorded" in error.message
        return
    for row, (being, number, ns) in zip(found, lines, strict=True):
        truth = holders(world, where, number, ns, ns)
        if row["process_id"] is not None:
            assert row["process_id"] == f"{being.tgid}-{being.start_ns}", (row, truth)
        elif not world.losses and len(truth) == 1 and row["process_unknown"] != Unanswered.NOT_RECORDED.value:
            raise AssertionError(f"{row} is {being}")


TIMES = [
    "2023-11-14T22:13:22Z", "2023-11-14 22:13:22.5+01:00", "2023-11-14T22:13:22.123456789Z", "1700000002",
    "1700000002123", "1700000002123456", "1700000002123456789", "Nov 14 22:13:22", "[Tue Nov 14 22:13:22 2023]",
    "2023-02-30T00:00:00Z", "yesterday", "", "2023-11-14T22:13:22", "2023-11-05 01:30:00", "1700000002.25", "17",
    "1700000002.0", "1700000002123.0", "1700000002.00",
]  # fmt: skip


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_times_are_read_as_everywhere(zone: str, in_zone: Any) -> None:
    in_zone(zone)
    for texts in (TIMES, [text for text in TIMES if "02-30" not in text]):
        found = moments_in(pa.array(texts), range(2023, 2024))
        got = sorted(zip(found.line.tolist(), found.begin_ns.tolist(), found.end_ns.tolist(), strict=True))
        wanted = [
            (at, s.begin_ns, s.end_ns) for at, text in enumerate(texts) for s in moments_of(text, range(2023, 2024))
        ]
        assert got == sorted(wanted)


EXACT = {  # what is added to two times in whole seconds -> how long each is meant to be
    "whole seconds": (0, 10**9), "half seconds": (5 * 10**8, 10**6), "milliseconds": (123 * 10**6, 10**6),
    "microseconds": (123_456_000, 1000),
}  # fmt: skip


@pytest.mark.parametrize("exact", EXACT)
def test_numbers_are_as_exact_as_all_of_their_column(exact: str) -> None:
    more_ns, length_ns = EXACT[exact]
    begin_ns = [WALL_NS, WALL_NS + more_ns]
    of_ns = pa.array([None, *begin_ns], pa.int64())
    forms: dict[str, pa.Array] = {"integers": of_ns, "floats": pa.array([None, *(ns / 10**9 for ns in begin_ns)])}
    forms |= {unit: of_ns.cast(pa.timestamp("ns", "UTC")).cast(pa.timestamp(unit, "UTC")) for unit in ("us", "ns")}
    forms |= {
        "dictionary": forms["ns"].dictionary_encode(),
        "ms as floats": pa.array([0, *(ns / 10**6 for ns in begin_ns)]),
    }
    for form, column in forms.items():
        found = moments_in(column, range(0))
        assert (found.line.tolist(), found.begin_ns.tolist()) == ([1, 2], begin_ns), form
        assert (found.end_ns - found.begin_ns + 1).tolist() == [length_ns] * 2, form


def test_floats_that_are_no_times() -> None:
    odd = pa.array([float("nan"), float("inf"), -1.7e9, 1e300, 0.5, 17.0, 1.7e9])
    assert moments_in(odd, range(0)).line.tolist() == [6]
    assert len(moments_in(odd[:0], range(0)).line) == 0


def test_a_time_beyond_all_recordings_is_none() -> None:
    """As 9999-12-31 for never: the others of its column are read."""
    texts = ["9999-12-31T23:59:59Z", "0001-01-01 00:00:00+00:00", "2300-01-01T00:00:00Z", "2023-11-14T22:13:20Z"]
    assert moments_in(pa.array(texts), range(2023, 2024)).line.tolist() == [3]
    ticks = pa.array([-(1 << 63), (1 << 63) - 1, WALL_NS], pa.int64())
    for column in (ticks, ticks.cast(pa.timestamp("ns", "UTC"))):
        assert moments_in(column, range(0)).line.tolist() == [2]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_of_parquet(unit: str, in_zone: Any) -> None:
    in_zone("America/New_York")
    text = "2023-11-05 01:30:00"  # twice, as the clock is put back
    naive = moments_in(pa.array([text]).cast(pa.timestamp(unit)), range(0))
    assert set(naive.begin_ns.tolist()) == {stamp.begin_ns for stamp in moments_of(text, range(0))}
    length_ns = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}[unit]
    ticks = pa.array([WALL_NS // length_ns, WALL_NS // length_ns + 1], pa.int64())
    aware = moments_in(ticks.cast(pa.timestamp(unit, "UTC")), range(0))
    assert aware.begin_ns.tolist() == [WALL_NS, WALL_NS + length_ns]
    assert (aware.end_ns - aware.begin_ns + 1).tolist() == [length_ns] * 2


def test_blanks_around_a_name_are_none_of_it(tmp_path: Path) -> None:
    made = World(5, losses=False)
    paths = record(tmp_path / "x.arrows", made, 1000)
    being = next(being for being in made.beings if being.end_ns and being.inside and being.cgroup_id == 8)
    when, number = str(WALL_NS + being.start_ns), str(being.inside[-1][1])
    log = pa.table({"t": [when, f" {when} "], "where": ["db", " /db\t"], "n": [number, f" {number}"]})
    one, other = joined(runs_of(paths), log, On("n", "t", "where", "", 0))
    assert one["process_id"] == other["process_id"] == f"{being.tgid}-{being.start_ns}"


OF_104 = {
    "float": pa.array([104.0, None, 104.5, -104.0, float("nan"), float("inf"), 1e300]),
    "half": pa.array(np.array([104.0, 0, 104.5], np.float16)),
    "decimal": pa.array([Decimal("104.00"), None, Decimal("104.50")]),
    "unsigned": pa.array([104, None, (1 << 64) - 1], pa.uint64()),
    "text": pa.array(["104", "", " 104.5 ", "1o4", "104 104", "١٠٤", "104\n1"]),
    "blanks": pa.array(["\t 104.0 ", None, "9" * 400]),
    "dictionary": pa.array([" 0104", None, "104.01"]).dictionary_encode(),
    "large": pa.array(["104.", None, "-104"], pa.large_string()),
    "other": pa.array([[104]]).take(pa.array([None, 0])),
}


@pytest.mark.parametrize("form", OF_104)
def test_pids_are_whole_numbers_in_any_form(form: str) -> None:
    wanted = [0 if form == "other" else 104] + [0] * (len(OF_104[form]) - 1)
    assert numbers_in(OF_104[form]).tolist() == wanted
    assert list(map(pid_in, OF_104[form].to_pylist())) == wanted


def nstrace(*args: object, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tracer", "join", *map(str, args)]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, cwd=ROOT, timeout=100, check=False)


@pytest.fixture
def world(tmp_path: Path) -> tuple[list[Path], Being]:
    made = World(5, losses=False)
    paths = record(tmp_path / "x.arrows", made, 1000)
    return paths, next(being for being in made.beings if being.end_ns and being.inside)


@pytest.mark.parametrize("form", ["--json", "--csv", "text", "jsonl", "csv", "parquet"])
def test_the_command(form: str, world: tuple[list[Path], Being], tmp_path: Path) -> None:
    (path,), being = world
    text = rfc3339(WALL_NS + being.start_ns)
    log = f'when,host_pid,message\n{text},{being.tgid},"two\nlines"\n{text},99,nobody\n'
    (tmp_path / "log.csv").write_text(log)
    args = [tmp_path / "log.csv", "--from", path, "--on", "host_pid", "--time-column", "when", "--lag", "0"]
    out = tmp_path / f"out.{form}"
    options = {"text": []}.get(form, [form] if form.startswith("--") else ["-w", out])
    done = nstrace(*args, *options)
    assert done.returncode == 0
    said, *wrote = done.stderr.splitlines()
    assert said == "nstrace: 2 lines, 1 joined; 1 not: no recorded process had it then"
    assert [line.startswith(f"nstrace: wrote {out}: 2 rows, ") for line in wrote] == [True] * out.exists()
    shown = done.stdout if not out.exists() else out.read_bytes()
    if form in ("--json", "jsonl"):
        rows = [json.loads(line) for line in shown.splitlines()]
    elif form == "parquet":
        rows = pq.read_table(out).to_pylist()
    elif form == "text":
        assert f"{being.tgid}-{being.start_ns}" in done.stdout and "no recorded process had it then" in done.stdout
        return
    else:
        rows = list(csv.DictReader(io.StringIO(shown if isinstance(shown, str) else shown.decode())))
    assert [row["message"].replace("\\x0a", "\n") for row in rows] == ["two\nlines", "nobody"]
    assert [row["process_id"] or None for row in rows] == [f"{being.tgid}-{being.start_ns}", None]
    assert [row["process_unknown"] or None for row in rows] == [None, "no recorded process had it then"]


def test_from_stdin_and_parquet(world: tuple[list[Path], Being], tmp_path: Path) -> None:
    (path,), being = world
    inum, number, _gen = being.inside[-1]
    args = ["--from", path, "--on", "n", "--time-column", "t", "--in", f"pidns:{inum}", "--lag", "0", "--json", "-q"]
    found = [json.loads(nstrace("-", *args, stdin=f"t,n\n{WALL_NS + being.start_ns},{number}\n").stdout)]
    times = pa.array([WALL_NS + being.start_ns]).cast(pa.timestamp("ns", "UTC"))
    pq.write_table(pa.table({"t": times, "n": pa.array([float(number)])}), tmp_path / "log.parquet")
    found.append(json.loads(nstrace(tmp_path / "log.parquet", *args).stdout))
    assert [row["process_pid"] for row in found] == [being.tgid] * 2
    assert found[1]["t"] == rfc3339(WALL_NS + being.start_ns)


@pytest.mark.parametrize(
    ("log", "options", "code", "said"),
    [
        ("a,b\n1,2\n", ["--on", "pid", "--time-column", "b"], 2, "the log has no column pid"),
        ("a,b\n1,2\n", ["--on", "a", "--time-column", "tim"], 2, "the log has no column tim"),
        ("a,b\n1,2\n", ["--on", "a,b,c", "--time-column", "b"], 2, "--on is the name of one column, or of two"),
        ("a,b\n1,2\n", ["--on", "a,b", "--in", "web", "--time-column", "b"], 2, "goes with a single column"),
        ("a,b\n1,2\n", ["--on", "a", "--in", "nope", "--time-column", "b"], 3, "no container named 'nope'"),
        ("a,a\n1,2\n", ["--on", "a", "--time-column", "a"], 2, "has the column a twice"),
        ("a,process_id\n1,2\n", ["--on", "a", "--time-column", "a"], 2, "begin with process_"),
        ('{"a": 1}\n', ["--on", "a", "--time-column", "a"], 2, "lines of JSON"),
        ("", ["--on", "a", "--time-column", "a"], 1, "is empty"),
        ("a,b\n1\n", ["--on", "a", "--time-column", "b"], 1, "row 1 behind the header has 1 columns, the header 2"),
        ('a,b\n1,2\n3,"4\n5,6\n', ["--on", "a", "--time-column", "b"], 1, "a quote is not closed, in row 2 behind"),
        ('a,b\n1,2\n3,"4"5\n6,7\n', ["--on", "a", "--time-column", "b"], 1, "in row 2 behind the header"),
        ('a,"b\n1,2\n', ["--on", "a", "--time-column", "b"], 1, "a quote is not closed, in the header"),
        ("PAR1xxxx", ["--on", "a", "--time-column", "b"], 1, "cannot be read"),
        ("a,b\n1,2\n", ["--on", "a", "--time-column", "b", "--json", "--csv"], 2, "exclude each other"),
        ("a,b\n1,2\n", ["--on", "a", "--time-column", "b", "-w", "x.txt"], 2, "does not say in which format"),
    ],
)
def test_mistakes(
    log: str, options: list[str], code: int, said: str, world: tuple[list[Path], Being], tmp_path: Path
) -> None:
    (tmp_path / "log").write_text(log)
    done = nstrace(tmp_path / "log", "--from", world[0][0], *options)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr and "Traceback" not in done.stderr
