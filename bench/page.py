"""Figures in pages of the documentation: their origin, and their place."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def put(path: Path, figures: str, begin: str = BEGIN, end: str = END) -> None:
    """Write figures into a page, between its marks; the text around them stays."""
    before, _begin, rest = path.read_text().partition(begin)
    _old, _end, behind = rest.partition(end)
    path.write_text(f"{before}{begin}\n{figures}\n{end}{behind}")


def give(command: str, rows: str, marks: tuple[str, str], *, is_written: bool) -> None:
    """Print figures of the fleet; is_written: put them into docs/fleet.md. command: as `origin` says it."""
    figures = f"{command}\n\n{rows}"
    print(figures)
    if is_written:
        put(ROOT / "docs/fleet.md", figures, *marks)


def origin(command: str) -> str:
    """The command, time and host of figures that are made now."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())  # fmt: skip
    commit = subprocess.check_output(["git", "-C", ROOT, "describe", "--always", "--dirty"], text=True).strip()
    where = f"{os.cpu_count()} CPUs ({cpu}), Linux {platform.release()}, Python {platform.python_version()}"
    when = time.strftime("%Y-%m-%d %H:%M")
    return f"`{command}`, {when}: {where}, nstrace {commit}, load {os.getloadavg()[0]:.1f} at the beginning."
