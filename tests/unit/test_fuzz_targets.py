"""Every seed of the fuzzer and all that it has ever found, without the fuzzer."""

from __future__ import annotations

from pathlib import Path

import fuzz_targets
import pytest
from fuzz_targets import SEEDS, TARGETS

from tracer.containers import cgroup_paths, event_stream, http_api
from tracer.containers.channel import Channel
from tracer.containers.engine import Engine
from tracer.host import procfs
from tracer.recording import frames
from tracer.stream import decoding
from tracer.text import escape
from tracer.text.annotate import Annotator
from tracer.views.jsonl import JsonLines

FILES = sorted(SEEDS.rglob("*/*"))


def test_every_target_has_seeds_and_every_seed_a_target() -> None:
    assert {path.parent.name for path in FILES} == set(TARGETS)
    assert sum(path.stat().st_size for path in FILES) < 200_000


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_before(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


BROKEN = {
    "joiner": (decoding, "_newest", lambda pieces: pieces[:1]),
    "proc": (procfs, "status_field", lambda status, name: status.split(name + b":\t")[1].split(b"\n")[0]),
    "cgroup_path": (cgroup_paths, "find", lambda _path, _runtime_of=None: cgroup_paths.Found("docker", "x", 1)),
    "log_lines": (Annotator, "finish", lambda _annotator: b""),
    "engine_answer": (Engine, "init_tgid", lambda _engine, _id, _until_s: -1),
    "engine_process": (Channel, "_fail_all", lambda _channel, _why: None),
    "shown": (escape, "is_shown", lambda _text: True),
    "arguments": (fuzz_targets, "masked_args", lambda args, _is_cut: (args + b"\0x\0", 1)),
    "engine_http": (http_api, "_explanation", lambda _body: 1 / 0),
    "engine_events": (event_stream, "cut", lambda text: text),
    "recording": (frames, "verify_body", lambda _message, _body: 1 / 0),
    "recorded_rows": (JsonLines, "render", lambda _view, _batch, _containers: 1 / 0),
}


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_broken_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the targets assert is no tautology."""
    module, attribute, worse = BROKEN[name]
    monkeypatch.setattr(module, attribute, worse)
    with pytest.raises((AssertionError, ValueError, ZeroDivisionError)):
        for path in sorted((SEEDS / name).iterdir()):
            TARGETS[name](path.read_bytes())
