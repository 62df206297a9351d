"""Columns made by themselves are those of the whole table."""

from __future__ import annotations

import pytest
from test_outputs_agree import golden, of_every_kind

from tracer.recording import some_columns
from tracer.recording.export_rows import flat
from tracer.recording.schema import FLAT
from tracer.recording.some_columns import some
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch

WALL_NS = 1_700_000_000_000_000_000


@pytest.mark.parametrize("rows", [of_every_kind(), golden(), of_every_kind().part(0, 1), Batch.concat([])], ids=len)
def test_each_column_is_as_in_the_whole_table(rows: Batch) -> None:
    containers = Attribution()
    for part in containers.split_and_learn(rows):
        whole = flat(part, containers, WALL_NS, "web1")
        for name in FLAT.names:
            alone = some(part, containers, WALL_NS, "web1", [name])
            assert alone.schema.names == [name]
            assert alone.column(name).equals(whole.column(name)), name


def test_several_are_in_the_order_of_the_table() -> None:
    found = some(of_every_kind(), Attribution(), WALL_NS, "web1", {"signal", "pid", "event"})
    assert found.schema == FLAT.empty_table().select(["event", "pid", "signal"]).schema


def test_a_column_that_nobody_has_listed_is_taken_from_the_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, containers = golden(), Attribution()
    list(containers.split_and_learn(rows))
    listed = some(rows, containers, WALL_NS, "web1", ["comm", "args"])
    monkeypatch.delitem(some_columns._MAKERS, "args")
    assert some(rows, containers, WALL_NS, "web1", ["comm", "args"]).equals(listed)
