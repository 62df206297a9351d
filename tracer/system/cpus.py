"""The CPUs of this machine, as the kernel numbers them."""

from __future__ import annotations

from pathlib import Path

_POSSIBLE = Path("/sys/devices/system/cpu/possible")


def cpu_count() -> int:
    """The highest number that a CPU may have here, plus 1: CPUs can be added while we run."""
    return int(_POSSIBLE.read_text().strip().replace("-", ",").rpartition(",")[2]) + 1
