"""PROC as users type it."""

import pytest

from tracer.errors import ExitCode, NstraceError
from tracer.typed.processes import MAX_PID, Proc, Space, parse_proc


@pytest.mark.parametrize(
    ("text", "space", "where", "nr"),
    [
        ("40123", Space.HOST, "", 40123),
        ("host/40123", Space.HOST, "", 40123),
        ("0015", Space.HOST, "", 15),
        ("web/15", Space.CONTAINER, "web", 15),
        ("/web/15", Space.CONTAINER, "web", 15),
        ("3f2a/1", Space.CONTAINER, "3f2a", 1),
        ("15/15", Space.CONTAINER, "15", 15),
        ("pidns:4026532180/15", Space.PIDNS, "4026532180", 15),
        ("pid:40123/15", Space.PID, "40123", 15),
        (f"web/{MAX_PID}", Space.CONTAINER, "web", MAX_PID),
    ],
)
def test_forms(text: str, space: Space, where: str, nr: int) -> None:
    assert parse_proc(text) == Proc(space, where, nr, text)


@pytest.mark.parametrize(
    "text",
    ["", "/", "web", "web/", "/15", "web/x", "web/-1", "-1", "1.5", "0", "web/0", f"{MAX_PID + 1}", "9" * 100, "١٥",
     "web:1/2", "pidns:/1", "pidns:x/1", "pid:0/1", "pid:1", "web/ 1", "\x1b[31m"],
)  # fmt: skip
def test_what_means_nothing(text: str) -> None:
    with pytest.raises(NstraceError) as caught:
        parse_proc(text)
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.message.isprintable()
    assert "web/15" in caught.value.hint
