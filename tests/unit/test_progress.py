"""The progress bar of a long recording, on a terminal alone."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from recordings import facts, record, storm

CODE = "import tracer.commands.progress as p; p._LONG_BYTES = {}; from tracer.cli import main; main()"


def said_on_a_terminal(least: int, path: Path, *args: str) -> tuple[bytes, bytes]:
    """What a command printed, and what it said on a terminal; a recording of so many bytes is long."""
    master, slave = pty.openpty()
    argv = [sys.executable, "-c", CODE.format(least), *args, str(path)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    printed = process.communicate(timeout=60)[0]
    said = b""
    try:
        while part := os.read(master, 65536):
            said += part
    except OSError:  # EIO: the other side is closed
        pass
    os.close(master)
    assert process.returncode == 0, said
    return printed, said


@pytest.mark.parametrize(("least", "args", "shows"), [(1000, [], True), (10**9, [], False), (1000, ["-q"], False)])
def test_a_bar_for_long_recordings(least: int, args: list[str], shows: bool, tmp_path: Path) -> None:
    record(tmp_path / "x.arrows", [storm(1, 100), storm(101, 100)])
    printed, said = said_on_a_terminal(least, tmp_path / "x.arrows", "replay", "--json", *args)
    assert printed.count(b"\n") == 600
    assert (b"kB" in said) == shows
    record(tmp_path / "y.arrows", [facts(), storm(1, 100), storm(101, 100)])
    _printed, said = said_on_a_terminal(least, tmp_path / "y.arrows", "why", "--all", *args)
    assert (b"kB" in said) == shows
