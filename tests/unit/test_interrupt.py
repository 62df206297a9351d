"""Ctrl-C, whenever it comes: exit code 130 or the command's own, and no traceback, from our first line to the last."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import click
import pytest
from recordings import facts, record, storm

ROOT = Path(__file__).parents[2]
SCRIPT = [str(Path(sysconfig.get_path("scripts")) / "nstrace")]
MODULE = [sys.executable, "-m", "tracer"]
SEEDS = range(200 if os.environ.get("NSTRACE_LONG") == "1" else 8)

# Runs the command as `python -m tracer` does, and interrupts it at the import that is counted to, from tracer.cli on.
AT_AN_IMPORT = """
import atexit, os, runpy, signal, sys
left = int(sys.argv.pop(1))

class Interrupting:
    @staticmethod
    def find_spec(name, path=None, target=None):
        global left
        left -= name == "tracer.cli" or "tracer.cli" in sys.modules
        if left == 0:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting)
sys.argv[0] = "nstrace"
runpy.run_module("tracer", run_name="__main__", alter_sys=True)
"""
AT_THE_END = """
import atexit, os, signal, sys
from tracer import __main__
atexit.register(os.kill, os.getpid(), signal.SIGINT)
__main__.main()
"""


@pytest.fixture
def recording(tmp_path: Path) -> str:
    record(tmp_path / "x.arrows", [facts(), storm(1, 10)])
    return str(tmp_path / "x.arrows")


def run(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


@pytest.mark.parametrize("nth", [1, 2, 3, 5, 10, 20, 40, 60, 80, 100, 120, 140, 160])
def test_at_an_import(nth: int, recording: str) -> None:
    done = run(sys.executable, "-c", AT_AN_IMPORT, str(nth), "replay", "--json", recording)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize(("argv", "code"), [(["--version"], 0), (["no-such-verb"], 2)])
def test_when_all_is_done_it_changes_nothing(argv: list[str], code: int) -> None:
    done = run(sys.executable, "-c", AT_THE_END, *argv)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [SCRIPT, MODULE], ids=["nstrace", "python -m tracer"])
def test_from_outside_at_any_moment(command: list[str], recording: str) -> None:
    """Until we handle it, it is Python's: such a traceback names at most the files whose first lines do that."""
    for seed in SEEDS:
        chance = random.Random(seed)
        argv = [
            *command,
            *chance.choice((["--help"], ["replay", recording], ["export", "--to", "csv", "-w", "-", recording])),
        ]
        with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            time.sleep(chance.uniform(0, 0.5))  # a moment is what is tested
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
        assert process.returncode in (0, 130, -signal.SIGINT, 1), (seed, said)
        ours = set(re.findall(r"tracer/\S*?\.py", said))
        first = {f"tracer/{name}.py" for name in ("__init__", "__main__", "interrupt", "version")}
        assert ours <= first, (seed, said)
        assert "Exception ignored" not in said, (seed, said)
        if process.returncode == 1:
            assert "Traceback" in said, seed


@pytest.mark.parametrize(
    "code",
    [
        "class A:\n    def __del__(self): signal.raise_signal(2)\nA()",
        "class A: pass\na = A()\nweakref.finalize(a, signal.raise_signal, 2)\ndel a",
    ],
    ids=["__del__", "finalize"],
)
def test_where_an_exception_goes_nowhere_it_ends_at_once(code: str) -> None:
    begin = "import signal, weakref; from tracer import interrupt; interrupt.begin(); interrupt.work()"
    done = run(sys.executable, "-c", f"{begin}\n{code}\nprint('went on')")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


SWALLOWED = """
import numpy, signal, time
from tracer import interrupt
from tracer.wiring.signals import until_interrupted

class OfEnums(type):
    left = 2
    def __getattr__(cls, name):
        if OfEnums.left:
            OfEnums.left -= 1
            signal.raise_signal({number})
        raise AttributeError(name)

class Member(int, metaclass=OfEnums):
    pass

interrupt.begin()
interrupt.work()
with until_interrupted():
    numpy.uint8(1) == Member(1)
    print('went on')
    while True:
        time.sleep(0.01)
time.sleep(0.3)
print('once')
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_swallowed_comes_again_until_it_has_arrived(number: int) -> None:
    done = run(sys.executable, "-c", SWALLOWED.format(number=int(number)))
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\nonce\n", "")


def test_nothing_comes_again_while_it_is_handled() -> None:
    code = "import signal, time; from tracer import interrupt; interrupt.begin(); interrupt.work()\n"
    code += "try:\n    signal.raise_signal(2)\nfinally:\n    time.sleep(0.3)\n    print('whole')"
    done = run(sys.executable, "-c", code)
    assert done.stdout == "whole\n"
    assert "During handling" not in done.stderr


def test_who_was_started_to_ignore_it_does() -> None:
    code = "import signal; from tracer import interrupt; interrupt.begin(); interrupt.work(); signal.raise_signal(2)"
    done = run("sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", code)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_checkout_that_is_not_installed_knows_its_version(tmp_path: Path) -> None:
    (tmp_path / "click").symlink_to(Path(click.__file__).parent)
    done = run(sys.executable, "-S", "-m", "tracer", "--version", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("nstrace, version ")


def test_until_it_handles_ctrl_c_it_imports_nothing() -> None:
    code = "import sys; before = set(sys.modules); import tracer.interrupt; print(*sorted(set(sys.modules) - before))"
    assert run(sys.executable, "-c", code).stdout.split() == [
        "__future__",
        "tracer",
        "tracer.interrupt",
        "tracer.version",
    ]
