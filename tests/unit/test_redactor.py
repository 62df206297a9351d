"""Command lines in a batch, masked: lengths, heap and everything else stay right."""

from __future__ import annotations

import pytest
from builders import PIDNS, WEB, batch, cgroup, exits, fork, row

from tracer.secrets.redactor import Redactor
from tracer.secrets.spans import MASK
from tracer.stream.batch import Batch, split_args
from tracer.stream.schema import Flag, Kind
from tracer.wiring import destination

SECRET = b"hunter2"
MASKED = MASK.encode()
DEEP = [(PIDNS + n, 10 + n) for n in range(5)]


def commands(found: Batch) -> list[tuple[bytes, list[bytes]]]:
    payloads = [found.payload(at) for at in range(len(found))]
    return [(payload.exe, split_args(payload.args)) for payload in payloads]


def test_exec_snapshot_and_what_was_inferred() -> None:
    args = [b"x", b"--password", SECRET, b"\xff\xfe"]
    rows = [
        cgroup(7, WEB, path="/token=hunter3"),
        row(Kind.SNAPSHOT, 50, DEEP, exe=b"/bin/x", args=args),
        fork(51, DEEP),
        row(Kind.FORK, 52, exe=b"/bin/x", args=args, flags=Flag.INFERRED),
        row(Kind.EXEC, 53, DEEP, exe=b"/bin/x", args=args, flags=Flag.INFERRED),
        row(Kind.EXEC, 54, exe=b"/bin/y", args=[b"y"]),
        row(Kind.EXEC, 55, DEEP, exe=b"/bin/z", args=args),
        exits(55, DEEP),
    ]
    before, redactor = batch(*rows), Redactor()
    whole = before.heap
    after = redactor(before)
    assert redactor.count == 4
    assert SECRET not in after.heap and b"hunter3" in after.heap  # a path is no argument
    masked = [b"x", b"--password", MASKED, b"\xff\xfe"]
    shown = commands(after)
    assert [shown[at] for at in (1, 3, 4, 6)] == [(b"/bin/x", masked)] * 3 + [(b"/bin/z", masked)]
    assert shown[5] == (b"/bin/y", [b"y"])
    assert [after.payload(at).deep for at in range(8)] == [before.payload(at).deep for at in range(8)]
    others = [name for name in after.rows.dtype.names or () if name not in ("args_len", "args_total")]
    assert all((after.rows[name] == before.rows[name]).all() for name in others)
    assert (after.rows["args_total"] == after.rows["args_len"]).all()  # not how long the secret was
    assert before.heap == whole and SECRET in before.heap


def test_without_secrets_it_is_the_same_batch() -> None:
    found = batch(row(Kind.EXEC, 53, exe=b"/bin/x", args=[b"x", b"y"]), fork(1))
    redactor = Redactor()
    assert redactor(found) is found
    assert redactor.count == 0
    assert redactor(batch(fork(1))).rows["tgid"].tolist() == [1]


def test_what_was_cut() -> None:
    event = row(Kind.EXEC, 53, exe=b"/bin/psql", args=[b"psql", b"postgres://me:hunt"], flags=Flag.ARGS_TRUNCATED)
    event.event["args_len"] -= 1  # the kernel copied no NUL behind the last
    event.event["args_total"] = 500
    after = Redactor()(batch(event._replace(heap=event.heap[:-1])))
    assert commands(after)[0][1] == [b"psql", b"postgres://me:" + MASKED]
    assert after.rows["args_total"][0] == 500
    assert not after.heap.endswith(b"\0")


def test_a_file_name_is_text_too() -> None:
    token = b"ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    after = Redactor()(batch(row(Kind.EXEC, 53, exe=b"/opt/" + token, args=[token, b"x"])))
    assert commands(after) == [(b"/opt/" + MASKED, [MASKED, b"x"])]


def test_our_own_command_line_as_it_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["nstrace", "record", "-w", "x", "label:token=hunter2"])
    command = ["nstrace", "record", "-w", "x", f"label:token={MASK}"]
    assert destination._command(redact=True) == command
    assert destination._command(redact=False)[-1] == "label:token=hunter2"


def test_equal_command_lines_are_counted_each() -> None:
    redactor = Redactor()
    for _ in range(3):
        redactor(batch(*(row(Kind.EXEC, nr, args=[b"x", b"--token=abc"]) for nr in range(100))))
    assert redactor.count == 300
