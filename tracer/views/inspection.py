"""inspect: everything known about a process, as lines of name and value, or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tracer.answers.census import Entry
from tracer.answers.inspection import Details, Inspection
from tracer.answers.translation import Place
from tracer.secrets.spans import MASK
from tracer.secrets.values import masked
from tracer.text.counted import counted
from tracer.text.escape import decode, safe, safe_text
from tracer.text.times import duration, full
from tracer.views.table import UNKNOWN, NameOf, chain, command_of, place, state
from tracer.views.translation import json_object

_NAME_WIDTH = 11
_NOT_OURS = "not readable without more privileges"


def inspection_text(found: Inspection, name_of: NameOf, show_secrets: bool) -> str:
    """Lines of name and value; a value with several parts continues below. Lines are as long as they are: paths, ids
    and arguments are there to be copied."""
    lines = []
    for name, values in _facts(found, name_of, show_secrets):
        for index, value in enumerate(values):
            lines.append(f"{name if index == 0 else '':<{_NAME_WIDTH}} {value}".rstrip())
    return "".join(f"{line}\n" for line in lines)


def inspection_object(found: Inspection, name_of: NameOf, show_secrets: bool) -> dict[str, Any]:
    """The members of `ps --json`, and all other facts. env: only where it was requested, null where it cannot be
    read; env_truncated: only where there is more of it. args_masked: only where there are some."""
    details = found.details
    result = json_object(found.translation, name_of) | {
        "threads": details.threads,
        "cwd": decode(details.cwd) or None,
        "root": decode(details.root) or None,
        "uids": details.uids,
        "gids": details.gids,
        "ns_uid": details.ns_uid,
        "cgroup": found.cgroups[0] if found.cgroups else None,
        "namespaces": details.namespaces,
        "parents": [
            {
                "pid": parent.numbers[0],
                "pids": parent.numbers,
                "proc_id": str(parent.proc_id),
                "comm": decode(parent.comm),
            }
            for parent in found.parents
        ],
    }
    if found.masked_args:
        result["args_masked"] = found.masked_args
    if found.env_unreadable:
        result["env"] = None
    elif found.env is not None:
        pairs = [_pair(variable, show_secrets) for variable in found.env]
        result["env"] = [{"name": name, "value": value, "masked": is_masked} for name, value, is_masked in pairs]
        if found.env_truncated:
            result["env_truncated"] = True
    return result


def _facts(found: Inspection, name_of: NameOf, show_secrets: bool) -> Iterator[tuple[str, list[str]]]:
    entry, details = found.entry, found.details
    asked = f"; {safe_text(found.translation.asked)} is a thread of it" if found.translation.is_thread else ""
    yield "process", [f"{entry.proc_id}, named {safe(entry.comm)}{asked}"]
    yield "command", [command_of(entry), *_masked(found.masked_args)]
    yield "executable", [safe(entry.exe) or ("none" if details.namespaces else _NOT_OURS)]
    yield "directory", [safe(details.cwd) or ("none" if details.namespaces else _NOT_OURS)]
    yield "state", [_state(found)]
    yield "started", [f"{full(entry.started_ns)}, {duration(found.age_ns)} ago"]
    yield "user", [_user(details, name_of)]
    yield "container", [_container(entry)]
    yield "cgroup", [safe_text(path) for path in found.cgroups]
    yield "PIDs", [_pid(place, level) for level, place in enumerate(found.translation.places)]
    yield "parents", list(_parents(found)) or ["none"]
    yield "namespaces", _namespaces(found)
    if found.env is not None or found.env_unreadable:
        yield "environment", _environment(found, show_secrets)


def _state(found: Inspection) -> str:
    entry, threads = found.entry, found.details.threads
    if found.details.main_has_ended:
        return f"{state(entry)}, its main thread has exited, {threads - 1} still run"
    if entry.is_zombie:
        reaper = found.parents[0] if found.parents else None
        return f"zombie: it has exited, but {_who(reaper) if reaper else 'its parent'} has not reaped it"
    return f"{state(entry)}, {counted(threads, 'thread')}"


def _user(details: Details, name_of: NameOf) -> str:
    """The user in the initial user namespace; and in the process's own, where that is another number."""
    real, effective = details.uids[0], details.uids[1]
    text = _named(real, name_of)
    if effective != real:
        text += f", acting as {_named(effective, name_of)}"
    if details.ns_uid is None:
        return text
    return text if details.ns_uid == real else f"{text}; {details.ns_uid} in its user namespace"


def _named(uid: int, name_of: NameOf) -> str:
    name = name_of(uid)
    return str(uid) if name == str(uid) else f"{name} ({uid})"


def _container(entry: Entry) -> str:
    found = entry.container
    if found is None:
        return f"none; in {place(entry)}" if entry.level else "none"
    return " ".join(safe_text(part) for part in (found.label, found.runtime, found.short_id, found.image or "") if part)


def _pid(here: Place, level: int) -> str:
    inum = f"pidns:{here.pidns.inum}" if here.pidns else f"pidns:{UNKNOWN}"
    whose = safe_text(here.container.label) if here.container else "the host" if level == 0 else "no container's"
    return f"{here.nr:>7}  {inum}  level {level}  {whose}"


def _parents(found: Inspection) -> Iterator[str]:
    """The parents up to the host's first process; marks where a namespace begins."""
    for parent in found.parents:
        begins = parent.level > 0 and parent.numbers[-1] == 1
        mark = f"  <- PID 1 of {place(parent) if parent.container else 'its namespace'}" if begins else ""
        yield f"{_who(parent)}{mark}"


def _who(parent: Entry) -> str:
    return f"{chain(parent)} {safe(parent.comm)}"


def _namespaces(found: Inspection) -> list[str]:
    names = found.details.namespaces
    if not names:
        return [_NOT_OURS]
    width = max(map(len, names))
    lines = {name: f"{name:<{width}} {inum}" for name, inum in names.items()}
    return [f"{line}  the host's" if name in found.shared else line for name, line in lines.items()]


def _environment(found: Inspection, show_secrets: bool) -> list[str]:
    if not found.env:
        return [_NOT_OURS if found.env_unreadable else "empty"]
    pairs = [_pair(variable, show_secrets) for variable in found.env]
    lines = [f"{safe_text(name)}={safe_text(value)}" for name, value, _is_masked in pairs]
    lines += ["…"] if found.env_truncated else []
    hidden = sum(is_masked for _name, _value, is_masked in pairs)
    return [*lines, *_masked(hidden)]


def _masked(count: int) -> list[str]:
    return [f"({count} masked as {MASK}: --show-secrets)"] if count else []


def _pair(variable: bytes, show_secrets: bool) -> tuple[str, str, bool]:
    name, _, value = decode(variable).partition("=")
    shown = value if show_secrets else masked(name, value)
    return name, shown, shown != value
