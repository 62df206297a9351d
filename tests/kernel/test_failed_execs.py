"""Execs that fail: which file and which error, held against what the process itself got from the call."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stack import Stack

from tracer.stream.schema import Flag, Kind

pytestmark = pytest.mark.kernel
CHILD = """
import os, sys
try:
    os.execv(sys.argv[1], [sys.argv[1], "x" * int(sys.argv[2])])
except OSError as error:
    print(error.errno, flush=True)
os._exit(7)
"""
Failure = tuple[bytes, int]
CASES = {
    "missing": 1, "garbage": 1, "script": 1, "plain": 1, ".": 1, "plain/x": 1, "loop": 1, "long": 4_000_000,
}  # fmt: skip
"""Files that cannot be run, and how long an argument they get."""


def reported(stack: Stack, pid: int) -> list[Failure]:
    """File and error of each failed exec of a process that was reported, in order."""
    batch = stack.batch
    at = np.flatnonzero((batch.rows["kind"] == Kind.EXEC_FAILED) & (batch.rows["tgid"] == pid)).tolist()
    return [(batch.payload(i).exe, int(batch.rows["status"][i])) for i in at]


def expected(stack: Stack, *found: Failure) -> list[Failure]:
    """Nothing where the kernel has no programs behind system calls."""
    return list(found) if stack.trace.loaded.sees_failed_execs else []


def files(folder: Path) -> None:
    """No program, no interpreter, not executable, a loop of links; and one to which the argument is too long."""
    for name, text in {
        "garbage": "\x01\x02",
        "script": "#!/none\n",
        "plain": "#!/bin/sh\n",
        "long": "#!/bin/sh\n",
    }.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644 if name == "plain" else 0o755)
    (folder / "loop").symlink_to(folder / "loop")


@pytest.mark.parametrize("name", CASES)
def test_what_failed_and_why(name: str, tmp_path: Path) -> None:
    files(tmp_path)
    path, length = f"{tmp_path}/{name}", CASES[name]
    with Stack("host") as stack:
        child = subprocess.Popen([sys.executable, "-c", CHILD, path, str(length)], stdout=subprocess.PIPE)
        number = int(child.communicate()[0])
        stack.read(lambda: stack.has_exit_of(child.pid))
    assert reported(stack, child.pid) == expected(stack, (path.encode(), number))
    assert stack.account.differences() == []


def run(stack: Stack, code: str, *args: str) -> int:
    """Its PID; all that it did has been read."""
    child = subprocess.Popen([sys.executable, "-c", f"import os, sys\n{code}", *args], stderr=subprocess.DEVNULL)
    child.wait()
    stack.read(lambda: stack.has_exit_of(child.pid))
    return child.pid


def test_a_command_that_is_found_along_path_has_not_failed(tmp_path: Path) -> None:
    code = "os.execvpe('true', ['true'], {'PATH': f'{sys.argv[1]}:{sys.argv[1]}/x:/bin'})"
    with Stack("host") as stack:
        assert reported(stack, run(stack, code, str(tmp_path))) == []
    assert stack.account.total("filtered", Kind.EXEC_FAILED) >= len(expected(stack, *2 * [(b"", 0)]))


def test_a_command_that_is_nowhere_has_failed_once(tmp_path: Path) -> None:
    code = "os.execvpe('nowhere', ['nowhere'], {'PATH': f'{sys.argv[1]}:{sys.argv[1]}/x'})"
    with Stack("host") as stack:
        pid = run(stack, code, str(tmp_path))
    assert reported(stack, pid) == expected(stack, (f"{tmp_path}/x/nowhere".encode(), errno.ENOENT))


def test_what_failed_comes_before_what_was_run_instead(tmp_path: Path) -> None:
    code = "\n".join(["try: os.execv(sys.argv[1], ['x'])", "except OSError: os.execv('/bin/true', ['true'])"])
    files(tmp_path)
    with Stack("host") as stack:
        pid = run(stack, code, str(tmp_path / "garbage"))
    rows = stack.batch.rows[stack.batch.rows["tgid"] == pid]
    failed = [Kind.EXEC_FAILED] if stack.trace.loaded.sees_failed_execs else []
    assert rows["kind"].tolist() == [Kind.FORK, Kind.EXEC, *failed, Kind.EXEC, Kind.EXIT]


def test_a_long_name_is_cut_and_marked() -> None:
    path = "/" + "n" * 200 + "/" + "n" * 200
    with Stack("host") as stack:
        pid = run(stack, "os.execv(sys.argv[1], ['x'])", path)
    assert reported(stack, pid) == expected(stack, (path[:255].encode(), errno.ENOENT))
    rows = stack.batch.rows[stack.batch.rows["kind"] == Kind.EXEC_FAILED]
    assert (rows["flags"][rows["tgid"] == pid] == Flag.ARGS_TRUNCATED).all()
