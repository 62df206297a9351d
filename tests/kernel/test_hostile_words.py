"""Words of strangers in a living stream, whose reader can open no file any more: not even a codec."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from following import Following

pytestmark = pytest.mark.kernel
WORD = "x\x1b]0;t\x07\u200b\ufeff\U000e0041\U000e0100\ufe0f\u202e\u3164日🐳"
BYTES = WORD.encode() + b"\xff\x9b"


def test_json_has_the_words_and_shows_none() -> None:
    with Following("host") as follow:
        follow.ready()
        subprocess.run(["true", BYTES], check=True)
        events, output = follow.stop(), follow.output().decode()
    with_args = [event for event in events if event.get("args") and WORD in "".join(event["args"])]
    assert [(event["event"], event["args"][1]) for event in with_args] == [
        (kind, f"{WORD}\\xff\\x9b") for kind in ("exec", "exit")
    ]
    assert all(line.isprintable() and "\ufe0f" not in line for line in output.splitlines())
    assert json.dumps("\U000e0041")[1:-1] in output


def test_text_shows_them_as_numbers() -> None:
    argv = [*map(str.encode, (sys.executable, "-m", "tracer", "run", "--", "/bin/true")), BYTES]
    done = subprocess.run(argv, capture_output=True, check=True)
    said = done.stderr.decode()
    assert r"x\x1b]0;t\x07\u200b\ufeff\U000e0041\U000e0100\ufe0f\u202e\u3164日🐳\xff\x9b" in said
    assert all(line.isprintable() and "\ufe0f" not in line for line in said.splitlines())
