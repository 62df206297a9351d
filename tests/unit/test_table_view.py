"""ps as text: numbers, parents, zombies, widths."""

import dataclasses
import tracemalloc
from collections.abc import Sequence

import msgspec
from builders import SECOND_NS, WEB, entry

from tracer.answers.census import Census, Entry
from tracer.stream.metadata import first_args
from tracer.text.width import width
from tracer.views.columns import TextColumns
from tracer.views.objects import process_object
from tracer.views.table import command_of, process_table

HEADER = ("CONTAINER", "PID", "NSPID", "PPID", "NSPPID", "USER", "STARTED", "STATE", "COMMAND")
NOW_NS = 1_700_000_500 * SECOND_NS


def names(uid: int) -> str:
    return {0: "root"}.get(uid, str(uid))


def table(everyone: Sequence[Entry], line_width: int | None = None, **options: bool) -> TextColumns:
    options = {"containers": True, "pids": False} | options
    return process_table(Census(everyone), everyone, names, NOW_NS, line_width=line_width, **options)


def cells(line: str) -> list[str]:
    return line.split(maxsplit=8)


def test_both_pids_of_process_and_parent() -> None:
    shim = entry([100])
    init = entry([200, 1], shim, WEB)
    worker = entry([201, 7], init, WEB, uid=101, ns_ppid=1)
    joined = entry([202, 9], shim, WEB)
    result = table([shim, init, worker, joined])
    assert result.header.split() == [
        "CONTAINER",
        "PID",
        "NSPID",
        "PPID",
        "NSPPID",
        "USER",
        "STARTED",
        "STATE",
        "COMMAND",
    ]
    assert [cells(line)[:6] for line in result.lines] == [
        ["-", "100", "100", "0", "0", "root"],
        ["web", "200", "1", "100", "0", "root"],
        ["web", "201", "7", "200", "1", "101"],
        ["web", "202", "9", "100", "0", "root"],
    ]
    assert result.lines[2].endswith("sleep sh -c 'sleep 1'")


def test_what_is_not_known_is_said() -> None:
    hidden = entry([301, 6], entry([300, 5]), visible=False, ns_ppid=None)
    orphan = dataclasses.replace(hidden, parent=None)
    assert cells(table([hidden]).lines[0])[:5] == ["?", "301", "6", "300", "?"]
    assert cells(table([orphan]).lines[0])[3] == "?"


def test_all_numbers_of_nested_ones() -> None:
    flat, nested = entry([200, 1], None, WEB), entry([301, 20, 3], None, WEB)
    assert cells(table([flat, nested]).lines[1])[1:3] == ["301", "20>3"]
    assert table([flat, nested], pids=True).header.split()[5] == "PIDS"
    assert "301>20>3" in table([flat, nested], pids=True).lines[1]


def test_a_zombie_and_who_does_not_reap_it() -> None:
    parent = entry([200, 1], None, WEB, comm=b"node\x1b[2J")
    child = entry([201, 7], parent, WEB, comm=b"job", args=b"", state="Z")
    orphan = entry([202, 8], None, WEB, comm=b"job", args=b"", state="Z")
    lines = table([parent, child, orphan]).lines
    assert lines[1].endswith(r"zombie [job] not reaped by 200>1 node\x1b[2J")
    assert lines[2].endswith("[job] not reaped by its parent")


def test_lines_are_cut_on_terminals_alone() -> None:
    long = entry([200, 1], None, WEB, args=b"x" * 500 + b"\0")
    wide = entry([201, 2], None, WEB, args="日本語".encode() * 100 + b"\0")
    assert [width(line) <= 80 and line.endswith("…") for line in table([long, wide], 80).lines] == [True, True]
    assert "x" * 500 in table([long]).lines[0]


def test_a_target_that_is_copied_stays_whole() -> None:
    long = msgspec.structs.replace(WEB, name="shop-background-worker-" + "9" * 40)
    nameless = entry([300, 1], None, args=b"sleep\x00" + b"9" * 60, inums=[4026532472])
    lines = table([entry([200, 1], None, long), nameless], 80).lines
    assert [line.split()[0] for line in lines] == ["shop-bac…9999999", "pidns:4026532472"]
    assert max(width(line) for line in lines) == 80


def test_wide_names_are_aligned() -> None:
    japanese = msgspec.structs.replace(WEB, name="日本語")
    lines = table([entry([200, 1], None, WEB), entry([201, 2], None, japanese)]).lines
    assert width(lines[0].split("200")[0]) == width(lines[1].split("201")[0])


def test_nobody() -> None:
    assert table([]).text == ""
    assert table([]).header.startswith("CONTAINER")


def test_five_thousand() -> None:
    everyone = [entry([tgid, tgid - 9], None, WEB) for tgid in range(10, 5010)]
    result = table(everyone, 80)
    assert len(result.lines) == 5000
    assert max(map(width, result.lines)) <= 80


def test_arguments_that_were_cut_are_marked() -> None:
    cut = dataclasses.replace(entry([100], args=b"ls\0-l"), args_truncated=True)
    assert command_of(cut) == "ls -l …"
    assert process_object(cut, str)["args_truncated"] is True
    assert "args_truncated" not in process_object(entry([100], args=b"ls\0-l\0"), str)
    assert command_of(entry([100], args=b"ls\0-l\0")) == "ls -l"


def test_of_very_many_arguments_only_so_many_become_text() -> None:
    many = entry([100], args=bytes(64 << 20))
    tracemalloc.start()
    try:
        text = command_of(many)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert text == "'' " * (1 << 14) + "…"
    assert peak_bytes < 80 << 20  # one copy of what is not shown
    assert first_args(b"a\0b\0", 2) == ([b"a", b"b"], False)
    assert first_args(b"a\0b\0c", 2) == ([b"a", b"b"], True)
    assert first_args(b"a\0b", 2) == ([b"a", b"b"], False)
    assert first_args(b"\0", 2) == ([b""], False)
    assert first_args(b"", 2) == ([], False)
