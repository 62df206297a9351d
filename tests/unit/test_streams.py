"""Whatever stdout and stderr are: one clear end, never a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracer.wiring.open_recordings import sayer
from tracer.wiring.printing import note

ROOT = Path(__file__).parents[2]
NSTRACE = [sys.executable, "-m", "tracer"]


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """nstrace is $0, and what it is to be run with $@."""
    return subprocess.run(
        ["sh", "-c", script, *NSTRACE], capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment}
    )


def test_a_full_disk_is_said_and_is_a_failure() -> None:
    done = run('"$0" "$@" completion bash >/dev/full')
    said = [
        "nstrace: the output cannot be written: No space left on device",
        "  free some space, or write to another place",
    ]
    assert (done.returncode, done.stderr.splitlines()) == (1, said)


def test_closed_streams_are_no_failure() -> None:
    assert run('"$0" "$@" completion bash >&-').returncode == 0
    done = run('"$0" "$@" no-such-verb 2>&-')
    assert (done.returncode, done.stdout) == (2, "")  # and nothing of it on stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_cannot_be_encoded_is_escaped_as_json_has_it(encoding: str) -> None:
    code = (
        "import json; from tracer import cli; cli._mend_streams();"
        "print(json.dumps('é日🐳', ensure_ascii=False)); print(chr(0xdc80).encode('utf-8', 'nstrace'))"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, env=environment)
    first, second = done.stdout.decode(encoding).splitlines()
    assert json.loads(first) == "é日🐳"
    assert second == r"b'\\udc80'"


def test_nothing_that_we_open_takes_the_place_of_a_closed_stream() -> None:
    code = (
        "import os, sys; from tracer import cli; cli._mend_streams(); fd = os.open('/dev/null', 0);"
        "os.write(int(sys.argv[1]), repr([fd > 2, *map(os.get_inheritable, range(3))]).encode())"
    )
    reading, writing = os.pipe()
    script = f'exec "$0" -c "$1" {writing} <&- >&- 2>&-'
    subprocess.run(["sh", "-c", script, sys.executable, code], cwd=ROOT, pass_fds=[writing], check=True)
    os.close(writing)
    with open(reading, "rb") as said:  # noqa: PTH123 - a descriptor
        assert said.read() == b"[True, False, False, False]"


@pytest.mark.parametrize("verb", ["replay", "export --to csv -w -", "ps --from", "translate 1 --from"])
@pytest.mark.parametrize("what", ["missing", "folder", "fifo", "foreign"])
def test_names_of_files_have_no_effect_on_a_terminal(verb: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "x\x1b]0;y\x07\x1b[31m\x9b2J\u202e\nnstrace: z.arrows"
    if what == "folder":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "foreign":
        path.write_bytes(b"x")
    done = run(f'"$0" "$@" {verb} "$FILE"', FILE=str(path))
    assert done.returncode != 0
    assert "unexpected" not in done.stderr
    assert all(line.isprintable() for line in done.stderr.splitlines())
    assert r"x\x1b]0;y\x07\x1b[31m\x9b2J\u202e\x0anstrace: z" in done.stderr


@pytest.mark.parametrize("debug", ["", "--debug"])
def test_an_error_that_nobody_expected_is_safe_to_print(debug: str) -> None:
    code = (
        "from tracer import cli; import tracer.commands.ps as ps\n"
        "def fail(**_): raise RuntimeError('a\\x1b[31m\\nb')\n"
        "ps.command.callback = fail; import sys; cli.main(sys.argv[1:])"
    )
    argv = [sys.executable, "-c", code, *debug.split(), "ps"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT)
    lines = done.stderr.splitlines()
    assert lines[-2:] == [r"nstrace: unexpected RuntimeError: a\x1b[31m b", "  run nstrace --debug ... for a report"]
    assert all(line.isprintable() for line in lines)
    assert any("Traceback" in line for line in lines) == bool(debug)


def test_notes_have_no_effect_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    note("nstrace: \x1b[31m\u202e", quiet=False)
    sayer(quiet=False)("\x1b[31m\nx")
    assert capsys.readouterr().err == "nstrace: \\x1b[31m\\u202e\nnstrace: \\x1b[31m\\x0ax\n"
