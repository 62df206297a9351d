"""The table `processes`, made in parts: what it has does not depend on where they are cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from builders import PIDNS, SECOND_NS, batch, exits, fork, gap, repair, row
from recordings import record, rotated, storm
from test_outputs_agree import golden
from worlds import World

from tracer.ask import processes
from tracer.ask.query import Query
from tracer.ask.tables import readings
from tracer.stream.batch import Batch
from tracer.stream.schema import Kind
from tracer.wiring.open_recordings import open_later

T = 20 * SECOND_NS
ALL = "from processes order by began, proc_id"


def asked(files: list[Path], query: str = ALL) -> list[dict[str, Any]]:
    sources = open_later(list(map(str, files)), (), (), lambda _line: None)()
    schema, batches = Query(query).answer(readings(sources, lambda found: found))
    return [line for part in batches for line in part.to_pylist()] if schema else []


def in_parts(monkeypatch: pytest.MonkeyPatch, rows: int, files: list[Path], query: str = ALL) -> list[dict[str, Any]]:
    with monkeypatch.context() as patch:
        patch.setattr(processes, "_PART_ROWS", rows)
        return asked(files, query)


def pieces(whole: Batch, rows: int) -> list[Batch]:
    return [whole.part(at, min(len(whole), at + rows)) for at in range(0, len(whole), rows)]


@pytest.mark.parametrize("rows", [1, 10])
@pytest.mark.parametrize("seed", range(3))
def test_of_small_worlds(seed: int, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path / "x.arrows", [part for one in World(seed).batches for part in pieces(one, 7)])
    whole = asked([tmp_path / "x.arrows"])
    assert in_parts(monkeypatch, rows, [tmp_path / "x.arrows"]) == whole and len(whole) > 5


def test_of_every_kind_of_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path / "x.arrows", pieces(golden(), 3))
    assert in_parts(monkeypatch, 4, [tmp_path / "x.arrows"]) == asked([tmp_path / "x.arrows"])


def test_of_several_runs_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = rotated(tmp_path / "r.arrows", [storm(at * 100, 100) for at in range(3)])
    record(tmp_path / "x.arrows", [storm(50, 100)])  # another run has seen some of them, too
    whole = asked([*files, tmp_path / "x.arrows"])
    assert in_parts(monkeypatch, 64, [*files, tmp_path / "x.arrows"]) == whole
    assert len(whole) == 300


def test_a_row_behind_the_exit_is_of_the_same_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exit that was inferred too early, among rows of others, one of whom has the number by then."""
    first, second = T + 1, T + 50
    record(tmp_path / "x.arrows", [
        batch(fork(60, [(PIDNS, 15)], start_ns=first), exits(60, [(PIDNS, 15)], start_ns=first, ts_ns=T + 9)),
        storm(1, 20),
        batch(fork(60, [(PIDNS, 16)], start_ns=second, ts_ns=second)),
        storm(100, 20),
        batch(row(Kind.EXEC, 60, [(PIDNS, 15)], exe=b"/bin/late", start_ns=first, ts_ns=T + 60)),
    ])  # fmt: skip
    found = in_parts(monkeypatch, 8, [tmp_path / "x.arrows"])
    assert found == asked([tmp_path / "x.arrows"])
    assert [line["exe"] for line in found if line["pid"] == 60] == ["/bin/late", None]


@pytest.mark.parametrize("rows", [2, 1000])
def test_a_loss_of_one_run_is_not_looked_for_by_another(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = batch(fork(70, start_ns=T, ts_ns=T), gap(4, since_ns=T + 1, until_ns=T + 2))
    record(tmp_path / "a.arrows", [lost], session="1" * 32)
    record(tmp_path / "b.arrows", [batch(fork(71, start_ns=T + 5, ts_ns=T + 5), repair(T + 9))], session="2" * 32)
    found = in_parts(monkeypatch, rows, [tmp_path / "a.arrows", tmp_path / "b.arrows"])
    assert {line["pid"]: line["ended_sure"] for line in found} == {70: False, 71: True}
