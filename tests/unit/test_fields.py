"""--fields: the members that were asked for, as they are in the JSON; the same whatever batches the rows came in."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import WALL_NS, record, storm
from test_golden import ALL_KINDS, everything
from test_outputs_agree import golden, of_every_kind

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.text.escape import is_shown
from tracer.views.fields import NAMES, JsonFields, TextFields
from tracer.views.jsonl import JsonLines
from tracer.views.view import View

ROOT = Path(__file__).parents[2]
ROWS = (golden(), of_every_kind(), storm(1, 5))


def json_lines() -> JsonLines:
    return JsonLines(ALL_KINDS, True, WALL_NS)


def shown(view: View, *batches: Batch) -> bytes:
    containers = Attribution()
    return b"".join(view.render(part, containers) for whole in batches for part in containers.split_and_learn(whole))


def test_json_has_these_members_as_they_are() -> None:
    for names in (list(NAMES), list(reversed(NAMES)), ["pids"], ["args", "comm", "signal"]):
        for rows in ROWS:
            plain = [json.loads(line) for line in shown(json_lines(), rows).splitlines()]
            found = [json.loads(line) for line in shown(JsonFields(names, json_lines()), rows).splitlines()]
            for line, whole in zip(found, plain, strict=True):
                if whole["event"] in ("gap", "repair"):
                    assert line == whole
                else:
                    assert list(line) == names and line == {name: whole.get(name) for name in names}


def view_of(names: list[str]) -> TextFields:
    return TextFields(names, json_lines(), True, WALL_NS)


@settings(max_examples=40)
@given(st.lists(st.sampled_from(list(NAMES)), min_size=1, unique=True), st.integers(0, len(golden())))
def test_text_is_the_same_however_rows_are_cut_into_batches(names: list[str], cut: int) -> None:
    rows = golden()
    whole = shown(view_of(names), rows)
    assert shown(view_of(names), rows.part(0, cut), rows.part(cut, len(rows))) == whole
    assert all(is_shown(line) for line in whole.decode().splitlines())
    assert whole.count(b"\n") == shown(json_lines(), rows).count(b"\n")


def test_columns_stand_below_their_names() -> None:
    view = view_of(["event", "pid", "pids", "args"])
    assert view.header == "EVENT        PID PIDS        ARGS"
    assert shown(view, storm(1, 1)).decode().splitlines() == [
        "fork        1001 1001>1      -",
        "exec        1001 1001>1      ls 1",
        "exit        1001 1001>1      -",
    ]


def test_a_gap_says_all_that_it_says() -> None:
    lines = shown(view_of(["pid"]), everything()).decode().splitlines()
    assert any("event=gap lost=" in line for line in lines)


def nstrace(*words: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-W", "error::ImportWarning", "-m", "tracer", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=100, cwd=ROOT)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fields") / "a.arrows"
    record(path, [storm(1, 2)])
    return path


def test_of_a_recording(file: Path) -> None:
    def lines(*words: object) -> list[dict[str, Any]]:
        return list(map(json.loads, nstrace(*words, file).stdout.splitlines()))

    fields = ("--fields", "pid,tid, args")
    plain = [{name: line[name] for name in ("pid", "tid")} for line in lines("replay", "--json", "--threads")]
    for words in (["replay", "--json"], ["export", "--to", "jsonl", "-w", "-"]):
        assert [{"pid": line["pid"], "tid": line["tid"]} for line in lines(*words, *fields)] == plain
    table = csv.DictReader(io.StringIO(nstrace("export", "--to", "csv", "-w", "-", *fields, file).stdout))
    assert [list(row) for row in table] == [["pid", "tid", "args"]] * 6
    assert nstrace("replay", *fields, "-q", file).stdout.splitlines()[1].split() == ["1001", "1001", "ls", "1"]


def test_columns_of_tables(file: Path) -> None:
    def first(*words: str) -> list[str]:
        done = nstrace("export", "-w", "-", *words, file)
        return done.stdout.splitlines()[:2]

    header, line = first("--to", "csv", "--fields", "host,pid")
    assert header == '"host","pid"' and line.endswith(",1001") and len(line.split(",")[0]) > 2
    assert first("--to", "csv", "--what", "processes", "--fields", "exit_code,pid") == ["exit_code,pid", "0,1001"]
    (line, _line) = first("--to", "jsonl", "--what", "processes", "--fields", "commands,pid")
    assert json.loads(line) == {"commands": ["ls 1"], "pid": 1001}
    listed = nstrace("export", "--what", "gaps", "--fields", "help").stdout
    assert "lost " in listed and "commands" not in listed
    for words, said in (
        (("--to", "jsonl", "--fields", "host"), "host is in tables alone: use --to csv"),
        (("--to", "csv", "--what", "gaps", "--fields", "comm"), "there is no 'comm'"),
        (("--to", "parquet", "--what", "gaps", "--fields", "lost"), "Parquet is read by column"),
    ):
        done = nstrace("export", "-w", "-", *words, file)
        assert (done.returncode, done.stdout) == (2, "") and said in done.stderr


def test_help_and_mistakes(file: Path) -> None:
    done = nstrace("replay", "--fields", "help")
    assert done.returncode == 0 and [line.split()[0] for line in done.stdout.splitlines()] == list(NAMES)
    done = nstrace("replay", "--fields", "pid,comn", file)
    assert done.returncode == 2
    assert done.stderr == "nstrace: --fields: there is no 'comn'\n  did you mean comm? --fields help lists the names\n"
    assert nstrace("export", "--to", "parquet", "--fields", "pid", file).returncode == 2
    assert "use --to jsonl" in nstrace("export", "--to", "csv", "--fields", "until", file).stderr
