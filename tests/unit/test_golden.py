"""Text and JSON of a batch with everything in it, byte for byte as in golden/. As a script it writes those files."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import PIDNS, SECOND_NS, WEB, batch, cgroup, exits, fork, gap, repair, row, session

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.metadata import Container, Killer
from tracer.stream.schema import EVENT_NAMES, NO_CPU, NOTE_KINDS, SHOWN_KINDS, Flag, Kind
from tracer.views.jsonl import JsonLines
from tracer.views.lines import Lines
from tracer.views.view import View

GOLDEN = Path(__file__).parent / "golden"
WALL_OFFSET_NS = 1_700_000_000 * SECOND_NS
KINDS = frozenset(Kind[name.upper()] for name in EVENT_NAMES)
ALL_KINDS = SHOWN_KINDS - NOTE_KINDS
DB = Container("b" * 64, "podman", 'odd "name" 100%\u202e日本', "img:%d", incarnation=2)
UNNAMED = Container("c" * 64, "containerd")
DEEP = [(PIDNS + level, 10 + level) for level in range(6)]

VIEWS: dict[str, Callable[[], View]] = {
    "lines.txt": lambda: Lines(KINDS, False, False, WALL_OFFSET_NS),
    "lines-color-threads.txt": lambda: Lines(ALL_KINDS, True, True, WALL_OFFSET_NS),
    "lines-80.txt": lambda: Lines(KINDS, False, False, WALL_OFFSET_NS, lambda: 80),
    "lines-120-color.txt": lambda: Lines(KINDS, True, False, WALL_OFFSET_NS, lambda: 120),
    "lines-40-color-threads.txt": lambda: Lines(ALL_KINDS, True, True, WALL_OFFSET_NS, lambda: 40),
    "lines-exit.txt": lambda: Lines(frozenset({Kind.EXIT}), False, False, WALL_OFFSET_NS),
    "lines.jsonl": lambda: JsonLines(KINDS, False, WALL_OFFSET_NS),
    "lines-threads.jsonl": lambda: JsonLines(ALL_KINDS, True, WALL_OFFSET_NS),
}


KILLERS = (
    Killer(4711, [4711], "runc", proc_id="4711-5"),
    Killer(4712, [4712, 9, 3], "\x1b'\xff\u202e", "db#2", proc_id="4712-6"),
    Killer(4713, [4713, 8], "eater", "web", kernel=True, reason="oom", proc_id="4713-7"),
    Killer(30, [30, 1], "sh", "web", kernel=True, reason="pidns_ended", proc_id="30-1"),
    Killer(kernel=True, reason="oom"),
    Killer(kernel=True, reason="of another version"),
    Killer(kernel=True),
    Killer(),
)


def everything() -> Batch:
    """Rows of every kind, of host, containers and nested namespaces, with every oddity that a field can have."""
    web: dict[str, Any] = {"cgroup_id": 7, "uid": 1000}
    db: dict[str, Any] = {"cgroup_id": 8}
    inside = [(PIDNS, 15)]
    return batch(
        cgroup(7, WEB),
        cgroup(8, DB),
        cgroup(9, UNNAMED),
        row(Kind.SNAPSHOT, 1, exe=b"/sbin/init", args=[b"init"], parent_tgid=0, parent_start_ns=0, state=ord("S")),
        row(Kind.SNAPSHOT, 2, comm=b"kthreadd", parent_tgid=0, parent_start_ns=0),
        row(Kind.SNAPSHOT, 30, [(PIDNS, 1)], args=[b"sh", b"-c", b"exit 3"], state=ord("Z"), **web),
        row(Kind.SNAPSHOT, 31, exe=b"/no/args", state=ord("D")),
        fork(40, inside, parent_vtgid=1, parent_tgid=30, parent_start_ns=SECOND_NS, cpu=1, **web),
        fork(41, inside, parent_vtgid=1, parent_tgid=30, parent_start_ns=SECOND_NS, cpu=1, **web),
        row(Kind.EXEC, 40, inside, exe=b"/bin/ls", args=[b"ls", b"-l", b"/"], comm=b"ls", old_tid=40, **web),
        row(Kind.EXEC, 41, inside, exe=b"/bin/ls", args=[b"ls", b"-l", b"/"], old_tid=42, **web),
        row(
            Kind.EXEC, 41, inside, exe=b"/a b", args=[b"", b"a b", b"'", b"\x1b[31m\n", b"\xff\xfe"], old_tid=41, **web
        ),
        row(Kind.EXEC, 43, [(PIDNS, 18)], args=["é\u202e\u2028\x7f日".encode()], flags=Flag.ARGS_TRUNCATED, **web),
        row(Kind.EXEC, 44, exe="/ü/\x85".encode(), comm=b'q"\\\xe4\x1b%s', flags=Flag.ARGS_TRUNCATED),
        row(Kind.EXEC, 45),
        row(Kind.THREAD_FORK, 40, inside, tid=46, vtid=21, **web),
        row(Kind.THREAD_EXIT, 40, inside, tid=46, vtid=21, status=256, **web),
        *(exits(55, inside, status=9, killer=killer, args=[b"job"], **web) for killer in KILLERS),
        exits(57, DEEP, status=9, killer=KILLERS[0]),
        exits(58, inside, status=9, killer=KILLERS[0], **web),
        *(exits(50 + status, inside, status=status, **web) for status in (0, 256, 9, 11 | 128, 34, 40, 64, 77)),
        *(
            exits(60, [(PIDNS, 7)], start_ns=10, ts_ns=10 + lived_ns, cgroup_id=9)
            for lived_ns in (0, 999, 10**6 - 1, 10**6, 10**9, 61 * SECOND_NS, 179 * 60 * SECOND_NS, 10**4 * SECOND_NS)
        ),
        exits(61, inside, status=3 << 8, exe=b"/bin/sh", args=[b"sh", b"-c", b"exit 3"], **web),
        exits(62, inside, status=9, exe=b"/opt/job", flags=Flag.ARGS_TRUNCATED, args=[b"job", b"a b", b"\x1b"], **web),
        exits(63, exe=b"/bin/true", args=[b"true"]),
        exits(56, inside, status=6 | 128, killer=Killer(56, [56, 15], "job", "web", proc_id="56-1"), **web),
        row(Kind.EXEC_FAILED, 64, inside, status=2, exe=b"/none \x1b", **web),
        row(Kind.EXEC_FAILED, 65, status=13, flags=Flag.ARGS_TRUNCATED, exe=b"/very/long"),
        row(Kind.EXEC_FAILED, 66, status=4095),
        exits(70, [(PIDNS + 9, 3)], ts_ns=3 * SECOND_NS, flags=Flag.INFERRED),
        exits(71, ts_ns=3 * SECOND_NS - 1, flags=Flag.INFERRED, status=256),
        fork(4194304, [(PIDNS, 4194303)], ts_ns=123456789, uid=4294967294, cpu=65535, **db),
        fork(80, DEEP[:2], flags=Flag.INFERRED, **web),
        fork(81, DEEP[:3], **db),
        row(Kind.EXEC, 82, DEEP[:4], args=[b"x"], old_tid=82),
        exits(83, DEEP, status=256),
        gap(1, 0, 4 * SECOND_NS),
        gap(123456, 4 * SECOND_NS, 5 * SECOND_NS + 1000, cpu=3),
        gap(2, 5 * SECOND_NS, 6 * SECOND_NS, pair=(PIDNS, 1, web["cgroup_id"]), flags=Flag.THROTTLED),
        gap(3, 5 * SECOND_NS, 6 * SECOND_NS, cpu=NO_CPU, pair=(PIDNS + 9, 1, 0)),
        repair(6 * SECOND_NS),
        row(Kind.EXEC, 89, inside, exe=b"/bin/sh", args=[b"sh"], flags=Flag.INFERRED, old_tid=89, **web),
        fork(88, inside, flags=Flag.INFERRED, exe=b"/bin/sh", args=[b"sh", b"-c"], **web),
        row(Kind.EXEC, 84, inside, comm="日本語".encode(), args=[b"100%", b"%d%s"], old_tid=84, **db),
        row(Kind.EXEC, 85, inside, comm=b"exactly15bytes!", args=["日".encode() * 3], old_tid=85, **db),
        fork(86, inside, cgroup_id=99, ts_ns=9 * SECOND_NS + 999_999_999),
        fork(87, [(PIDNS, 1)], cgroup_id=99, start_ns=2**63),
        session("began", WEB, 3, kind="enter", asked_by=Killer(9, [9], "nsenter", None)),
        fork(90, inside, session=3, **web),
        session("described", WEB, 3, user="1000", command=["sh", "-l"]),
        row(Kind.EXEC, 90, inside, exe=b"/bin/sh", args=[b"sh", b"-l"], session=3, **web),
        session("described", WEB, 3, kind="health", user="www", command=["sh", "a b\x1b"], exec_id="e" * 64),
        row(Kind.EXEC, 91, DEEP, args=[b"x"], session=12345, **web),
        exits(90, inside, status=9, session=3, **web),
        session("ended", WEB, 3, signal="SIGKILL", duration_ns=SECOND_NS, left=[91, 92, 93, 94, 95, 96]),
    )


def shown(view: View, told: Batch) -> str:
    attribution = Attribution()
    lines = [view.render(part, attribution) for part in attribution.split_and_learn(told)]
    return b"".join([*lines, view.rest()]).decode()


@pytest.fixture(autouse=True)
def utc(in_zone: Callable[[str], None]) -> None:
    in_zone("UTC")


@pytest.mark.parametrize("name", VIEWS)
def test_as_written(name: str) -> None:
    assert shown(VIEWS[name](), everything()) == (GOLDEN / name).read_text("utf-8")


@pytest.mark.parametrize("name", VIEWS)
def test_a_row_looks_the_same_whatever_stands_beside_it(name: str) -> None:
    told, view = everything(), VIEWS[name]()
    attribution = Attribution()
    one_by_one = []
    for at in range(len(told)):
        for part in attribution.split_and_learn(told.part(at, at + 1)):
            one_by_one.append(view.render(part, attribution))
    assert b"".join([*one_by_one, view.rest()]).decode() == shown(VIEWS[name](), told)


@pytest.mark.parametrize("name", VIEWS)
def test_a_row_looks_the_same_in_a_crowd(name: str) -> None:
    attribution, beside, crowded = Attribution(), VIEWS[name](), VIEWS[name]()
    parts = list(attribution.split_and_learn(everything()))
    one_by_one = [beside.render(part, attribution) for _time in range(30) for part in parts]
    assert crowded.render(Batch.concat(parts * 30), attribution) == b"".join(one_by_one)
    assert crowded.rest() == beside.rest()


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    time.tzset()
    for name, view in VIEWS.items():
        (GOLDEN / name).write_text(shown(view(), everything()), "utf-8")
        print(GOLDEN / name, file=sys.stderr)
