"""What a shell is offered for a line."""

from __future__ import annotations

import os
import subprocess
import sys

from conftest import ROOT


def bash(line: str, **environment: str) -> list[str]:
    """What bash is offered for this line."""
    return [item.removeprefix("plain,") for item in " ".join(raw(line, **environment)).split()]


def raw(line: str, **environment: str) -> list[str]:
    """The lines that a shell is answered with."""
    variables = {"COMP_LINE": line, "COMP_BREAKS": " \t\n\"'><=;|&(:", "_NSTRACE_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-m", "tracer"], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "DOCKER_HOST": "unix:///nowhere/sock", **variables, **environment},
    )  # fmt: skip
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout.splitlines()
