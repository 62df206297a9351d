"""Order and durations come from clocks that nobody sets; the wall clock only names moments for people."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "tracer"
WALL = {"time", "time_ns", "now", "today", "utcnow", "CLOCK_REALTIME", "CLOCK_TAI"}
# Where a moment gets its name: the offset between the clocks when a trace began, and what a recording says of itself.
NAMES_MOMENTS = {"system/clock_offset.py", "recording/metadata.py", "recording/rotate.py", "wiring/process_lists.py"}
NAMES_MOMENTS |= {"typed/moments.py", "commands/sessions.py", "commands/dump.py", "wiring/kept.py"}  # 3m ago
NAMES_MOMENTS |= {"agent/store.py", "agent/lock.py", "fleet/archive_store.py"}  # how old files are
NAMES_MOMENTS |= {"wiring/fleet_follow.py", "wiring/fleet_hosts.py"}  # hosts have no other clock in common
NAMES_MOMENTS |= {"containers/channel.py", "containers/listening.py"}  # engines have no other clock


def reads_the_wall_clock(path: Path) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in WALL
        and isinstance(node.value, ast.Name)
        and node.value.id in ("time", "datetime", "date")
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_who_reads_the_wall_clock() -> None:
    users = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if reads_the_wall_clock(path)}
    assert users == NAMES_MOMENTS


def test_events_have_their_times_from_boottime() -> None:
    programs = "".join(path.read_text() for path in (PACKAGE.parent / "bpf").iterdir())
    assert "bpf_ktime_get_boot_ns" in programs
    assert "bpf_ktime_get_ns" not in programs, "CLOCK_MONOTONIC stands still while a machine is suspended"
    assert "start_boottime" in programs
