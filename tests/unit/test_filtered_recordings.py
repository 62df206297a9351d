"""A recording of what passed a condition shows that, and does not answer who lived when: that is not known."""

from __future__ import annotations

import json
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


@pytest.mark.parametrize(
    "words",
    [
        ("sessions", "--from", "FILE"),
        ("diff", "FILE", "FILE"),
        ("timeline", "FILE", "-w", "page.html"),
        ("export", "FILE", "--to", "perfetto", "-w", "out.pftrace"),
        ("export", "FILE", "--to", "csv", "--what", "processes", "-w", "-"),
        ("sql", "FILE", "from processes"),
        ("sql", "FILE", "select e.pid from events e join processes p using (pid)"),
        ("sql", "FILE", "select count(*) from containers"),
    ],
    ids=lambda words: "-".join(words[:3]),
)
def test_it_says_that_it_does_not_know_lives(words: tuple[str, ...], files: tuple[Path, Path], tmp_path: Path) -> None:
    whole, some = files
    argv = [str(tmp_path / word) if word.endswith((".html", ".pftrace")) else word for word in words]
    done = nstrace(*(some if word == "FILE" else word for word in argv))
    said = "has only what passed a condition (--where): how processes began, lived and ended is not known"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[0] == f"nstrace: {some} {said}"
    assert len(done.stderr.splitlines()) == 2 and len(list(tmp_path.iterdir())) == 2
    assert said not in nstrace(*(whole if word == "FILE" else word for word in argv)).stderr


@pytest.mark.parametrize(
    "words",
    [
        ("replay", "FILE"),
        ("export", "FILE", "--to", "csv", "-w", "-"),
        ("sql", "FILE", "select count(*) from events"),
        ("summary", "FILE"),
    ],
    ids=lambda words: words[0],
)
def test_what_shows_or_counts_events_says_that_there_are_others(
    words: tuple[str, ...], files: tuple[Path, Path]
) -> None:
    said = f"nstrace: {files[1]} has only what passed a condition (--where): other events are not in it"
    shown = [nstrace(*(file if word == "FILE" else word for word in words)) for file in files]
    assert shown[0].returncode == shown[1].returncode == 0
    assert said in shown[1].stderr.splitlines() and "--where" not in shown[0].stderr
    assert said not in nstrace(*(files[1] if word == "FILE" else word for word in words), "-q").stderr


def test_a_summary_says_it_itself(files: tuple[Path, Path]) -> None:
    assert [json.loads(nstrace("summary", "--json", file).stdout)["filtered"] for file in files] == [False, True]
    said = "of what passed a condition (--where) alone: other events are not counted\n"
    whole, some = (nstrace("summary", "-q", file).stdout for file in files)
    assert some == said + whole


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
