"""What code would try that has taken over a reader of strangers' data, and what became of it.

`command` is a program that runs nstrace with a view which tries all of it at its first batch, and prints a line of
JSON to stderr: by name, "done", or the name of the errno with which it was refused.
"""

from __future__ import annotations

import json
import sys

_PROGRAM = """
import ctypes, errno, fcntl, importlib, json, mmap, os, socket, sys, threading
from tracer.cli import main

LIBC = ctypes.CDLL(None, use_errno=True)
BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
SOCKETS = [socket.socketpair()[0]]
PARENT = os.getppid()
FIRST = 1


def call(name, *args):
    if getattr(LIBC, name)(*args) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def bpf(command):
    call("syscall", BPF, command, ctypes.create_string_buffer(128), 128)


ATTEMPTS = {
    "read a file of root": lambda: os.open("/etc/shadow", os.O_RDONLY),
    "read a file of everyone": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "read a file by another way": lambda: os.open("../../../../../../etc/passwd", os.O_RDONLY),
    "leave by a descriptor": lambda: leave(),
    "let the kernel signal": lambda: fcntl.fcntl(0, fcntl.F_SETOWN, FIRST),
    "let a terminal signal": lambda: fcntl.fcntl(0, fcntl.F_SETFL, os.O_ASYNC),
    "list the processes": lambda: os.open("/proc", os.O_RDONLY),
    "write a file": lambda: write(),
    "write any file": lambda: os.open("trespass", os.O_RDWR | os.O_CREAT),
    "make a folder": lambda: os.mkdir("trespass"),
    "execute a program": lambda: os.execv("/bin/true", ["true"]),
    "make a process": lambda: os._exit(0) if os.fork() == 0 else None,
    "make a socket": lambda: socket.socket(socket.AF_UNIX),
    "connect": lambda: SOCKETS[0].connect("/run/docker.sock"),
    "trace a process": lambda: call("ptrace", 16, FIRST, None, None),
    "read another's memory": lambda: call("process_vm_readv", FIRST, None, 0, None, 0, 0),
    "load a program": lambda: bpf(5),
    "write a map": lambda: bpf(2),
    "open a map": lambda: bpf(14),
    "signal a process of root": lambda: os.kill(FIRST, 0),
    "signal who has started it": lambda: os.kill(PARENT, 0),
    "mount": lambda: call("mount", b"none", b"/", b"tmpfs", 0, None),
    "make a namespace": lambda: call("unshare", 0x10000000),
    "become root": lambda: os.setuid(0),
    "type into the terminal": lambda: call("ioctl", 2, 0x5412, b"x"),
    "make memory executable": lambda: mmap.mmap(-1, 4096, prot=7),
    "leave the root directory": lambda: os.chroot("."),
}


def write():
    path = f"/tmp/nstrace-trespass-{os.getpid()}"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    os.unlink(path)


def leave():
    # By ".." from any descriptor of a folder, inherited ones too.
    for fd in range(256):
        for name in ("../../../../../../etc/passwd", "etc/passwd"):
            try:
                return os.close(os.open(name, os.O_RDONLY, dir_fd=fd))
            except OSError as error:
                failure = error
    raise failure


def attempt(what):
    try:
        what()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))
    except RuntimeError as error:
        return str(error)
    return "done"


def trespass():
    found = {name: attempt(what) for name, what in ATTEMPTS.items()}
    try:
        threading.Thread(target=int).start()
        found["make a thread"] = "done"
    except RuntimeError:
        found["make a thread"] = "EAGAIN"
    os.write(2, b"TRESPASS " + json.dumps(found).encode() + bytes([10]))


def broken(render):
    done = []
    def rendering(*args, **kwargs):
        if not done:
            done.append(True)
            trespass()
        return render(*args, **kwargs)
    return rendering


MODULE, CLASS, METHOD = {where!r}
owner = importlib.import_module(MODULE)
owner = getattr(owner, CLASS) if CLASS else owner
setattr(owner, METHOD, broken(getattr(owner, METHOD)))
main()
"""

VIEW = ("tracer.views.jsonl", "JsonLines", "render")
NOTHING = ("tracer.views.nothing", "Nothing", "render")


def command(*arguments: str, where: tuple[str, str, str] = VIEW) -> list[str]:
    """The command line of nstrace with these arguments, in which this method of a class tries everything once.
    where: module, class, method; without a class it is a function."""
    return [sys.executable, "-c", _PROGRAM.replace("{where!r}", repr(where)), *arguments]


def results(stderr: str) -> dict[str, str]:
    """By name, what became of each attempt."""
    line = next(line for line in stderr.splitlines() if line.startswith("TRESPASS "))
    found: dict[str, str] = json.loads(line.removeprefix("TRESPASS "))
    return found
