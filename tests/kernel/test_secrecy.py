"""--redact and --no-args on the real kernel: no secret is in any byte that is shown or written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import wait_for
from following import Following
from secret_kinds import KINDS

pytestmark = pytest.mark.kernel
NSTRACE = [sys.executable, "-m", "tracer"]
KEPT = "kept-as-it-is"
FORMS = {kind: form.format(secret).replace("\n", " ") for kind, (form, secret) in KINDS.items()}
SECRETS = [secret.split("\n")[0] for _form, secret in KINDS.values() if "PRIVATE" not in secret]
COMMANDS = [["true", KEPT, form] for form in FORMS.values()]
COMMANDS += [["true", KEPT, "--password", "s3cr3t-0"], ["sh", "-c", f": {KEPT} mysql -ps3cr3t-1"]]


@contextmanager
def living() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is there before, with a secret in its arguments."""
    with subprocess.Popen(["sh", "-c", "read x", KEPT, "--token", "s3cr3t-2"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def do_it_all() -> None:
    for argv in COMMANDS:
        subprocess.run(argv, check=True)


def unseen(output: bytes) -> list[str]:
    """The secrets that are in some bytes, also as JSON writes them."""
    text = output.decode("utf-8", "replace")
    return [one for one in [*SECRETS, "s3cr3t"] if one in text or json.dumps(one)[1:-1] in text]


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_nothing_secret_is_shown(as_json: bool, tmp_path: Path) -> None:
    for redact in (False, True):
        out = tmp_path / f"out{redact}"
        how = [*(["--redact"] if redact else []), *(["--json"] if as_json else [])]
        with living(), out.open("wb") as file:
            argv = [*NSTRACE, "follow", *how, "host"]
            with subprocess.Popen(argv, stdout=file, stderr=subprocess.PIPE) as follow:
                wait_for(lambda: KEPT.encode() in out.read_bytes())  # noqa: B023 - called at once
                do_it_all()
                follow.send_signal(signal.SIGINT)
                said = follow.communicate(timeout=30)[1].decode()
        output = out.read_bytes()
        assert output.count(KEPT.encode()) >= len(COMMANDS) + 1
        if redact:
            assert unseen(output) == []
            assert int(said.split(" secrets masked")[0].split(", ")[-1]) >= len(COMMANDS) + 1
        else:
            assert len(unseen(output)) > len(SECRETS) // 2  # else the test could not fail
            assert "masked" not in said


def recorded(path: Path, *how: str) -> bytes:
    """Everything in a recording of these commands, unpacked, behind the file's own bytes."""
    with living():
        argv = [*NSTRACE, "record", *how, "-w", str(path), "host"]
        with subprocess.Popen(argv, stderr=subprocess.PIPE) as record:
            wait_for(lambda: path.exists() and path.stat().st_size > 5000)
            do_it_all()
            record.send_signal(signal.SIGINT)
            assert record.communicate(timeout=30)[1] is not None
        assert record.returncode == 0
    with pa.ipc.open_stream(path) as stream:
        buffers = [buffer for batch in stream for column in batch.columns for buffer in column.buffers()]
        unpacked = b"".join(bytes(buffer) for buffer in buffers if buffer)
        metadata = repr(stream.schema.metadata).encode()
    return path.read_bytes() + metadata + unpacked


def test_nothing_secret_is_in_a_recording(tmp_path: Path) -> None:
    bare, redacted = recorded(tmp_path / "a.arrows"), recorded(tmp_path / "b.arrows", "--redact")
    assert len(unseen(bare)) > len(SECRETS) // 2
    assert unseen(redacted) == []
    assert redacted.count(KEPT.encode()) > len(COMMANDS)
    argv = [*NSTRACE, "replay", str(tmp_path / "b.arrows")]
    shown = subprocess.run(argv, capture_output=True, check=True).stdout
    assert unseen(shown) == [] and shown.count(b"****") > len(COMMANDS)


def test_run_redacts_too(tmp_path: Path) -> None:
    out = tmp_path / "out"
    argv = [*NSTRACE, "run", "--redact", "--to", str(out), "--", "sh", "-c", "true --token=s3cr3t-4; :"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "s3cr3t" not in out.read_text() and "--token=****" in out.read_text()
    assert ", 1 secret masked\n" in done.stderr


def test_no_args_are_left_out(tmp_path: Path) -> None:
    with living() as before, Following("--no-args", "host") as follow:
        follow.ready()
        subprocess.run(["true", "--token=s3cr3t-5"], check=True)
        events, output = follow.stop(), follow.output()
    assert b"s3cr3t" not in output and KEPT.encode() not in output
    for event in events:
        if event["event"] == "exec" or event.get("pid") == before.pid:
            assert (event["args"], event["args_truncated"]) == ([], True)
            assert event["exe"]
    mine = os.path.realpath("/bin/true")
    assert any(os.path.realpath(event["exe"]) == mine for event in events if event["event"] == "exec")
