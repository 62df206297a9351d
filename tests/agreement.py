"""What each output of a recording says, as plain facts that can be compared: one dictionary a row, null as None."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

import tracer
from tracer.recording.export import TABLES, tables
from tracer.recording.inputs import open_input
from tracer.recording.reader import Recording
from tracer.recording.schema import FLAT
from tracer.recording.source import RecordedSource
from tracer.stream.killers import killer_object
from tracer.stream.metadata import Killer
from tracer.text.cells import cell
from tracer.text.escape import decode

Fact = dict[str, Any]
NAMES = [name for name in FLAT.names if name not in ("time", "host")]  # time is ts_ns once more
_LISTS = ("pids", "pidns_chain", "args", "signals")
_FACTS = ("action", "said_by", "old_name", "health", "processes", "victim", "victim_pid", "doubt")
_OF_CONTAINERS = (
    "container", "container_id", "image", "runtime", "pod_uid", "pod", "pod_namespace", "task", "incarnation"
)  # fmt: skip


def agree(arrows: Path, lines: str, output: str) -> None:
    """An output of a recording says of every row what its lines of JSON say (with those of threads)."""
    expected, (read, shape) = of_json(lines), OUTPUTS[output]
    found = read(arrows)
    assert len(found) == len(expected)
    for one, fact in zip(found, expected, strict=True):
        other = shape(fact)
        differences = {field: (one[field], other[field]) for field in other if one[field] != other[field]}
        assert differences == {}, fact


def source(arrows: Path) -> RecordedSource:
    """All of a recording."""
    return RecordedSource([Recording(arrows.name, open_input(str(arrows)), lambda _line: None)])


def of_json(lines: str) -> list[Fact]:
    """What is not in a line is null. In order of time, as exports are."""
    facts = []
    for line in lines.splitlines():
        event = json.loads(line)
        found = event.get("container") or dict.fromkeys(("id", "name", "image", "runtime"))
        event |= {"container": found["name"] or (found["id"] or "")[:12] or None, "container_id": found["id"]}
        event |= {"image": found["image"], "runtime": found["runtime"], "task": found.get("task")}
        pod = found.get("pod") or {}
        event |= {"pod_uid": pod.get("uid"), "pod": pod.get("name"), "pod_namespace": pod.get("namespace")}
        event["session"] = event["session"]["number"] if event.get("session") else None
        event |= {mark: event.get(mark, False) for mark in ("inferred", "carried")}
        event["killed_by"] = _text(event.get("killed_by"))
        since = event.get("since")
        event["since"] = int(np.datetime64(since.removesuffix("Z"), "ns").astype(int)) if since else None
        facts.append({name: event.get(name) for name in NAMES})
    return sorted(facts, key=lambda fact: fact["ts_ns"])


def _text(killer: Fact | None) -> str | None:
    """As tables have it."""
    return msgspec.json.encode(killer).decode() if killer else None


def _of_table(table: pa.Table) -> list[Fact]:
    since = table.schema.get_field_index("since")
    facts: list[Fact] = table.set_column(since, "since", table["since"].cast(pa.int64())).to_pylist()
    return facts


def _of_arrow(arrows: Path) -> list[Fact]:
    return _of_table(tracer.open(arrows).to_arrow())


def _of_frame(arrows: Path) -> list[Fact]:
    """A frame has NaN for null, and floats for integers where there is one."""
    frame = tracer.open(arrows).to_pandas()
    facts = []
    for fact in frame.astype(object).to_dict("records"):
        plain = {name: value for name, value in fact.items() if name not in _LISTS}
        plain = {name: None if value is None or value != value else value for name, value in plain.items()}
        lists = {name: None if fact[name] is None else list(fact[name]) for name in _LISTS}
        facts.append(plain | lists | {"since": plain["since"] and plain["since"].value})
    return facts


def _of_parquet(arrows: Path) -> list[Fact]:
    out = io.BytesIO()
    written = TABLES["parquet"](out)
    for part in tables([source(arrows)]):
        written.write(part)
    written.close()
    return _of_table(pq.read_table(io.BytesIO(out.getvalue())))


def _of_csv(arrows: Path) -> list[Fact]:
    """Null is nothing at all, and empty text is two quotes."""
    out = io.BytesIO()
    written = TABLES["csv"](out)
    for part in tables([source(arrows)]):
        written.write(part)
    types = {field.name: pa.string() if pa.types.is_list(field.type) else field.type for field in FLAT}
    convert = pa.csv.ConvertOptions(column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False)
    return _of_table(pa.csv.read_csv(io.BytesIO(out.getvalue()), convert_options=convert))


def _as_csv(fact: Fact) -> Fact:
    """Lists as text."""
    pids, spaces, args, signals = (fact[name] for name in _LISTS)
    lists = {
        "pids": pids and ">".join(map(str, pids)),
        "pidns_chain": spaces and ">".join(map(str, spaces)),
        "args": None if args is None else shlex.join(args),
        "signals": signals and ">".join(signals),
    }
    return {name: cell(value) if isinstance(value, str) else value for name, value in (fact | lists).items()}


def _of_recording(arrows: Path) -> list[Fact]:
    """The columns of the file itself, as readers without nstrace see them."""
    table = pa.ipc.open_stream(arrows).read_all()
    offset_ns = int(table.schema.metadata[b"wall_offset_ns"])
    facts = []
    for fact, time_ns in zip(
        table.drop_columns(["time"]).to_pylist(), table["time"].cast(pa.int64()).to_pylist(), strict=True
    ):
        if fact["event"] not in ("cgroup", "pidns", "move"):
            texts = {name: None if fact[name] is None else decode(fact[name]) for name in ("comm", "exe")}
            killer = fact["killed_by"] and killer_object(msgspec.json.decode(fact["killed_by"], type=Killer))
            said = {"ts_ns": time_ns - offset_ns, "killed_by": _text(killer)} | _said(fact["event"], fact["fact"])
            facts.append(fact | texts | said)
    return sorted(facts, key=lambda fact: fact["ts_ns"])


def _said(event: str, text: bytes | None) -> Fact:
    """What a row about a container says, by the names of the JSON."""
    said = json.loads(text or "{}")
    said = {"said_by": "kernel" if event == "container" else None} | said
    signals = [sent["signal"] for sent in said.get("signals", ())] or None
    found = dict.fromkeys(_FACTS) | {name: said[name] for name in _FACTS if name in said} | {"signals": signals}
    if "killed_by" in said:
        found["killed_by"] = _text(killer_object(msgspec.convert(said["killed_by"], Killer)))
    return found


def _as_recording(fact: Fact) -> Fact:
    """Without what is made of several columns; a row that has no list has an empty one. throttled and args_truncated
    are the bits of all rows."""
    made = (
        "proc_id",
        "parent_id",
        "args",
        "error",
        "exit_code",
        "signal",
        "core_dumped",
        "oom",
        "duration_ns",
        "since",
    )
    own = {name: fact[name] for name in NAMES if name not in (*_OF_CONTAINERS, *made, "throttled", "args_truncated")}
    return own | {name: fact[name] or [] for name in ("pids", "pidns_chain")}


def _of_python(arrows: Path) -> list[Fact]:
    """The plain dictionaries of the Python API."""
    return of_json("\n".join(json.dumps(event) for event in tracer.open(arrows).events(threads=True)))


def _of_typed(arrows: Path) -> list[Fact]:
    """Its typed objects: a member that the kind has not is not there."""
    events = tracer.open(arrows).typed_events(threads=True)
    return of_json("\n".join(json.dumps(msgspec.to_builtins(event)) for event in events))


def _as_it_is(fact: Fact) -> Fact:
    return fact


OUTPUTS: dict[str, tuple[Callable[[Path], list[Fact]], Callable[[Fact], Fact]]] = {
    "arrow": (_of_arrow, _as_it_is),
    "frame": (_of_frame, _as_it_is),
    "parquet": (_of_parquet, _as_it_is),
    "csv": (_of_csv, _as_csv),
    "recording": (_of_recording, _as_recording),
    "python": (_of_python, _as_it_is),
    "typed": (_of_typed, _as_it_is),
}
"""How each is read, and what a fact looks like in it."""
