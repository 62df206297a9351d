"""ps and tree as JSON: one object a process, with the names that the stream's snapshot events have."""

from __future__ import annotations

from typing import Any

import msgspec

from tracer.answers.census import NOBODY, Entry
from tracer.facts import Container, split_args
from tracer.views.escape import decode, safe_json
from tracer.views.moment import rfc3339
from tracer.views.table import NameOf


def json_line(item: dict[str, Any]) -> str:
    """One object on a line that no terminal acts on, ended by a newline."""
    return safe_json(msgspec.json.encode(item).decode()) + "\n"


def process_object(entry: Entry, name_of: NameOf) -> dict[str, Any]:
    """What is known of a process; null is what is not ours to see."""
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
        "comm": decode(entry.comm),
        "uid": entry.uid,
        "user": name if (name := name_of(entry.uid)) != str(entry.uid) else None,
        "started": rfc3339(entry.started_ns),
        "state": entry.state or None,
        "exe": decode(entry.exe) or None,
        "args": [decode(arg) for arg in split_args(entry.args)],
    }


def container_object(container: Container | None) -> dict[str, str | None] | None:
    """The container as every line of JSON names it."""
    if container is None:
        return None
    return {"id": container.id, "name": container.name, "image": container.image, "runtime": container.runtime}
