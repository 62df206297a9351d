"""What is measured: nstrace's ways, the peers that Debian packages, the floors, and nothing at all."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

STORM = "nstrace-storm"
_COMM = STORM.encode()
_SCHED = [f"sched:sched_process_{name}" for name in ("fork", "exec", "exit")]
_NSTRACE = [sys.executable, "-m", "tracer"]

# Peers that need tracefs get it in a mount namespace of their own; trace-cmd writes where it may not write here.
_MOUNT = (
    "mount -t tracefs none /sys/kernel/tracing; "
    "echo 1 >$0 && mount --bind $0 /proc/sys/kernel/ftrace_enabled; "
    'exec "$@"'
)
_BPFTRACE = """
tracepoint:sched:sched_process_fork { printf("fork %d %d %s\\n", args->parent_pid, args->child_pid, comm); }
tracepoint:sched:sched_process_exec { printf("exec %d %s %s\\n", args->pid, comm, str(args->filename)); }
tracepoint:sched:sched_process_exit { printf("exit %d %s\\n", args->pid, comm); }
"""

# An agent records to a folder, as its configuration says.
_AGENT = 'printf "[record]\\nfolder = \\"%s\\"\\nmin_free = \\"0B\\"\\n" "$0" >"$1"; shift; exec "$@"'

Counts = dict[str, int]
"""Events by kind: forks, execs, exits; only those that the tool reports."""


@dataclass(frozen=True)
class Tool:
    """One way of tracing. argv and after (a decoder that is run in the end): {out} is a file to write, in a folder of
    its own. count: the workload's events in stdout, or in what after wrote.

    needs: the program that must be installed. streams: reports events as they happen, on stdout. reported: the kinds
    that it reports.
    """

    name: str
    group: str  # none, nstrace, floor or peer
    argv: tuple[str, ...]
    count: Callable[[Iterable[bytes]], Counts]
    after: tuple[str, ...] = ()
    needs: str = ""
    streams: bool = True
    reported: tuple[str, ...] = ("forks", "execs", "exits")

    def why_not(self) -> str:
        """The reason why it cannot be started here; empty if it can."""
        if not self.needs or shutil.which(self.needs):
            return ""
        return f"{self.needs} is not installed: scripts/bench --peers installs it"

    def command(self, folder: Path, quiet_pid: int = 0) -> list[str]:
        """The command, with its files in this folder."""
        return [_in_folder(word, folder).replace(QUIET, str(quiet_pid)) for word in self.argv]

    def decoder(self, folder: Path) -> list[str]:
        """The command that converts what was recorded in this folder to text."""
        return [_in_folder(word, folder) for word in self.after]


def _in_folder(word: str, folder: Path) -> str:
    return word.replace("{out}", str(folder / "out")).replace("{one}", str(folder / "one"))


def _by_word(words: dict[bytes, str]) -> Callable[[Iterable[bytes]], Counts]:
    """A function that counts the lines that name the workload, by the first of these words in them."""

    def count(lines: Iterable[bytes]) -> Counts:
        counts = dict.fromkeys(words.values(), 0)
        for line in lines:
            if _COMM not in line:
                continue
            for word, kind in words.items():
                if word in line:
                    counts[kind] += 1
                    break
        return counts

    return count


def _by_json(lines: Iterable[bytes]) -> Counts:
    """The last line, which is an object of counts."""
    counts: Counts = json.loads(list(lines)[-1])
    return counts


_in_text = _by_word({b" fork ": "forks", b" exec ": "execs", b" exit ": "exits"})
_in_json = _by_word({b'"event":"fork"': "forks", b'"event":"exec"': "execs", b'"event":"exit"': "exits"})
_in_tracepoints = _by_word({b"_fork:": "forks", b"_exec:": "execs", b"_exit:": "exits"})
_in_perf_trace = _by_word({b"_fork(": "forks", b"_exec(": "execs", b"_exit(": "exits"})
_in_snoops = _by_word({b"/" + _COMM: "execs", b"": "exits"})
_in_forkstat = _by_word({b" child ": "forks", b" exec ": "execs", b" exit ": "exits"})
_in_bpftrace = _by_word({b"fork ": "forks", b"exec ": "execs", b"exit ": "exits"})


def _with_tracefs(*argv: str) -> tuple[str, ...]:
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", _MOUNT, "{one}", *argv)


def _events() -> list[str]:
    return [word for name in _SCHED for word in ("-e", name)]


def _nothing(_lines: Iterable[bytes]) -> Counts:
    return {}


QUIET = "{quiet}"
"""In argv: the host PID of a process in a PID namespace where nothing happens."""

NONE = Tool("none", "none", ("sleep", "infinity"), _nothing, streams=False, reported=())

OURS = (
    Tool("nstrace follow", "nstrace", (*_NSTRACE, "follow"), _in_text),
    Tool("nstrace follow --json", "nstrace", (*_NSTRACE, "follow", "--json"), _in_json),
    Tool(
        "nstrace follow, of a quiet namespace",
        "nstrace",
        (*_NSTRACE, "follow", f"pid:{QUIET}"),
        _nothing,
        streams=False,
        reported=(),
    ),
    Tool(
        "nstrace record",
        "nstrace",
        (*_NSTRACE, "record", "-w", "{out}"),
        _in_text,
        after=(*_NSTRACE, "replay", "{out}"),
        streams=False,
    ),
    Tool(
        "nstrace agent",
        "nstrace",
        ("sh", "-c", _AGENT, "{out}", "{one}", *_NSTRACE, "agent", "--config", "{one}"),
        _in_text,
        after=("sh", "-c", 'exec "$@" "$0"/*.arrows', "{out}", *_NSTRACE, "replay"),
        streams=False,
    ),
)


_OF_THREADS = ("threads", "thread_exits")
THREADS = Tool(
    "nstrace follow --threads",
    "nstrace",
    (*_NSTRACE, "follow", "--threads"),
    _by_word({b" thread_fork ": "threads", b" thread_exit ": "thread_exits"}),
    reported=_OF_THREADS,
)


def of_threads(tools: Iterable[Tool]) -> list[Tool]:
    """The tools for a storm of threads: ours with and without --threads, and those that report what the kernel's
    tracepoints report, which makes no difference between a thread and a process."""

    def counting(tool: Tool) -> Tool:
        def count(lines: Iterable[bytes]) -> Counts:
            counts = tool.count(lines)
            return {"threads": counts.get("forks", 0), "thread_exits": counts.get("exits", 0)}

        return replace(tool, count=count, reported=_OF_THREADS if tool.reported else ())

    without = replace(OURS[0], name="nstrace follow, without threads", count=_nothing, reported=())
    hear_threads = [tool for tool in tools if tool.group == "floor" or tool.name in _HEAR_THREADS]
    return [THREADS, without, *map(counting, hear_threads)]


def floors(floor: Path) -> tuple[Tool, ...]:
    """The least that tracing can cost, up to what wakes its reader for every event."""
    said = {
        "nothing": "probes that do nothing",
        "count": "probes that count",
        "ring": "ring, C reader that counts",
        "woken": "the same, woken by every event",
    }
    kinds = Tool.reported
    return tuple(
        Tool(name, "floor", (str(floor), mode), _by_json, streams=False, reported=() if mode == "nothing" else kinds)
        for mode, name in said.items()
    )


PEERS = (
    Tool("forkstat", "peer", ("forkstat", "-l", "-e", "fork,exec,exit"), _in_forkstat, needs="forkstat"),
    Tool("bpftrace", "peer", _with_tracefs("bpftrace", "-e", _BPFTRACE), _in_bpftrace, needs="bpftrace"),
    Tool(
        "perf record",
        "peer",
        _with_tracefs("perf", "record", "-q", "-a", *_events(), "-o", "{out}"),
        _in_tracepoints,
        needs="perf",
        after=("perf", "script", "-i", "{out}"),
        streams=False,
    ),
    Tool(
        "perf trace",
        "peer",
        _with_tracefs("perf", "trace", "-o", "/dev/stdout", "-a", *_events()),
        _in_perf_trace,
        needs="perf",
    ),
    Tool(
        "trace-cmd record",
        "peer",
        _with_tracefs("trace-cmd", "record", "-o", "{out}", *_events()),
        _in_tracepoints,
        needs="trace-cmd",
        after=("trace-cmd", "report", "-i", "{out}"),
        streams=False,
    ),
    Tool(
        "libbpf-tools execsnoop + exitsnoop",
        "peer",
        _with_tracefs("sh", "-c", "execsnoop & exec exitsnoop"),
        _in_snoops,
        needs="execsnoop",
        reported=("execs", "exits"),
    ),
    Tool(
        "bcc exitsnoop",
        "peer",
        _with_tracefs("exitsnoop-bpfcc"),
        _in_snoops,
        needs="exitsnoop-bpfcc",
        reported=("exits",),
    ),
)
PACKAGES = ("forkstat", "bpftrace", "linux-perf", "trace-cmd", "libbpf-tools", "bpfcc-tools")
FLOODED = (replace(OURS[0], name="nstrace follow --buffer-size 1", argv=(*OURS[0].argv, "--buffer-size", "1")),)
SHORT = ("forkstat", "bpftrace", "perf record")
"""Peers that are enough beside the spawn storm, under which all are measured."""
_HEAR_THREADS = ("bpftrace", "perf record")
