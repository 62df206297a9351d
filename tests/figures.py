"""What stress tests did and found, for docs/stress.md: a line of JSON each in the file that NSTRACE_FIGURES names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

_FILE = os.environ.get("NSTRACE_FIGURES")


def note(what: str, done: str, *, told: int, lost: int, wrong: int, more: str = "") -> None:
    """what: of the workload; done: by its own ledger or the kernel's. told: events of it; lost: by the whole trace.
    wrong: answers that were not the truth, to be asserted behind this."""
    if _FILE:
        test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
        row = {"test": test, "what": what, "done": done, "told": told, "lost": lost, "wrong": wrong, "more": more}
        with Path(_FILE).open("a") as file:
            file.write(json.dumps(row) + "\n")


def differing(told: Sequence[object], truth: Sequence[object]) -> int:
    """In how many places they differ; what one has more counts as well."""
    return sum(one != other for one, other in zip_longest(told, truth, fillvalue=object()))


def peak_mib(pid: int) -> str:
    """The most memory that a process has had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return f"{int(found[1]) / 1024:.0f} MiB" if found else "?"


def count(number: int) -> str:
    """With its thousands apart."""
    return f"{number:,}".replace(",", " ")
