"""Conditions of --where, each with the plain Python loop that says of a line of JSON whether it passes.

One table, whether the rows were made by hand or come from a container: what differs between them is in `Its`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

Line = dict[str, Any]
Loop = Callable[[Line], Any]
NOTES = ("gap", "repair")


class Its(NamedTuple):
    """What is asked for of rows: a process, its PID inside, its PID namespace, cgroup and parent, how the container's
    name begins, and a moment, as time and as boottime."""

    pid: int
    ns_pid: int
    pidns: int
    cgroup_id: int
    parent: int
    name: str
    time: str
    ts_ns: int


def read(text: bytes) -> list[Line]:
    """Lines of JSON, with the container's name in place of the object, as conditions and tables have it."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        container = line.get("container") or {}
        line["container"] = container.get("name") or (container.get("id") or "")[:12] or None
    return lines


def always(line: Line) -> bool:
    """Whether a line passes whatever the condition is."""
    return line["event"] in NOTES


def passing(lines: Iterable[Line], loop: Loop) -> list[Line]:
    """The lines that a stream with the condition has."""
    return [line for line in lines if always(line) or loop(line)]


def text(line: Line) -> str | None:
    """The command line."""
    return None if line.get("args") is None else " ".join(line["args"])


def less(value: Any, other: Any) -> bool:
    """Whether it is known to be less."""
    return value is not None and value < other


def table(its: Its) -> dict[str, Loop]:
    """The conditions, each with its loop."""
    return {
        "event = 'exec' and comm in ('sh','bash')": lambda e: e["event"] == "exec" and e.get("comm") in ("sh", "bash"),
        "exit_code <> 0 or signal is not null": lambda e: e.get("exit_code") or e.get("signal"),
        "args like '%--debug%'": lambda e: "--debug" in (text(e) or ""),
        "regexp_matches(exe, '^/s?bin/')": lambda e: re.search("^/s?bin/", e.get("exe") or ""),
        "duration_ns > 1e9": lambda e: less(1e9, e.get("duration_ns") or 0),
        f"container like '{its.name}%'": lambda e: (e["container"] or "").startswith(its.name),
        f"ns_pid = {its.ns_pid}": lambda e: e.get("ns_pid") == its.ns_pid,
        f"list_contains(pids, {its.pid})": lambda e: its.pid in (e.get("pids") or []),
        "not (event = 'fork')": lambda e: e["event"] != "fork",
        "event <> 'exit' and uid = 1000": lambda e: e["event"] != "exit" and e.get("uid") == 1000,
        "uid <> 0": lambda e: e.get("uid") not in (None, 0),
        "uid is null": lambda e: e.get("uid") is None,
        "comm is null": lambda e: e.get("comm") is None,
        "comm = '\\xff'": lambda e: e.get("comm") == "\\xff",
        "exe = '/bin/\\xe9'": lambda e: e.get("exe") == "/bin/\\xe9",
        "args = ['job', '--debug', 'a b']": lambda e: e.get("args") == ["job", "--debug", "a b"],
        "args[1] = 'job'": lambda e: (e.get("args") or [None])[0] == "job",
        "len(args) = 3": lambda e: len(e.get("args") or []) == 3,
        "list_contains(args, 'é')": lambda e: "é" in (e.get("args") or []),
        "args like '%x''y%'": lambda e: "x'y" in (text(e) or ""),
        "args ilike '%DEBUG A B'": lambda e: (text(e) or "").lower().endswith("debug a b"),
        "args not like '%job%'": lambda e: text(e) is not None and "job" not in str(text(e)),
        "args similar to 'job.*'": lambda e: (text(e) or "").startswith("job"),
        "args ~ '^init$'": lambda e: text(e) == "init",
        "regexp_matches(args, 'a b$')": lambda e: (text(e) or "").endswith("a b"),
        "starts_with(args, 'job')": lambda e: (text(e) or "").startswith("job"),
        "lower(args) = 'init'": lambda e: (text(e) or "").lower() == "init",
        "signal in ('SIGKILL', 'SIGSEGV')": lambda e: e.get("signal") in ("SIGKILL", "SIGSEGV"),
        "core_dumped": lambda e: e.get("core_dumped"),
        "not core_dumped": lambda e: e.get("core_dumped") is False,
        "exit_code between 1 and 5": lambda e: less(0, e.get("exit_code") or 0) and e["exit_code"] <= 5,
        "error = 'ENOENT'": lambda e: e.get("error") == "ENOENT",
        "errno = 2": lambda e: e.get("errno") == 2,
        "state = 'S'": lambda e: e.get("state") == "S",
        "level = 0": lambda e: e.get("level") == 0,
        "level > 1": lambda e: less(1, e.get("level") or 0),
        "len(pids) > 2": lambda e: len(e.get("pids") or []) > 2,
        f"pids[2] = {its.ns_pid}": lambda e: (e.get("pids") or [0, 0])[1:2] == [its.ns_pid],
        f"pidns = {its.pidns}": lambda e: e.get("pidns") == its.pidns,
        f"list_contains(pidns_chain, {its.pidns})": lambda e: its.pidns in (e.get("pidns_chain") or []),
        f"ppid = {its.parent} and ns_ppid < 2": lambda e: e.get("ppid") == its.parent and less(e.get("ns_ppid"), 2),
        f"proc_id like '{its.pid}-%'": lambda e: (e.get("proc_id") or "").startswith(f"{its.pid}-"),
        f"parent_id like '{its.parent}-%'": lambda e: (e.get("parent_id") or "").startswith(f"{its.parent}-"),
        "inferred": lambda e: e.get("inferred"),
        "carried or inferred": lambda e: e.get("carried") or e.get("inferred"),
        "coalesce(exit_code, -1) = -1": lambda e: e.get("exit_code") is None,
        "old_tid is not null": lambda e: e.get("old_tid") is not None,
        f"cgroup_id = {its.cgroup_id}": lambda e: e.get("cgroup_id") == its.cgroup_id,
        "args_truncated": lambda e: e.get("args_truncated"),
        "tid <> pid": lambda e: e.get("tid") not in (None, e.get("pid")),
        f"ts_ns >= {its.ts_ns}": lambda e: e["ts_ns"] >= its.ts_ns,
        f"time < '{its.time}'": lambda e: e["time"] < its.time.replace(" ", "T"),
        "incarnation = 1": lambda e: e.get("incarnation") == 1,
        f"case when event = 'exec' then pid > {its.pid} else false end": lambda e: (
            e["event"] == "exec" and e["pid"] > its.pid
        ),
        "event = 'exec' -- and no more": lambda e: e["event"] == "exec",
        "true": lambda e: True,
        "null": lambda e: False,
        "until is null and lost is null": lambda e: e["event"] not in ("gap", "repair"),
    }
