"""containers: one line a container or PID namespace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracer.answers.inventory import Running
from tracer.text.escape import decode, safe, safe_text
from tracer.text.times import rfc3339, short
from tracer.views.columns import TextColumn, TextColumns, columns
from tracer.views.objects import place_object
from tracer.views.table import UNKNOWN, place

_ENGINE, _POD, _NAMESPACE = TextColumn("ENGINE"), TextColumn("POD"), TextColumn("NAMESPACE")
_TITLES = (
    TextColumn("NAME", gives_way=True, least=40),
    TextColumn("ID"),
    TextColumn("RUNTIME"),
    _ENGINE,
    _POD,
    _NAMESPACE,
    TextColumn("INIT", right=True),
    TextColumn("PIDNS", right=True),
    TextColumn("LEVEL", right=True),
    TextColumn("PROCS", right=True),
    TextColumn("SINCE"),
    TextColumn("IMAGE"),  # the last, which is cut where a line has no room: the others are what people copy
)


def container_table(shown: Sequence[Running], now_ns: int, line_width: int | None = None) -> TextColumns:
    """NAME ID RUNTIME ENGINE POD NAMESPACE INIT PIDNS LEVEL PROCS SINCE IMAGE; ENGINE only where it says more than
    RUNTIME, POD and NAMESPACE only where there is a pod. now_ns: the wall clock."""
    omitted = set[TextColumn]()
    if all(one.engine in (None, one.runtime) for one in shown):
        omitted.add(_ENGINE)
    if not any(one.container and one.container.pod for one in shown):
        omitted |= {_POD, _NAMESPACE}
    kept = [at for at, title in enumerate(_TITLES) if title not in omitted]
    rows = [_row(one, now_ns) for one in shown]
    return columns([_TITLES[at] for at in kept], [[row[at] for at in kept] for row in rows], line_width)


def _row(one: Running, now_ns: int) -> list[str]:
    found = one.container
    pod = found.pod if found else None
    return [
        place(one.init),
        safe_text(found.short_id) if found else "-",
        safe_text(found.runtime) if found else "-",
        safe_text(one.engine or "-"),
        safe_text(pod.name or pod.uid) if pod else "-",
        safe_text((pod.namespace if pod else None) or "-"),
        str(one.init.proc_id.tgid),
        str(one.pidns.inum) if one.pidns else UNKNOWN,
        str(one.init.level),
        str(one.processes),
        short(one.init.started_ns, now_ns),
        # a namespace that no engine knows has no image: its first process describes it best
        safe_text(found.image or "-") if found else f"({safe(one.init.comm)})",
    ]


def identifier(one: Running) -> str:
    """What names it in a TARGET: the container's short id, pidns:INUM, or pid:N where that cannot be read."""
    if one.container:
        return safe_text(one.container.short_id)
    return f"pidns:{one.pidns.inum}" if one.pidns else f"pid:{one.init.proc_id.tgid}"


def container_json(one: Running) -> dict[str, Any]:
    """A container or namespace as JSON, with the names of schema 1."""
    found = one.container
    return {
        "id": found.id if found else None,
        "name": found.name if found else None,
        "image": found.image if found else None,
        "runtime": found.runtime if found else None,
        "engine": one.engine,
        "labels": found.labels if found else {},
        "init_pid": one.init.proc_id.tgid,
        "init_proc_id": str(one.init.proc_id),
        "init_comm": decode(one.init.comm),
        "pidns": one.pidns.inum if one.pidns else None,
        "pidns_gen": one.pidns.gen if one.pidns else None,
        "level": one.init.level,
        "processes": one.processes,
        "since": rfc3339(one.init.started_ns),
    } | (place_object(found) if found else {})
