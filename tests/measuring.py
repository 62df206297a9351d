"""A command, and how much memory it took at the most."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LIMIT_BYTES = 256 << 20  # of every command that reads recordings: docs/security.md

# A small process between us and the command: what is forked from us counts our memory as its own until it is another
# program (setmax_mm_hiwater_rss, fs/exec.c). With the command's children, as far as they were waited for.
_BETWEEN = """
import os, sys
child = os.fork()
if child == 0:
    os.execv(sys.argv[2], sys.argv[2:])
_pid, status, usage = os.wait4(child, 0)
os.write(int(sys.argv[1]), b"%d" % usage.ru_maxrss)
os._exit(os.waitstatus_to_exitcode(status) & 255)
"""


class Done(NamedTuple):
    """What a command printed and said, and its peak of resident memory, in bytes."""

    exit_code: int
    stdout: bytes
    stderr: str
    peak_bytes: int


def measured(*args: object, stdin: bytes | None = None, is_shown: bool = True, deadline_s: float = 100) -> Done:
    """Run nstrace with these arguments. is_shown: what it prints is kept."""
    reader, writer = os.pipe()
    argv = [sys.executable, "-S", "-c", _BETWEEN, str(writer), sys.executable, "-m", "tracer", *map(str, args)]
    env = os.environ | {"TZ": "UTC"}
    out = subprocess.PIPE if is_shown else subprocess.DEVNULL
    done = subprocess.run(
        argv, input=stdin, stdout=out, stderr=subprocess.PIPE, cwd=ROOT, env=env, pass_fds=[writer], timeout=deadline_s
    )
    os.close(writer)
    with open(reader, "rb") as answer:  # noqa: PTH123 - a descriptor
        peak_kib = int(answer.read() or b"0")
    said = done.stderr.decode()
    assert "Traceback" not in said
    assert "unexpected" not in said, said
    return Done(done.returncode, done.stdout or b"", said, peak_kib << 10)
