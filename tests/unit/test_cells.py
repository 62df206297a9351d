"""CSV: no cell is a formula, nothing is unseen, and docs/security.md tells how to undo it."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from builders import PIDNS, SECOND_NS, batch, cgroup, exits, row
from hypothesis import given
from hypothesis import strategies as st
from recordings import record
from test_export import nstrace
from test_gate import CORPUS, HOSTILE_BYTES, check

from tracer.recording.export import _cells
from tracer.stream.metadata import Container
from tracer.stream.schema import Kind
from tracer.text.cells import cell
from tracer.text.escape import decode

FORMULAS = [
    *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "'=1", '"=1', "=cmd|'/C calc'!A0", "\uff1d1"),
    *("a;=1", "a; =1", 'a";"=1', ";-x", "\\x3d1", "\\x3D1", "\\\\x3d", "\\x3", "a\\", "\\u200b", "\\U0001f600", "\\"),
    *("-bash", "x=1", "a-b", "user@host", "", "a,b", 'a"b'),
]


def documented() -> Callable[[str], str]:
    """The function that docs/security.md gives."""
    text = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    restored: Callable[[str], str] = names["restored"]
    return restored


restored = documented()


def check_cell(text: str) -> None:
    shown = cell(text)
    check(shown.encode())
    assert not re.match(r"[\s'\"]*[=+\-@\uff0b\uff0d\uff1d\uff20]", shown)
    assert not re.search(r";[\s'\"]*[=+\-@]", shown)
    assert restored(shown) == text
    assert _cells(pa.array([text, None, "x"])).to_pylist() == [shown, None, "x"]


@pytest.mark.parametrize("text", [*FORMULAS, *(decode(text.encode("utf-8", "surrogateescape")) for text in CORPUS)])
def test_a_cell(text: str) -> None:
    check_cell(text)


@given(st.text(st.one_of(st.sampled_from("=+-@;\\xuU0123abc'\" \t\n"), st.text(min_size=1, max_size=1))))
def test_any_text(text: str) -> None:
    check_cell(text)


def test_plain_text_is_as_it_is() -> None:
    for text in ("sh -c 'sleep 1'", "web", "/bin/ls", "a\\b", "grep 'a\\.b'", "SIGKILL", "é日🐳", "60-1000000000"):
        assert cell(text) == text


def test_an_export_that_is_undone(tmp_path: Path) -> None:
    """Each text of the CSV is that of the JSON again; what is negative stays a number."""
    owner = Container("a" * 64, "=docker", "=web\x1b[35m", "-nginx\u200b", {})
    args = [b"=1+1", b"-x", b"", b"a b", b"\xff\x1b]0;x\x07", b";=1", b"\\x3d", HOSTILE_BYTES]
    rows = batch(
        cgroup(7, owner),
        row(Kind.EXEC, 60, [(PIDNS, 15)], cgroup_id=7, exe=b"=exe\t", args=args, comm=b"-bash\r"),
        exits(60, [(PIDNS, 15)], cgroup_id=7, comm=b"@x", start_ns=9 * SECOND_NS, ts_ns=2 * SECOND_NS),
    )
    record(tmp_path / "x.arrows", [rows], host="+host\x07")
    raw = nstrace("export", "--to", "csv", "-w", "-", tmp_path / "x.arrows")
    check(raw.encode())
    found = list(csv.DictReader(io.StringIO(raw)))
    events = [json.loads(line) for line in nstrace("replay", "--json", tmp_path / "x.arrows").splitlines()]
    for line, event in zip(found, events, strict=True):
        assert restored(line["comm"]) == event["comm"]
        assert restored(line["container"]) == event["container"]["name"]
        assert restored(line["image"]) == event["container"]["image"]
        assert restored(line["runtime"]) == event["container"]["runtime"]
        assert restored(line["host"]) == "+host\x07"
        if event["event"] == "exec":
            assert shlex.split(restored(line["args"])) == event["args"]
            assert restored(line["exe"]) == event["exe"]
        else:
            assert line["duration_ns"] == "-7000000000" == str(event["duration_ns"])
        for value in line.values():
            assert not re.match(r"[=+@\t\r]", value)
