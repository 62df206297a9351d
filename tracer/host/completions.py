"""Candidates for arguments on a command line: containers, their labels, PIDs. For the shell's completion."""

from __future__ import annotations

from collections.abc import Iterator

from click.shell_completion import CompletionItem

from tracer.answers.inventory import Running, running
from tracer.containers.answers import Description
from tracer.containers.names import Names
from tracer.host.census import take_census
from tracer.host.processes import Host
from tracer.text.escape import decode
from tracer.typed.descriptions import compose_of
from tracer.views.table import place


def targets(names: Names, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Candidates for a TARGET; not all of them begin with incomplete."""
    prefix, colon, _ = incomplete.partition(":")
    if colon:
        yield from _with_prefix(names, prefix)
        return
    yield CompletionItem("all", help="every container and PID namespace")
    yield CompletionItem("host", help="processes that are in no container")
    for name in ("label:", "image:", "compose:", "pod:", "pid:", "pidns:"):
        yield CompletionItem(name)
    yield from _containers(names)


def procs(names: Names, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Candidates for a PROC; not all of them begin with incomplete."""
    return _numbers(names, incomplete) if "/" in incomplete else _owners(names)


def ended(names: Names, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Candidates for what may have ended: containers, those that do not run first, and after a slash PROCs."""
    if "/" in incomplete:
        yield from _numbers(names, incomplete)
        return
    for container in sorted(names.all(), key=lambda container: (container.running, container.name)):
        yield CompletionItem(container.name, help=container.state or container.image)


def _containers(names: Names) -> Iterator[CompletionItem[str]]:
    """Names, the running ones first; of every runtime where no engine answers."""
    for container in sorted(names.all(), key=lambda container: (not container.running, container.name)):
        yield CompletionItem(container.name, help=container.image if container.running else "not running")
    if not names.is_there:
        for one in _running(names):
            if one.container:
                yield CompletionItem(one.container.label, help=one.container.runtime)


def _with_prefix(names: Names, prefix: str) -> Iterator[CompletionItem[str]]:
    if prefix in ("pid", "pidns"):
        for one in _running(names):
            if prefix == "pid":
                yield CompletionItem(f"pid:{one.init.proc_id.tgid}", help=place(one.init))
            elif one.pidns:
                yield CompletionItem(f"pidns:{one.pidns.inum}", help=place(one.init))
        return
    if prefix == "pod":
        pods = {one.container.pod for one in _running(names) if one.container and one.container.pod}
        for pod in sorted(pods, key=lambda pod: pod.uid):
            yield CompletionItem(f"pod:{pod.uid}", help=pod.name)
        return
    if prefix == "name":
        for container in names.all():
            yield CompletionItem(f"name:{container.name}")
        return
    values = {value for container in names.all() for value in _values(prefix, container.description)}
    for value in sorted(values - {""}):
        yield CompletionItem(f"{prefix}:{value}")


def _values(prefix: str, description: Description) -> list[str]:
    labels = description.labels
    match prefix:
        case "label":
            return [f"{key}={value}" for key, value in labels.items()]
        case "image":
            return [description.image or ""]
        case "compose":
            project, service = compose_of(labels)
            return [service, project, f"{project}/{service}"] if project else [service]
    return []


def _numbers(names: Names, incomplete: str) -> Iterator[CompletionItem[str]]:
    """All numbers in the PID namespace of a container."""
    where = incomplete.rpartition("/")[0]
    census = take_census(Host(names.describe))
    for one in running(census):
        if where in _ways_to_say(one):
            members = {n.nr: entry for entry in census for n in entry.chain or () if n.pidns == one.pidns}
            for nr in sorted(members):
                yield CompletionItem(f"{where}/{nr}", help=decode(members[nr].comm))
            return


def _owners(names: Names) -> Iterator[CompletionItem[str]]:
    """Containers that the engine knows first: to find all others every process is read."""
    known = [container for container in names.all() if container.running]
    for container in sorted(known, key=lambda container: container.name):
        yield CompletionItem(f"{container.name}/", help=container.image)
    for one in _running(names):
        if one.container is None or one.container.id not in {container.id for container in known}:
            yield CompletionItem(f"{place(one.init)}/", help=decode(one.init.comm))


def _ways_to_say(one: Running) -> tuple[str, ...]:
    inum = f"pidns:{one.pidns.inum}" if one.pidns else ""
    return (one.container.name or "", one.container.id, one.container.short_id, inum) if one.container else (inum,)


def _running(names: Names) -> list[Running]:
    return running(take_census(Host(names.describe)))
