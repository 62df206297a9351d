"""The census of the living host. Combines what /proc says with the containers of each process."""

from __future__ import annotations

from tracer.answers.census import NOBODY, Census, Entry
from tracer.host.processes import Host
from tracer.host.procfs import LivingProcess


def take_census(host: Host) -> Census:
    """All processes that exist now. They are read one after the other, while others begin and end."""
    living = {process.tgid: process for process in host.processes()}
    host.survey(living.values())
    return Census(entry_of(host, process, living.get(process.parent_tgid)) for process in living.values())


def entry_of(host: Host, process: LivingProcess, parent: LivingProcess | None = None) -> Entry:
    """The entry of one process. parent: where that has been read already."""
    has_parent = process.parent_tgid != 0
    parent = parent or (host.process(process.parent_tgid) if has_parent else None)
    if parent and parent.proc_id.start_ns > process.proc_id.start_ns:
        parent = None  # its number was given away meanwhile
    return Entry(
        proc_id=process.proc_id,
        parent=parent.proc_id if parent else None if has_parent else NOBODY,
        ns_ppid=_ns_ppid(process, parent) if has_parent else 0,
        numbers=process.numbers,
        chain=process.chain,
        containers=host.enclosing(process),
        comm=process.comm,
        exe=process.exe,
        args=process.args,
        uid=process.uid,
        state=process.state,
        started_ns=host.started_ns(process),
        args_truncated=process.args_truncated,
    )


def _ns_ppid(process: LivingProcess, parent: LivingProcess | None) -> int | None:
    if parent is None:
        return None
    if parent.level < process.level:
        return 0
    if process.chain is None or parent.chain is None:
        return None
    pidns, nr = parent.chain[process.level]
    return nr if pidns == process.chain[-1].pidns else 0
