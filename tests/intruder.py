"""Code of a stranger inside of nstrace: what he who has found a hole in a reader can do. Nothing, is the promise.

`argv(place, *args)` is a command line of nstrace in which the function at `place` (module:name, or module:class.name)
first tries everything that a reader has no business with. `tried(stderr)` is what came of it, by name.

The attempts need nothing that is imported late or allocated: whoever is inside already may have brought it along.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MARK = "tried: "
_SYSCALLS = {
    "x86_64": {"bpf": 321, "ptrace": 101, "process_vm_readv": 310, "perf_event_open": 298, "mount": 165, "setns": 308},
    "aarch64": {"bpf": 280, "ptrace": 117, "process_vm_readv": 270, "perf_event_open": 241, "mount": 40, "setns": 268},
}
REFUSED = {"EPERM", "EACCES", "ENOSYS", "EAGAIN", "ENOENT"}
"""What the kernel answers to what is refused; EAGAIN: no more processes (RLIMIT_NPROC), ENOENT: its root directory is
another."""


def argv(place: str, *args: object) -> list[str]:
    """A command line that runs nstrace with an intruder at this place. It needs the tests' folder in PYTHONPATH."""
    code = "import sys, intruder; intruder.enter(sys.argv.pop(1)); from tracer.cli import main; main()"
    return [sys.executable, "-c", code, place, *map(str, args)]


def environment() -> dict[str, str]:
    """The environment for `argv`."""
    here = Path(__file__).parent
    return os.environ | {"PYTHONPATH": f"{here}:{here.parent}", "INTRUDER_ROOT": str(os.getppid())}


def tried(stderr: str) -> dict[str, str]:
    """What each attempt came to, as the intruder has written it: the name of an errno, or "done"."""
    (line,) = (line for line in stderr.splitlines() if line.startswith(_MARK))
    found: dict[str, str] = json.loads(line.removeprefix(_MARK))
    return found


def enter(place: str) -> None:
    """Replace the function by one that makes the attempts, once, and then does what it is for."""
    module_name, name = place.split(":")
    holder: Any = importlib.import_module(module_name)
    *classes, name = name.split(".")
    for each in classes:
        holder = getattr(holder, each)
    true = getattr(holder, name)
    done: list[bool] = []

    def false(*args: Any, **more: Any) -> Any:
        if not done:
            done.append(True)
            os.write(2, (_MARK + json.dumps(attempts()) + "\n").encode())
        return true(*args, **more)

    setattr(holder, name, false)


def attempts() -> dict[str, str]:
    """Try all of it; what each came to."""
    return {name: _came_to(attempt) for name, attempt in _ATTEMPTS.items()}


def _came_to(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


def _call(name: str, *args: object) -> None:
    number = _SYSCALLS[os.uname().machine][name]
    if _LIBC.syscall(ctypes.c_long(number), *args) < 0:
        raise OSError(ctypes.get_errno(), name)


def _write(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    Path(path).unlink()


def _connect() -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.connect("/run/docker.sock")


def _internet() -> None:
    with socket.socket(socket.AF_INET) as made:
        made.connect(("127.0.0.1", 9))


def _pair() -> None:
    for made in socket.socketpair():
        made.close()


def _root_pid() -> int:
    return int(os.environ["INTRUDER_ROOT"])


_LIBC = ctypes.CDLL(None, use_errno=True)
_ATTRIBUTES = ctypes.create_string_buffer(b"\x02\0\0\0\x04\0\0\0\x04\0\0\0\x01\0\0\0", 128)  # of a map: union bpf_attr
_ATTEMPTS: dict[str, Callable[[], object]] = {
    "read /etc/shadow": lambda: os.close(os.open("/etc/shadow", os.O_RDONLY)),
    "read the memory of root's process": lambda: os.close(os.open(f"/proc/{_root_pid()}/mem", os.O_RDONLY)),
    "read the environment of root's process": lambda: Path(f"/proc/{_root_pid()}/environ").read_bytes(),
    "write into /etc": lambda: _write("/etc/nstrace-intruder"),
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "connect to an engine": _connect,
    "connect to the network": _internet,
    "a pair of sockets": _pair,
    "ptrace root's process": lambda: _call("ptrace", 16, _root_pid(), 0, 0),
    "ptrace its parent": lambda: _call("ptrace", 16, os.getppid(), 0, 0),
    "read other memory": lambda: _call("process_vm_readv", os.getppid(), 0, 0, 0, 0, 0),
    "make a map": lambda: _call("bpf", 0, _ATTRIBUTES, 128),
    "load a program": lambda: _call("bpf", 5, _ATTRIBUTES, 128),
    "perf": lambda: _call("perf_event_open", _ATTRIBUTES, 0, -1, -1, 0),
    "mount": lambda: _call("mount", b"none", b"/mnt", b"tmpfs", 0, 0),
    "enter a namespace": lambda: _call("setns", 0, 0),
    "signal root's process": lambda: os.kill(_root_pid(), signal.SIGCONT),
    "signal number 1": lambda: os.kill(1, signal.SIGCONT),
    "be root": lambda: os.setresuid(0, 0, 0),
    "be in root's group": lambda: os.setgroups([0]),
}
