"""--tree: how deep a command stands is what a loop over the JSON finds, with orphans, PIDs used again, lost rows."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import SECOND_NS, Row, batch, exits, fork, gap, row
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import record, storm
from test_golden import everything, shown

from tracer.stream.ancestry import MOST, Ancestry
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.schema import Flag, Kind
from tracer.text.width import width
from tracer.views.fields import TextFields
from tracer.views.jsonl import JsonLines
from tracer.views.lines import Lines
from tracer.views.view import View

ROOT = Path(__file__).parents[2]
ALL = frozenset({Kind.SNAPSHOT, Kind.FORK, Kind.EXEC, Kind.EXIT})
EXECS = frozenset({Kind.EXEC})


def lines(kinds: frozenset[Kind] = ALL) -> Lines:
    return Lines(kinds, False, False, 0, tree=True)


def of_fields(kinds: frozenset[Kind] = ALL) -> TextFields:
    return TextFields(["event", "comm"], JsonLines(kinds, False, 0), False, 0, tree=kinds)


def indents(view: View, told: Batch, comm: str = "sh") -> list[int]:
    """The levels of the lines about processes, from the cells ahead of their command."""
    texts = [line for line in shown(view, told).splitlines() if "gap" not in line]
    starts = [line.index(f" {comm}") for line in texts]
    left = min(starts, default=0)
    assert all((start - left) % 2 == 0 for start in starts)
    return [(start - left) // 2 for start in starts]


def loop(told: Batch, kinds: frozenset[Kind]) -> list[int]:
    """The same, by a plain loop over the JSON of all rows."""
    parents: dict[str, str] = {}
    seen, depths = set(), []
    for event in map(json.loads, shown(JsonLines(ALL, False, 0), told).splitlines()):
        if event["event"] not in {kind.name.lower() for kind in ALL}:
            continue
        me = event["proc_id"]
        if event["parent_id"]:
            parents.setdefault(me, event["parent_id"])
        if event["event"] in {kind.name.lower() for kind in kinds}:
            above, at = 0, parents.get(me, "")
            while at in parents or at in seen:
                above, at = above + (at in seen), parents.get(at, "")
            depths.append(above)
            seen.add(me)
    return depths


@st.composite
def histories(draw: st.DrawFn) -> Batch:
    """What processes do: few PIDs, so that they are used again; orphans; rows that are lost."""
    living: list[tuple[int, int, int, int]] = [(1, 1, 0, 0)]  # tgid, start, its parent's
    rows: list[Row] = [row(Kind.SNAPSHOT, 1, start_ns=1, parent_tgid=0, parent_start_ns=0)]
    for step in range(2, draw(st.integers(2, 40))):
        tgid, start_ns, parent, parent_start_ns = draw(st.sampled_from(living))
        who: dict[str, Any] = {
            "start_ns": start_ns,
            "parent_tgid": parent,
            "parent_start_ns": parent_start_ns,
            "ts_ns": SECOND_NS + step,
        }
        what = draw(st.sampled_from(["fork", "fork", "exec", "exit", "gap"]))
        free = set(range(2, 9)) - {one[0] for one in living}
        if what == "fork" and free:
            child = min(free)
            living.append((child, step, tgid, start_ns))
            made = fork(child, start_ns=step, parent_tgid=tgid, parent_start_ns=start_ns, ts_ns=SECOND_NS + step)
        elif what == "exit" and tgid != 1:
            living = [(*one[:2], 1, 1) if one[2:] == (tgid, start_ns) else one for one in living if one[0] != tgid]
            made = exits(tgid, **who)
        elif what == "gap":
            made = gap(1, SECOND_NS, SECOND_NS + step)
        else:
            made = row(Kind.EXEC, tgid, flags=draw(st.sampled_from([0, Flag.INFERRED])), **who)
        if draw(st.integers(0, 9)):  # else it is lost
            rows.append(made)
    return batch(*rows)


@settings(max_examples=60)
@given(told=histories(), kinds=st.sampled_from([ALL, EXECS, ALL - {Kind.FORK}]), cut=st.integers(0, 40))
@pytest.mark.parametrize("view", [lines, of_fields])
def test_as_a_loop_over_the_json(
    view: Callable[[frozenset[Kind]], View], told: Batch, kinds: frozenset[Kind], cut: int
) -> None:
    found = indents(view(kinds), told)
    wanted = loop(told, kinds)
    assert [depth - min(wanted, default=0) for depth in wanted] == found
    pieces, containers, again = (told.part(0, cut), told.part(cut, len(told))), Attribution(), view(kinds)
    parts = [again.render(part, containers) for piece in pieces for part in containers.split_and_learn(piece)]
    assert b"".join([*parts, again.rest()]).decode() == shown(view(kinds), told)


def test_who_forked_it_stays_the_parent_of_an_orphan() -> None:
    told = batch(
        row(Kind.SNAPSHOT, 1, start_ns=1, parent_tgid=0, parent_start_ns=0),
        fork(2, start_ns=2, parent_tgid=1, parent_start_ns=1),
        fork(3, start_ns=3, parent_tgid=2, parent_start_ns=2),
        exits(2, start_ns=2, parent_tgid=1, parent_start_ns=1),
        row(Kind.EXEC, 3, start_ns=3, parent_tgid=1, parent_start_ns=1),
        fork(2, start_ns=9, parent_tgid=3, parent_start_ns=3),  # the number again
        fork(4, start_ns=10, parent_tgid=2, parent_start_ns=2),  # of the first 2, reported late
        row(Kind.EXEC, 8, start_ns=3, parent_tgid=7, parent_start_ns=1),  # nobody knows 7
    )
    assert indents(lines(), told) == [0, 1, 2, 1, 2, 3, 2, 0]


def test_a_chain_without_end_is_bounded() -> None:
    rows = [fork(nr, start_ns=nr, parent_tgid=nr - 1, parent_start_ns=nr - 1) for nr in range(2, 200)]
    in_a_circle = [fork(1, start_ns=1, parent_tgid=199, parent_start_ns=199), exits(199, start_ns=199)]
    found = indents(lines(), batch(*rows, *in_a_circle))
    assert found[:4] == [0, 1, 2, 3] and max(found) == MOST and found[-2:] == [MOST, MOST]


def test_what_no_row_has_needed_for_longest_is_forgotten() -> None:
    first, others = storm(1, 3), storm(100, 40)
    ancestry = Ancestry(limit=8)
    for told in (first, *itertools.repeat(others, 3)):
        assert not ancestry.depths(told, np.ones(len(told), bool)).any()
    assert len(ancestry._nodes) == 8


def test_a_parent_that_was_not_shown_counts_for_those_below() -> None:
    told = batch(
        row(Kind.EXEC, 2, start_ns=2),
        fork(3, start_ns=3, parent_tgid=2, parent_start_ns=2),
        fork(4, start_ns=4, parent_tgid=3, parent_start_ns=3),
        row(Kind.EXEC, 4, start_ns=4, parent_tgid=3, parent_start_ns=3),
    )
    assert indents(lines(EXECS), told) == [0, 1]


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("columns", [20, 60, 80, 100, 120, 200])
def test_on_a_terminal(columns: int, color: bool) -> None:
    rows = [fork(nr, start_ns=nr, parent_tgid=nr - 1, parent_start_ns=nr - 1) for nr in range(2, 40)]
    deep = batch(*rows, exits(39, start_ns=39, args=[b"sh", b"-c", b"x" * 200], status=256))
    for told in (everything(), deep):
        view = Lines(ALL, color, False, 0, lambda: columns, tree=True)
        found = [view.header, *shown(view, told).splitlines()]
        assert all(width(plain(line)) <= columns for line in found)
    if columns >= 80:
        assert plain(found[-1]).split(" sh")[0].endswith(" 37") and " exit 1" in plain(found[-1])
        assert "    sh" in found[4]


def plain(line: str) -> str:
    return "".join(part.partition("m")[2] if at else part for at, part in enumerate(line.split("\x1b[")))


def test_where_it_has_no_meaning(tmp_path: Path) -> None:
    file = tmp_path / "a.arrows"
    record(file, [storm(1, 2)])
    for words, said in (
        ("--json", "--tree is for text: in JSON parent_id says who is the parent"),
        ("--fields pid", "--tree indents comm, args, exe: --fields has none of them"),
    ):
        argv = [sys.executable, "-m", "tracer", "replay", "--tree", *words.split(), str(file)]
        done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=60)
        assert done.returncode == 2 and done.stderr.startswith(f"nstrace: {said}\n")
