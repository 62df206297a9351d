"""What a recording can hold: the limits that the writer keeps, and the reader holds every file to. Imports no library.

A file that goes beyond them was not written by nstrace. The sizes are checked where they are declared, ahead of every
compressed buffer, so that nothing is unpacked that is larger (`tracer.recording.frames`).
"""

from __future__ import annotations

from tracer.stream.schema import COMM_BYTES

MAX_ROWS = 1 << 15
"""Rows of a batch; one twice as large needs 30 MB more memory."""
MAX_HEAP_BYTES = 1 << 24
"""Chains, file names and arguments of a batch, all together. The row that reaches this ends the batch."""
MAX_CHAIN = 33
"""Numbers of a process: MAX_PID_NS_LEVEL + 1, include/linux/pid_namespace.h."""
MAX_EXE_BYTES = 1 << 13
"""A file name: PATH_MAX, and what the kernel appends (" (deleted)")."""
MAX_ARGS_BYTES = 1 << 14
"""The arguments of a process: what --max-args-bytes accepts."""
MAX_FACT_BYTES = 1 << 18
"""What a cgroup or a namespace stands for, in JSON. The labels of a container that has more of them are left out."""
MAX_KILLER_BYTES = 1 << 12
"""Who sent the signal that ended a process, in JSON."""
MAX_ROW_BYTES = MAX_FACT_BYTES + MAX_EXE_BYTES + MAX_KILLER_BYTES + (MAX_CHAIN << 4)
"""What one row has beside its numbers: chain, killer, file name and arguments."""
MAX_TEXT_BYTES = {"event": 16, "state": 1, "comm": COMM_BYTES}
"""Of the columns of short text, by their name: the bytes of a cell."""
MAX_COLUMNS = 128
MAX_FACTS = 1 << 20
"""Cgroups and namespaces of which a recording says what they stand for."""

MAX_HEADER_BYTES = 1 << 18  # the command line is in the first
MAX_BODY_BYTES = 1 << 26

MAX_WALL_NS = 7_258_118_400 * 10**9
"""The year 2200. Times by the wall clock lie between 1970 and then, so that all that is worked out from them fits in 64
bits, and into a calendar."""
MIN_OFFSET_NS, MAX_OFFSET_NS = -315_360_000 * 10**9, MAX_WALL_NS
"""Wall clock minus boottime: at the least a clock that says 1970 on a host that has been up for ten years."""
MAX_BOOT_NS = 1_576_800_000 * 10**9
"""Times since boot: fifty years."""
MAX_COUNT = 1 << 48
"""Rows of a recording, and lost events."""
MAX_PART, MAX_INCARNATION = 1 << 31, (1 << 31) - 1
MAX_NAME_BYTES = 256
"""The name of a host, and that of a run (`session`)."""

NUMBERS = {
    "nstrace_schema": (0, 99_999),
    "wall_offset_ns": (MIN_OFFSET_NS, MAX_OFFSET_NS),
    "realtime_ns": (0, MAX_WALL_NS),
    "part": (1, MAX_PART),
    "first_row": (0, MAX_COUNT),
    "first_ns": (0, MAX_BOOT_NS),
    "last_ns": (0, MAX_BOOT_NS),
    "lost": (0, MAX_COUNT),
    "facts": (0, MAX_ROWS),
    "late": (0, MAX_ROWS),
    "always": (0, 2 * MAX_ROWS),
    "begin_ns": (0, MAX_BOOT_NS),
    "all_facts": (0, MAX_COUNT),
    "all_late": (0, MAX_COUNT),
    "all_always": (0, MAX_COUNT),
    "all_lost": (0, MAX_COUNT),
    "carried": (0, 1),
    "end": (0, 1),
    "quiet": (0, 1),
    "start_ns": (0, MAX_BOOT_NS),
    "parent_start_ns": (0, MAX_BOOT_NS),
    "incarnation": (1, MAX_INCARNATION),
}
"""The least and the greatest value of each number in the metadata of stream and batches, in columns and in facts."""


def is_possible(name: str, number: int) -> bool:
    """Whether this number of a recording is in its range."""
    least, most = NUMBERS[name]
    return least <= number <= most
