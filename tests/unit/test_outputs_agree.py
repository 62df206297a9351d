"""Every output says the same of every row, fact by fact, null for null: JSON, text, Arrow, Parquet, CSV, data frames.

The rows are of every kind with every flag, and every field of them holds something: what a row of its kind does not
know must not show anywhere.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from agreement import OUTPUTS, Fact, agree, source
from builders import PIDNS, SECOND_NS, WEB, Row, batch, cgroup, gap, life, row, session
from recordings import WALL_NS, record
from test_golden import ALL_KINDS, KILLERS, everything, shown

from tracer.recording.schema import FLAT
from tracer.stream.attribution import Attribution
from tracer.stream.batch import EVENT, Batch
from tracer.stream.known import Known
from tracer.stream.metadata import Container, Killer, Pod, SignalSent
from tracer.stream.schema import CONTAINER_KINDS, NO_CPU, RULES, STREAM_KINDS, Flag, Kind, members_of
from tracer.stream.typed import event_of
from tracer.text.escape import safe_text
from tracer.text.exec_errors import error_words
from tracer.views.jsonl import JsonLines
from tracer.views.lines import Lines
from tracer.views.view import View

ROOT = Path(__file__).parents[2]
PARTS = {
    21: Container("c" * 64, "containerd", pod=Pod("3f1c2e4a-9a11-4f0e-8d5a-1d2c3b4a5f60")),
    22: Container(
        "d" * 64, "containerd", "web-0", pod=Pod("9b2d0c7e-5a11-4f0e-8d5a-1d2c3b4a5f61", "web", "shop", "app")
    ),
    23: Container("e" * 64, "docker", task="0f9de17a6465404e8b1b2356dc13c2f8"),
}
"""Containers that are part of something, by cgroup."""
NUMBERS: dict[str, Any] = {"ts_ns": 9 * SECOND_NS, "seq": 3, "state": ord("S"), "cpu": 2, "exec_id": 4}
NUMBERS |= {
    "start_ns": 5 * SECOND_NS,
    "parent_start_ns": 4,
    "cgroup_id": 7,
    "tid": 61,
    "vtid": 16,
    "old_tid": 62,
    "parent_tgid": 63,
}
NUMBERS |= {"parent_vtgid": 64, "uid": 65, "status": 3 << 8}


def full(kind: Kind, flags: int = 0, **others: int) -> Row:
    """A row with something in every field."""
    return row(kind, 60, [(PIDNS, 15)], exe=b"/bin/job", args=[b"job", b"a b"], flags=flags, **NUMBERS | others)


def of_every_kind() -> Batch:
    """Each kind with each flag, and with what stands for nothing."""
    kinds = [kind for kind in Kind if kind not in (Kind.CGROUP, *CONTAINER_KINDS)]
    of_stream = {kind: [int(Flag.THROTTLED), 0] for kind in STREAM_KINDS}  # the others are a process's
    nothing: list[dict[str, int]] = [{"cpu": NO_CPU}, {"old_tid": 60}, {"old_tid": 0}, {"state": 0}, {"start_ns": 0}]
    nothing += [{"parent_tgid": 0, "parent_start_ns": 0}, {"status": 9}, {"status": 11 | 128}]
    return batch(
        cgroup(7, WEB),
        *(full(kind, flags) for kind in kinds for flags in of_stream.get(kind, [0, *Flag, sum(Flag)])),
        *(full(kind, **fields) for kind, fields in product(kinds, nothing)),
        *(row(kind, 70, comm=b"", flags=flags) for kind in kinds for flags in of_stream.get(kind, [0, Flag.INFERRED])),
        *(row(kind, 70, flags=flags, cpu=1) for kind in kinds for flags in of_stream.get(kind, [0, Flag.INFERRED])),
        gap(5, cpu=NO_CPU, pair=(PIDNS + 9, 7, 0)),
        life("started", WEB, 7),
        life(
            "stopped", WEB, 7, exit_code=3, duration_ns=2 * SECOND_NS, processes=2, signals=[SignalSent("SIGTERM", 5)]
        ),
        life("stopped", WEB, 7, signal="SIGKILL", oom=True, duration_ns=2 * SECOND_NS, processes=0),
        *(life("stopped", WEB, 7, signal="SIGKILL", killed_by=one, duration_ns=SECOND_NS) for one in KILLERS),
        life("oom", WEB, 7, victim="hog \x1b", victim_pid=61),
        life("renamed", WEB, 7, said_by="engine", old_name="web\u202e1"),
        life("health", WEB, said_by="engine", health="unhealthy", doubt="it is"),
        session("began", WEB),
        _inferred(life("stopped", WEB, 7, exit_code=3, duration_ns=2 * SECOND_NS)),
        _inferred(session("ended", WEB, 4)),
        *(row(Kind.EXIT, 60, killer=killer, **NUMBERS | {"status": 9}) for killer in KILLERS),
        *(row(kind, 60, killer=KILLERS[0], **NUMBERS) for kind in kinds),
        session("began", WEB, 2, kind="enter", asked_by=Killer(9, [9], "nsenter \x1b", "db#2")),
        session("described", WEB, 2, kind="exec", user="www", command=["sh", "-c", "a b\u202e"], exec_id="e" * 64),
        row(Kind.EXEC, 70, [(PIDNS, 2)], exe=b"/bin/sh", args=[b"sh"], session=2),
        session("ended", WEB, 2, exit_code=3, duration_ns=2 * SECOND_NS, left=[4, 5]),
        session("ended", WEB, 3, signal="SIGKILL"),
        session("ended", WEB, 4),
        *(cgroup(cgroup_id, container) for cgroup_id, container in PARTS.items()),
        *(row(Kind.EXEC, 80, [(PIDNS + 1, 3)], args=[b"sh"], cgroup_id=cgroup_id) for cgroup_id in PARTS),
    )


def _inferred(one: Row) -> Row:
    """The same, where no event reported it."""
    one.event["flags"] = Flag.INFERRED
    return one


def golden() -> Batch:
    """But for those of a time that int64 does not hold."""
    return everything().select(everything().rows["ts_ns"] < 1 << 60)


def json_view() -> View:
    return JsonLines(ALL_KINDS, True, WALL_NS)


def text_view() -> View:
    return Lines(ALL_KINDS, False, True, WALL_NS)


BATCHES = {"every kind and flag": of_every_kind, "the golden rows": golden}


@pytest.fixture(autouse=True)
def utc(in_zone: Callable[[str], None]) -> None:
    in_zone("UTC")


@pytest.fixture(params=BATCHES)
def told(request: pytest.FixtureRequest) -> Batch:
    return BATCHES[request.param]()


@pytest.fixture
def arrows(told: Batch, tmp_path: Path) -> Path:
    record(tmp_path / "x.arrows", [told])
    return tmp_path / "x.arrows"


def test_a_recording_replays_as_it_was(told: Batch, arrows: Path) -> None:
    for make_view in (json_view, text_view):
        recorded, view = source(arrows), make_view()
        replayed = [view.render(part, recorded.attribution) for part in recorded.batches(lambda: 0.0)]
        assert b"".join([*replayed, view.rest()]).decode() == shown(make_view(), told)


@pytest.mark.parametrize("output", OUTPUTS)
def test_every_output_says_what_the_json_says(output: str, told: Batch, arrows: Path) -> None:
    agree(arrows, shown(json_view(), told), output)


LINE = re.compile(
    r"(?P<time>\S+) (?P<event>\w+) +(?P<label>\S+) +(?P<pid>\S+) +(?P<ns_pid>\S+) +(?P<ppid>\S+) +(?P<ns_ppid>\S+)"
    r" +(?P<tid>\S+) +(?P<ns_tid>\S+) (?P<comm>\S+) *(?P<info>.*)"
)


def test_text_says_what_the_json_says() -> None:
    told = of_every_kind()
    lines = [LINE.fullmatch(line) for line in unfolded(text_view(), told).splitlines()]
    facts = [json.loads(line) for line in shown(json_view(), told).splitlines()]
    for line, fact in zip(lines, facts, strict=True):
        assert line
        for name in ("pid", "ns_pid", "ppid", "ns_ppid", "tid", "ns_tid", "comm"):
            assert line[name] == ("-" if fact.get(name) in (None, "") else str(fact[name])), (name, fact)
        space = f"pidns:{fact['pidns']}" if fact.get("pidns") not in (None, 4026531836) else "-"
        mark = f"@{fact['session']['number']}" if fact.get("session") else ""
        container = fact.get("container")
        assert line["label"] == (container["name"] or container["id"][:12] if container else space) + mark
        word = {"exec_failed": "failed", "container": "life"}.get(fact["event"], fact["event"])
        assert (line["event"], line["info"]) == (word, info(fact))


def unfolded(view: View, told: Batch) -> str:
    """Its lines, a gap each."""
    containers = Attribution()
    parts = [part for at in range(len(told)) for part in containers.split_and_learn(told.part(at, at + 1))]
    return b"".join(view.render(part, containers) + view.rest() for part in parts).decode()


def by(killer: Fact | None) -> str:
    """Who ended a process."""
    if not killer:
        return ""
    reasons = {"oom": "out of memory", "pidns_ended": "with PID 1"}
    if killer["kernel"]:
        return f" {reasons.get(killer['reason'], 'by the kernel')}"
    if killer["pid"] is None:
        return ""
    return f" by {safe_text(killer['comm'] or '-')} ({killer['pid']})"


def of_session(fact: Fact) -> str:
    """The column INFO of a row about a session."""
    session = fact["session"]
    numbers = ">".join(map(str, session["pids"]))
    if fact["action"] == "began":
        asker = session["asked_by"]
        by = f" by {safe_text(asker['comm'])} {asker['pid']}" if asker else ""
        return f"{numbers} entered{by}"
    if fact["action"] == "described":
        return f"exec as {session['user']}: {' '.join(shlex.quote(safe_text(word)) for word in session['command'])}"
    return {2: "ended: exit 3 after 2.0 s, left 4 5", 3: "ended: SIGKILL", 4: "ended: unseen"}[session["number"]]


def of_life(fact: Fact) -> str:
    """The column INFO of a row about a container."""
    if fact["action"] != "stopped":
        more = {
            "oom": f": {safe_text(fact['victim'] or '')} ({fact['victim_pid']}) was killed",
            "renamed": f", before: {safe_text(fact['old_name'] or '')}",
            "health": f": {fact['health']}",
        }
        word = "out of memory" if fact["action"] == "oom" else fact["action"]
        return f"{word}{more.get(fact['action'], '')}{' (' + fact['doubt'] + ')' if fact['doubt'] else ''}"
    how = fact["signal"] or f"exit {fact['exit_code']}"
    text = f"stopped: {how}{by(fact['killed_by'])} after {fact['duration_ns'] / 1e9:.1f} s"
    text += ", had run out of memory" if fact["oom"] else ""
    text += f", engine sent {' '.join(fact['signals'])}" if fact["signals"] else ""
    return text + (f", {fact['processes']} more processes died with it" if fact["processes"] else "")


def info(fact: Fact) -> str:
    """The column INFO, made of the object."""
    words = []
    if fact["event"] == "gap":
        since = fact["since"][11:23] if fact["since"] else "the start"
        where = "" if fact["cpu"] is None else f" on CPU {fact['cpu']}"
        words.append(f"lost {fact['lost']} events{where}" if fact["lost"] else f"events are missing{where}")
        words.append(f"between {since} and {fact['until'][11:23]}{' (throttled)' if fact['throttled'] else ''}")
    elif fact["event"] == "container":
        words.append(of_life(fact))
    elif fact["event"] == "session":
        words.append(of_session(fact))
    elif fact["event"] == "repair":
        words.append(f"process table corrected by the kernel's list of {fact['since'][11:23]}")
    elif fact["event"] == "exit":
        how = fact["signal"] or f"exit {fact['exit_code']}"
        core = " (core dumped)" if fact["core_dumped"] else ""
        core += by(fact["killed_by"])
        is_known = fact["exit_code"] is not None or fact["signal"] is not None
        words.append(f"{how}{core} after {fact['duration_ns'] / 1e9:.1f} s" if is_known else "ended unseen")
    elif fact["event"] == "exec_failed":
        words += [f"{fact['exe']}: " * bool(fact["exe"]) + error_words(fact["errno"])] if fact["errno"] else []
    has_command = fact.get("args") is not None and fact.get("exit_code") != 0
    if has_command:
        words[-1:] = [f"{word}:" for word in words]
        words.append(" ".join(map(shlex.quote, fact["args"])) or fact["exe"])
    if has_command and fact.get("args_truncated"):
        words.append("…")
    return " ".join([*words, *(f"({mark})" for mark in ("inferred", "carried") if fact.get(mark))])


def test_a_line_has_the_members_that_are_declared_for_its_kind(told: Batch) -> None:
    for line in shown(json_view(), told).splitlines():
        object_ = json.loads(line)
        declared = members_of(Kind[object_["event"].upper()], is_inferred="inferred" in object_)
        assert set(object_) - {"inferred", "carried"} == {column.name for column in declared}


def test_a_typed_event_says_what_its_line_says(told: Batch) -> None:
    for line in shown(json_view(), told).splitlines():
        said, event = json.loads(line), event_of(line)
        typed = msgspec.to_builtins(event)
        assert {name: typed[name] for name in said} == said
        assert {typed[name] for name in set(typed) - set(said)} <= {None, False}
        assert event.event == said["event"]


def test_a_line_is_as_the_published_schema_says(told: Batch) -> None:
    schema = jsonschema.Draft202012Validator(json.loads((ROOT / "docs/schema.json").read_text()))
    for line in shown(json_view(), told).splitlines():
        schema.validate(json.loads(line))
    with pytest.raises(jsonschema.ValidationError):
        schema.validate({"event": "fork", "pid": "1"})


def test_whether_a_value_is_known_is_asked_of_every_field() -> None:
    assert EVENT.fields
    assert EVENT.fields["flags"][1] == EVENT.fields["kind"][1] + 1
    rows = of_every_kind().rows
    known = Known(rows)
    assert set(FLAT.names) - set(RULES) == {"time", "ts_ns", "event", "host", "inferred", "carried"}  # in every row
    for field in RULES:
        assert known(field).shape == (len(rows),)
        assert known(field).tolist() == [bool(Known(rows[at : at + 1])(field)[0]) for at in range(len(rows))]
