"""nstrace in a process of its own, where a part of it lies: what a command says of a source that is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PROGRAM = """
import json, pkgutil, sys, time
for where, lie in json.loads(sys.argv[1]).items():
    owner, _, name = where.rpartition(".")
    owner = pkgutil.resolve_name(owner)
    right = getattr(owner, name)
    setattr(owner, name, eval(lie))
del sys.argv[1]
from tracer.cli import main
main()
"""


def run_lying(lies: Mapping[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    """Run nstrace. lies: where -> a Python expression for what stands there instead; in it `right` is what it was."""
    line = [sys.executable, "-c", _PROGRAM, json.dumps(dict(lies)), *argv]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=100, check=False)
