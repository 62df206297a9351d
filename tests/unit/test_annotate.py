"""Which numbers in a stream count as PIDs, and that all else passes as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.text.annotate import MAX_LINE_BYTES, Annotator


def answer(nr: int) -> bytes | None:
    return b"web/%d" % (nr % 100) if nr >= 5 else None


def annotated(*pieces: bytes, replace: bool = False) -> bytes:
    annotator = Annotator(answer, replace)
    return b"".join(map(annotator.take, pieces)) + annotator.finish()


@pytest.mark.parametrize(
    "form",
    [
        b"%s", b"pid %s died", b"[%s]", b"sshd[%s]: closed", b"pid=%s,", b"PID:%s", b"%s:M started",
        b"/proc/%s/status", b"/proc/%s", b"kill %s.", b"(%s)", b'{"pid":%s,"x":1}', b"%s\n", b"%s\r\n", b"a\t%s\tb",
        b"Killed process %s (sh)",
        b"\xff%s\x00", b"\x1b[31m %s", b"%s; ", b"pids: 7777777, %s", b"%s sessions", b"%s- done", b"<%s>",
    ],
)  # fmt: skip
def test_what_is_a_pid(form: bytes) -> None:
    assert annotated(form % b"4711") == form % b"4711[web/11]"
    assert annotated(form % b"4711", replace=True) == form % b"web/11"


@pytest.mark.parametrize(
    "text",
    [
        b"0x1f 1f a1b2 b12 12b x86_64 v12", b"1.12.13", b"12.5", b"08:15:19", b"2026-11-24T08:15:19.400Z",
        b"10.0.0.17:80", b"13/14", b"[  123.456789]", b"100 kB", b"100kB", b"50%", b"50 %", b"12 s", b"12 ms",
        b"kill -9", b"#12", b"worker-13", b"Nov 24 ", b"Nov  9 ", b"24 Nov", b"0015", b"12345678", b"1,234", b"+15",
        b"/var/12/x", b"1e15", b"user@12", b"$12", b"4194305", b"1 2 3 4",
        b"main.go:123]", b"x.c:12: error", b"Main.java:7)",
    ],
)  # fmt: skip
def test_what_is_none(text: bytes) -> None:
    assert annotated(text) == text


PIECES = st.lists(st.sampled_from([b"4711", b"1", b" ", b"\n", b"a", b".", b"/", b"\xff", b"kB", b":", b"Nov "]))


@given(PIECES, st.integers(1, 5))
def test_pieces_make_no_difference(words: list[bytes], size: int) -> None:
    text = b"".join(words)
    assert annotated(*(text[at : at + size] for at in range(0, len(text), size))) == annotated(text)


@given(st.binary())
def test_taking_the_answers_out_gives_the_text_back(text: bytes) -> None:
    marked = Annotator(lambda _nr: b"\x00mark\x00", replace=False)
    assert (marked.take(text) + marked.finish()).replace(b"[\x00mark\x00]", b"") == text


def test_a_whole_line_is_not_held_back() -> None:
    annotator = Annotator(answer, replace=False)
    assert annotator.take(b"pid 4711\npid 47") == b"pid 4711[web/11]\n"
    assert annotator.take(b"12\n") == b"pid 4712[web/12]\n"


def test_a_line_without_end_does_not_pile_up() -> None:
    annotator = Annotator(answer, replace=False)
    sent = given_back = 0
    for _ in range(3 * MAX_LINE_BYTES // 1000):
        sent += 1000
        given_back += len(annotator.take(b"x" * 999 + b" "))
        assert sent - given_back <= MAX_LINE_BYTES + 1000
    assert annotator.take(b"y" * 2 * MAX_LINE_BYTES)
