"""The processes of nstrace that ask the engine, as the kernel shows them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def children(pid: int) -> list[int]:
    with suppress(FileNotFoundError, ProcessLookupError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def name_of(pid: int) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def engine_process_of(pid: int) -> int:
    """The process that asks for this one; 0: none does yet."""
    connectors = [child for child in children(pid) if name_of(child) == "nstrace-connect"]
    asking = [child for connector in connectors for child in children(connector)]
    return next((child for child in asking if name_of(child) == "nstrace-engine"), 0)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10
