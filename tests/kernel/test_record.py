"""nstrace record as a user types it: without a file, on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel
ROOT = Path(__file__).parents[2]
DEADLINE_S = 60


def test_one_line_of_progress_and_what_to_type_next(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    argv = [sys.executable, "-m", "tracer", "record", "--duration", "2", "host"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, stdout=slave, stderr=slave, cwd=tmp_path, env=env) as recorder:
        os.close(slave)
        while recorder.poll() is None:
            subprocess.run(["true"], check=True)
    said = b""
    while True:
        try:
            said += os.read(master, 65536)
        except OSError:  # EIO: all has been read
            break
    os.close(master)
    first, *lines = said.decode().replace("\r\n", "\n").rstrip("\n").split("\n")
    (path,) = tmp_path.iterdir()
    assert re.fullmatch(r"host-\d{8}-\d{6}\.arrows", path.name)
    assert first == f"nstrace: recording to {path.name}"
    progress, _clear, summary = lines[0].rpartition("\r\x1b[K")
    counts = [int(count) for count in re.findall(r"nstrace: recording: (\d+) events?, ", progress)]
    assert len(counts) > 2
    assert counts == sorted(counts)
    assert counts[-1] > 0
    assert re.fullmatch(r"nstrace: \d+ events \(.*\) in 2\.\d s, \d+ lost.*", summary)
    assert lines[1].startswith(f"nstrace: wrote {path.name}: ")
    assert lines[2:] == [f"nstrace: to show it: nstrace replay {path.name}"]
