"""The commands as a user runs them, and what an engine says of a container: what the tests in tests/e2e share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any


def run(*args: object, prefix: Sequence[str] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    """nstrace with these words, to its end. prefix: what runs it. environment: on top of ours."""
    argv = [*prefix, sys.executable, "-m", "tracer", *map(str, args)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


def objects(*args: object, prefix: Sequence[str] = (), **environment: str) -> list[dict[str, Any]]:
    """What it prints with --json, a row each; it has to succeed."""
    done = run(*args, "--json", prefix=prefix, **environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def init(container: Any) -> int:
    """The host PID of a container's first process, as its engine says it now."""
    container.reload()
    return int(container.attrs["State"]["Pid"])
