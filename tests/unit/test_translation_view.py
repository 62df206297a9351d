"""What translate prints: blocks that a terminal shows as they are, and JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from builders import PIDNS, WEB

from tracer.answers.census import Entry
from tracer.answers.translation import Life, Translation
from tracer.stream.metadata import Container
from tracer.stream.pidns import INITIAL_PIDNS, Number, PidnsId, ProcId
from tracer.text.width import width
from tracer.views.translation import block, json_object

INNER = Container("d" * 64, "docker", "inner")
CHAIN = (Number(INITIAL_PIDNS, 40123), Number(PidnsId(PIDNS, 1), 15), Number(PidnsId(PIDNS + 1, 2), 3))
ENTRY = Entry(
    ProcId(40123, 5), ProcId(40100, 4), 1, (40123, 15, 3), CHAIN, (INNER, WEB), b"sleep", b"/bin/sleep",
    b"sleep\x00600\x00", 0, "S", 1_700_000_000_400_000_000,
)  # fmt: skip
ANSWER = Translation("web/15", False, False, ENTRY, (None, WEB, INNER))


def name_of(uid: int) -> str:
    return "root"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.localtime", __import__("time").gmtime)


def shown(width: int | None = None, entry: dict[str, Any] | None = None, **changes: Any) -> list[str]:
    changed = dataclasses.replace(ENTRY, **(entry or {}))
    return block(dataclasses.replace(ANSWER, entry=changed, **changes), name_of, width).splitlines()


def test_a_block() -> None:
    lines = shown()
    assert lines[0] == "web/15 is PID 40123 on the host: sleep 600"
    assert [line.split() for line in lines[1:5]] == [
        ["PID", "PIDNS", "CONTAINER"],
        ["40123", str(INITIAL_PIDNS.inum), "-"],
        ["15", str(PIDNS), "web"],
        ["3", str(PIDNS + 1), "inner"],
    ]
    assert lines[5].endswith("sleep, user root, parent 40100")
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"is_of_host": True, "asked": "40123"}, "40123 is PID 3 in inner: sleep 600"),
        ({"is_thread": True}, "web/15 is a thread of PID 40123 on the host: sleep 600"),
        ({"entry": {"state": "Z", "args": b""}}, "web/15 is PID 40123 on the host (a zombie): [sleep]"),
        (
            {"is_of_host": True, "asked": "7", "entry": {"numbers": (7,), "chain": CHAIN[:1]}, "owners": (None,)},
            "7 is a process on the host, in inner, in the host's PID namespace: sleep 600",
        ),
        (
            {"is_of_host": True, "entry": {"containers": ()}, "owners": (None,) * 3, "asked": "7"},
            f"7 is PID 3 in pidns:{PIDNS + 1}: sleep 600",
        ),
        (
            {"is_of_host": True, "entry": {"chain": None}, "owners": (None,) * 3, "asked": "7"},
            "7 is PID 3 in a PID namespace, a process of inner: sleep 600",
        ),
        (
            {"is_of_host": True, "owners": (None, WEB, WEB), "entry": {"containers": (WEB,)}, "asked": "7"},
            f"7 is PID 3 in pidns:{PIDNS + 1}, a process of web: sleep 600",
        ),
        (
            {"is_of_host": True, "owners": (None, WEB, INNER), "entry": {"containers": (WEB,)}, "asked": "7"},
            "7 is PID 3 in inner, a process of web: sleep 600",
        ),
        ({"life": Life(None, False, 5, None, True)}, "web/15 was PID 40123 on the host: sleep 600"),
        ({"life": Life(None, False, 5, None, False)}, "web/15 may have been PID 40123 on the host: sleep 600"),
    ],
)  # fmt: skip
def test_who_it_is(changes: dict[str, Any], first: str) -> None:
    assert shown(**changes)[0] == first


@pytest.mark.parametrize(
    ("life", "said"),
    [
        (Life(1_700_000_002_000_000_000, False, 5, 9, True), "ended 2023-11-14 22:13:22.000 (SIGKILL)"),
        (Life(1_700_000_002_000_000_000, False, 5, 7 << 8, True), "ended 2023-11-14 22:13:22.000 (exit 7)"),
        (Life(1_700_000_002_000_000_000, True, 5, None, True), "ended 2023-11-14 22:13:22.000 at the latest"),
        (Life(None, False, 1_700_000_001_000_000_000, None, True), "still running at 2023-11-14 22:13:21.000"),
    ],
)
def test_how_it_ended(life: Life, said: str) -> None:
    assert f"started 2023-11-14 22:13:20.400, {said}, " in shown(life=life, entry={"state": ""})[-1]


def test_strangers_do_not_reach_the_terminal() -> None:
    evil = {"args": b"\x1b[31mred\x00\xff\x00", "comm": b"\x1b]0;x\x07"}
    for lines in (shown(entry=evil), shown(entry=evil | {"args": b""}), shown(asked="\x1b[2J/1")):
        assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("columns", [30, 80, 160])
def test_the_command_is_cut_and_all_else_goes_on_in_the_next_line(columns: int) -> None:
    wide = {"args": "日本語".encode() * 100}
    lines = shown(columns, entry=wide)
    assert all(width(line) <= columns for line in lines)
    assert lines[0].endswith("…")
    assert " ".join(" ".join(lines[5:]).split()).endswith("sleep, user root, parent 40100")


def test_json_says_what_was_asked_and_whose_each_number_is() -> None:
    item = json_object(ANSWER, name_of)
    assert (item["asked"], item["result"], item["pids"]) == ("web/15", 40123, (40123, 15, 3))
    assert [owner and owner["name"] for owner in item["containers"]] == [None, "web", "inner"]
    assert "certain" not in item
    past = json_object(dataclasses.replace(ANSWER, life=Life(None, False, 5, None, False)), name_of)
    assert (past["certain"], past["ended"], past["signal"]) == (False, None, None)
