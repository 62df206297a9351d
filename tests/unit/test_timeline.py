"""The lives of processes in columns, and the page that is made of them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import PIDNS, SECOND_NS, WEB, Row, batch, cgroup, exits, fork, gap, row
from crowd import crowd
from recordings import WALL_NS, record, storm

from tracer.past.texts import CUT, Texts
from tracer.past.timeline import Collector, Fate, Timeline
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.metadata import Container, LifeFact
from tracer.stream.schema import CONTAINER_KINDS, Flag, Kind
from tracer.views.timeline import About, pack

INSIDE = [(PIDNS, 15)]
ABOUT = About("web.arrows", "host1", WALL_NS, True, "1.0")
LIMIT_10_000, LIMIT_MILLION = 1_000_000, 10_000_000


def timeline_of(*batches: Batch, end_ns: int = 0) -> Timeline:
    attribution, collector = Attribution(), Collector()
    for whole in batches:
        for part in attribution.split_and_learn(whole):
            collector.take(part, attribution)
    return collector.finish(end_ns)


def only(*rows: Row, **others: Any) -> Any:
    """The only process of these rows, in the container web."""
    (found,) = timeline_of(batch(cgroup(7, WEB), *rows), **others).processes
    return found


def test_a_life_from_fork_to_exit() -> None:
    shared: dict[str, Any] = {"start_ns": SECOND_NS, "cgroup_id": 7}
    whole = timeline_of(batch(
        cgroup(7, WEB),
        fork(60, INSIDE, **shared),
        row(Kind.EXEC, 60, INSIDE, exe=b"/bin/ls", args=[b"ls", b"-l"], comm=b"ls", ts_ns=SECOND_NS + 5, **shared),
        exits(60, INSIDE, ts_ns=3 * SECOND_NS, status=2 << 8, comm=b"ls", **shared),
    ))  # fmt: skip
    (life,), (ran,) = whole.processes, whole.execs
    assert (life["tgid"], life["nr"], life["start_ns"], life["end_ns"]) == (60, 15, SECOND_NS, 3 * SECOND_NS)
    assert (life["fate"], life["status"], life["was_there"], life["parent"]) == (Fate.ENDED, 2 << 8, 0, -1)
    assert whole.comms[life["comm"]] == b"ls"
    assert whole.commands[life["command"]] == b"/bin/ls\0ls\0-l\0"
    assert (ran["process"], ran["ts_ns"], ran["command"], ran["errno"]) == (0, SECOND_NS + 5, life["command"], 0)
    assert [(lane.label, lane.level, lane.counts) for lane in whole.lanes.all] == [
        ("web", 1, {"fork": 1, "exec": 1, "exit": 1})
    ]


def test_whoever_did_not_end_lives_until_the_end_of_the_recording() -> None:
    life = only(fork(60, INSIDE, cgroup_id=7), end_ns=9 * SECOND_NS)
    assert (life["fate"], life["end_ns"]) == (Fate.LIVES, 9 * SECOND_NS)


def test_an_inferred_end_says_not_how() -> None:
    life = only(fork(60, INSIDE), exits(60, INSIDE, flags=Flag.INFERRED, ts_ns=5 * SECOND_NS))
    assert (life["fate"], life["end_ns"]) == (Fate.UNSEEN, 5 * SECOND_NS)


def test_whose_number_was_given_away_had_ended() -> None:
    first, second = timeline_of(batch(fork(60, start_ns=SECOND_NS), fork(60, start_ns=4 * SECOND_NS))).processes
    assert (first["fate"], first["end_ns"]) == (Fate.UNSEEN, 4 * SECOND_NS)
    assert second["fate"] == Fate.LIVES


def test_a_snapshot_was_there_before() -> None:
    life = only(row(Kind.SNAPSHOT, 60, INSIDE, start_ns=5, ts_ns=SECOND_NS))
    assert (life["was_there"], life["start_ns"]) == (1, 5)


def test_a_parent_is_found_by_its_identity() -> None:
    lives = timeline_of(batch(
        fork(50, start_ns=1), fork(50, start_ns=SECOND_NS), fork(60, start_ns=2 * SECOND_NS, parent_tgid=50,
        parent_start_ns=SECOND_NS), fork(61, start_ns=2 * SECOND_NS, parent_tgid=50, parent_start_ns=77),
    )).processes  # fmt: skip
    assert lives["parent"].tolist() == [-1, -1, 1, -1]


def test_namespaces_stand_in_each_other() -> None:
    deep = [(PIDNS, 15), (PIDNS + 1, 4), (PIDNS + 2, 1)]
    whole = timeline_of(batch(
        cgroup(7, WEB), fork(50), *(fork(60 + n, deep[: n + 1], cgroup_id=7) for n in range(3))
    ))  # fmt: skip
    assert [(lane.label, lane.level, whole.lanes.parent(lane)) for lane in whole.lanes.all] == [
        ("host", 0, None), ("web", 1, None), ("web", 2, 1), ("web", 3, 2)
    ]  # fmt: skip
    assert whole.between == {2: (15,), 3: (15, 4)}


def test_a_name_that_an_engine_tells_late_is_the_lanes() -> None:
    unnamed = Container(WEB.id, "docker")
    whole = timeline_of(
        batch(cgroup(7, unnamed, pending=True), fork(60, INSIDE, cgroup_id=7)),
        batch(cgroup(7, WEB), fork(61, [(PIDNS, 16)], start_ns=2 * SECOND_NS, cgroup_id=7)),
    )
    assert [(lane.label, lane.counts) for lane in whole.lanes.all] == [("web", {"fork": 2})]


def test_a_failed_exec_is_no_command() -> None:
    whole = timeline_of(batch(fork(60), row(Kind.EXEC_FAILED, 60, exe=b"/none", status=2)))
    assert whole.processes["command"].tolist() == [0]
    assert [(ran["errno"], whole.commands[ran["command"]]) for ran in whole.execs] == [(2, b"/none\0")]


def test_gaps_are_notes() -> None:
    (note,) = timeline_of(batch(gap(12, SECOND_NS, 2 * SECOND_NS, cpu=1))).notes
    assert note[:3] + note[4:] == ("gap", SECOND_NS, 2 * SECOND_NS, 12, 1, "")


def test_what_happens_to_a_container_is_a_note() -> None:
    fact = msgspec.json.encode(LifeFact("oom", WEB))
    told = row(Kind.CONTAINER, 0, args_len=len(fact), args_total=len(fact), ts_ns=5)
    (note,) = timeline_of(batch(told._replace(heap=fact))).notes
    assert note == ("container", 5, 5, WEB, None, None, "oom")


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.CGROUP, *CONTAINER_KINDS}))
def test_rows_of_every_kind_are_taken(kind: Kind) -> None:
    whole = timeline_of(batch(row(kind, 60, INSIDE)))
    assert len(whole.processes) + len(whole.notes) <= 1
    assert pack(whole, ABOUT)


def test_the_more_texts_there_are_the_less_is_kept_of_further_ones() -> None:
    texts = Texts()
    assert texts.number(b"a") == texts.number(b"a") == 1
    assert texts.texts[texts.number(b"x" * 5000)] == b"x" * 4096 + CUT
    for number in range(30_000):
        texts.number(b"%d" % number * 1000)
    assert len(b"".join(texts.texts)) < 20_000_000
    assert len(texts.texts[-1]) < 200


def unpacked(data: bytes) -> dict[str, Any]:
    raw = zlib.decompress(data, -zlib.MAX_WBITS)
    return dict(json.loads(raw[4 : 4 + int.from_bytes(raw[:4], "little")]))


def test_text_is_shown_as_elsewhere() -> None:
    evil = Container("<b>", "docker", "\x1b[31m</script>")
    header = unpacked(pack(timeline_of(batch(
        cgroup(7, evil),
        row(Kind.EXEC, 60, INSIDE, exe=b"/\xff", args=[b"a b", b"\xe2\x80\xae"], comm=b"\x07", cgroup_id=7),
    )), ABOUT))  # fmt: skip
    assert header["commands"] == ["", "'a b' '\\u202e'"]
    assert header["exes"] == ["", "/\\xff"]
    assert header["comms"] == ["", "\\x07"]
    assert header["lanes"][0]["label"] == "\\x1b[31m</script>"


def test_a_command_that_was_cut_says_so() -> None:
    header = unpacked(pack(timeline_of(batch(
        row(Kind.EXEC, 60, exe=b"/bin/ls", args=[b"ls", b"-"], flags=Flag.ARGS_TRUNCATED)
    )), ABOUT))  # fmt: skip
    assert header["commands"][1] == "ls - ..."


@pytest.fixture(scope="module")
def arrows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("timeline") / "web.arrows"
    record(path, [batch(cgroup(7, WEB)), storm(1, 100)])
    return path


def nstrace(*args: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tracer", "timeline", *map(str, args)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


def test_the_command_writes_a_page(arrows: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    done = nstrace(arrows, "-w", out)
    size = f"{out.stat().st_size / 1000:.3g} kB"
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"nstrace: wrote {out}: 100 processes, {size}\n"
    assert nstrace(arrows, "-w", out, "--force", "-q").stderr == ""
    page = out.read_text()
    data = page.partition('id="data">')[2].partition("<")[0]
    assert unpacked(base64.b64decode(data, validate=True))["lanes"][0]["counts"] == {
        "fork": 100,
        "exec": 100,
        "exit": 100,
    }
    assert "http://" not in page.replace("http://www.w3.org", "")
    again = nstrace(arrows, "-w", out)
    assert again.returncode == 1
    assert "--force" in again.stderr
    assert nstrace(arrows, "-w", "-").stdout == page
    assert nstrace(arrows, "nobody", "-w", tmp_path / "none.html").returncode == 3
    assert not (tmp_path / "none.html").exists()


def test_a_part_of_a_recording(arrows: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    assert nstrace(arrows, "-w", out, "--until", "+50ms").returncode == 0
    header = unpacked(base64.b64decode(out.read_text().partition('id="data">')[2].partition("<")[0]))
    assert int(header["end"]) - int(header["begin"]) <= 50_000_000


@pytest.mark.parametrize(("processes", "most"), [(10_000, LIMIT_10_000), (333_334, LIMIT_MILLION)])
def test_how_large_a_page_is(processes: int, most: int) -> None:
    script = (Path(__file__).parents[2] / "tracer/views/page/page.js").stat().st_size
    data = pack(timeline_of(*crowd(processes, unlike=True)), ABOUT)
    assert 4 / 3 * len(data) + script < most
