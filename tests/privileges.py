"""What each process of nstrace holds while it records and shows events, from /proc: a table in Markdown."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tracer.system.privileges import FIRST_UID

COLUMNS = ("process", "user", "CapEff", "CapBnd", "no_new_privs", "seccomp", "processes", "root directory")


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


def family(pid: int) -> Iterator[int]:
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from family(int(child))


def row(pid: int, reader: int) -> tuple[str, ...]:
    found = status(pid)
    limit = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "Max processes" in line)
    user = int(found["Uid"].split()[0])
    root = Path(f"/proc/{pid}/root")
    return (
        "reader" if pid == reader else found["Name"],
        "nobody else's" if user == FIRST_UID + pid else "root" if user == 0 else str(user),
        f"{int(found['CapEff'], 16):x}",
        f"{int(found['CapBnd'], 16):x}",
        found["NoNewPrivs"],
        {"0": "none", "2": "a list"}[found["Seccomp"]],
        "none" if limit.split()[2] == "0" else "more",
        "empty" if not list(root.iterdir()) else "the host's",
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "tracer", "follow", "--json", "-w", f"{folder}/x.arrows", "host", "all"]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout
        process.stdout.readline()
        rows = [COLUMNS, tuple("---" for _ in COLUMNS), *(row(pid, process.pid) for pid in family(process.pid))]
        process.send_signal(signal.SIGINT)
        process.communicate()
    for cells in rows:
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
