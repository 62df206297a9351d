"""A recording of what passed a condition shows that, and does not answer who lived when: that is not known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from recordings import record, storm

from tracer.wiring.destination import Destination
from tracer.wiring.recorders import RecordOptions


def nstrace(*words: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tracer", *map(str, words)]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """One of all events, one of what passed."""
    record(tmp_path / "all.arrows", [storm(1, 10)])
    record(tmp_path / "some.arrows", [storm(1, 10)], filtered="1")
    return tmp_path / "all.arrows", tmp_path / "some.arrows"


@pytest.mark.parametrize(
    "words",
    [
        ("translate", "5", "--from", "FILE"),
        ("translate", "--to-container", "--from", "FILE", "-"),
        ("ps", "--from", "FILE"),
        ("tree", "--from", "FILE"),
        ("why", "--all", "--from", "FILE"),
        ("join", "-", "--from", "FILE", "--on", "pid", "--time-column", "time"),
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_it_says_that_it_cannot_know(words: tuple[str, ...], files: tuple[Path, Path]) -> None:
    whole, some = files
    log = "time,pid\n2026-11-24T10:00:00Z,5\n"
    said = "has only what passed a condition (--where): who had which number is not known"
    done = nstrace(*(some if word == "FILE" else word for word in words), stdin=log)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines()[0] == f"nstrace: {some} {said}"
    assert said not in nstrace(*(whole if word == "FILE" else word for word in words), stdin=log).stderr


def test_what_passed_is_shown(files: tuple[Path, Path]) -> None:
    shown = [nstrace("replay", "--json", "-q", file) for file in files]
    assert shown[0].returncode == shown[1].returncode == 0 and shown[0].stdout == shown[1].stdout


class _Tracing:
    wall_offset_ns = 0

    def confine(self, *_words: object, **_more: object) -> None:
        pass


@pytest.mark.parametrize("is_filtered", [True, False])
def test_a_recording_knows_whether_all_was_recorded(is_filtered: bool) -> None:
    options = RecordOptions("-", False, False, (None, None, None), False)
    destination = Destination(options, False, is_filtered)
    destination.confine(_Tracing(), lambda: None)  # type: ignore[arg-type]
    assert ("filtered" in destination._facts) is is_filtered
