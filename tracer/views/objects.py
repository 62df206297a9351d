"""ps and tree as JSON: one object a process, with the names that the stream's snapshot events have."""

from __future__ import annotations

from typing import Any

import msgspec

from tracer.answers.census import NOBODY, AsOf, Entry, Later
from tracer.stream.metadata import Container, split_args
from tracer.text.escape import decode, safe_json
from tracer.text.times import rfc3339
from tracer.views.table import NameOf


def json_line(item: dict[str, Any]) -> str:
    """One object on a line without effect on a terminal, ended by a newline."""
    return safe_json(msgspec.json.encode(item).decode()) + "\n"


def process_object(entry: Entry, name_of: NameOf) -> dict[str, Any]:
    """What is known of a process; null is what cannot be read. args_truncated is there only where it is true."""
    return {
        "container": container_object(entry.container),
        "incarnation": entry.container.incarnation if entry.container else None,
        "pid": entry.numbers[0],
        "ns_pid": entry.numbers[-1],
        "ppid": entry.parent.tgid if entry.parent else None,
        "ns_ppid": entry.ns_ppid,
        "pids": entry.numbers,
        "pidns": entry.pidns.inum if entry.pidns else None,
        "pidns_gen": entry.pidns.gen if entry.pidns else None,
        "level": entry.level,
        "pidns_chain": [number.pidns.inum for number in entry.chain] if entry.chain else None,
        "proc_id": str(entry.proc_id),
        "parent_id": str(entry.parent) if entry.parent and entry.parent != NOBODY else None,
        "comm": decode(entry.comm) or None,
        "uid": entry.uid,
        "user": None if entry.uid is None or (name := name_of(entry.uid)) == str(entry.uid) else name,
        "started": rfc3339(entry.started_ns),
        "state": entry.state or None,
        "exe": decode(entry.exe) or None,
        "args": None if entry.args is None else [decode(arg) for arg in split_args(entry.args)],
        **({"args_truncated": True} if entry.args_truncated else {}),
        **(_as_of_object(entry, entry.as_of) if entry.as_of else {}),
    }


def _as_of_object(entry: Entry, as_of: AsOf) -> dict[str, Any]:
    """For a recorded process, the moment of comm, uid, container and parent, and what had changed by the next event."""
    last = as_of.last_parent if entry.parent is None else None
    return {
        "as_of": rfc3339(as_of.at_ns),
        "as_of_at_the_latest": as_of.at_the_latest,
        "last_parent": {"pid": last.tgid, "proc_id": str(last), "ended_by": _time(as_of.parent_ended_ns)}
        if last
        else None,
        "changed": _later_object(as_of.later) if as_of.later else None,
    }


def _later_object(later: Later) -> dict[str, Any]:
    parent = later.parent
    changes = {
        "uid": later.uid,
        "comm": None if later.comm is None else decode(later.comm),
        "ppid": parent.tgid if parent else None,
        "parent_id": str(parent) if parent and parent != NOBODY else None,
    }
    return {"by": rfc3339(later.at_ns)} | {name: value for name, value in changes.items() if value is not None}


def _time(wall_ns: int | None) -> str | None:
    return None if wall_ns is None else rfc3339(wall_ns)


def container_object(container: Container | None) -> dict[str, Any] | None:
    """The container as it is in every line of JSON: `pod` and `task` where it has one."""
    if container is None:
        return None
    found = {"id": container.id, "name": container.name, "image": container.image, "runtime": container.runtime}
    return found | place_object(container)


def place_object(container: Container) -> dict[str, Any]:
    """What a container is a part of, as JSON: a pod or a task; {}: of nothing that is known."""
    found: dict[str, Any] = {}
    if pod := container.pod:
        names = {"name": pod.name, "namespace": pod.namespace, "container": pod.container}
        found["pod"] = {"uid": pod.uid} | names
    if container.task:
        found["task"] = container.task
    return found
