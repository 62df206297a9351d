"""What a command writes replaces none of the files that it is made of, not with --force either."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from recordings import record, storm

LOG = "time,pid\n2026-11-24T10:00:00Z,60\n"


@pytest.mark.parametrize("how", ["by its name", "in a folder", "by a link"])
@pytest.mark.parametrize(
    "words",
    [
        ("timeline", "FILE"),
        ("export", "--to", "jsonl", "FILE"),
        ("export", "--to", "perfetto", "FILE"),
        ("sql", "FILE", "from gaps"),
        ("join", "LOG", "--from", "FILE", "--on", "pid", "--time-column", "time"),
    ],
    ids=lambda words: "-".join(words[:3]),
)
def test_it_is_refused(words: tuple[str, ...], how: str, tmp_path: Path) -> None:
    out = tmp_path / ("x.jsonl" if words[0] in ("sql", "join") else "x.arrows")
    file = tmp_path / "x.arrows"
    record(file, [storm(1, 10)])
    if out != file:
        os.link(file, out)
    elif how == "by a link":
        (tmp_path / "link.arrows").symlink_to(file)
        out = tmp_path / "link.arrows"
    (tmp_path / "log.csv").write_text(LOG)
    before = file.read_bytes()
    of = {"FILE": str(tmp_path if how == "in a folder" else file), "LOG": str(tmp_path / "log.csv")}
    argv = [sys.executable, "-m", "tracer", *(of.get(word, word) for word in words), "-w", str(out), "--force"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, f"nstrace: {out} is read here, and would be replaced")
    assert file.read_bytes() == before


def test_a_log_is_kept_too(tmp_path: Path) -> None:
    record(tmp_path / "x.arrows", [storm(1, 10)])
    log = tmp_path / "log.csv"
    log.write_text(LOG)
    words = ["join", log, "--from", tmp_path / "x.arrows", "--on", "pid", "--time-column", "time", "-w", log, "--force"]
    argv = [sys.executable, "-m", "tracer", *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and log.read_text() == LOG
