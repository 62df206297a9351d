"""The reader's side of loading: starts the loader child and receives the descriptors of maps, iterator and links."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tracer.errors import ExitCode, NstraceError
from tracer.kernel.options import LoadOptions
from tracer.system.descriptors import receive_fds
from tracer.system.host_pidns import require_initial_pidns
from tracer.system.privileges import more_rights

CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 19, 21, 38, 39
_PACKAGE = Path(__file__).parent.parent
_START = "import sys; sys.path.insert(0, sys.argv[1]); from tracer.kernel.loader_child import main; main()"
_TIMEOUT_S = 120.0
_MAX_FDS, _MAX_MESSAGE_BYTES, _LOADED = 32, 65536, b"loaded "


@dataclass(frozen=True)
class Loaded:
    """Descriptors of what was loaded. Closing the links detaches the probes; programs: of the links, in their order,
    but for the last ones, which are optional. sees_failed_execs, sees_killers: whether there are those that note failed
    execs, and who sends signals."""

    ring: int
    counts: int
    decisions: int
    losses: int
    wake: int
    iterator: int
    links: tuple[int, ...]
    programs: tuple[int, ...]
    sees_failed_execs: bool = True
    sees_killers: bool = True


def bpf_dir() -> Path:
    """The directory of the C files: inside the installed package, or beside it in a checkout."""
    inside = _PACKAGE / "bpf"
    return inside if inside.is_dir() else _PACKAGE.parent / "bpf"


def may(capability: int) -> bool:
    """Whether this process has a capability in effect: capabilities(7)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return bool(int(status["CapEff"].strip(), 16) >> capability & 1)


def check_host() -> None:
    """Raises NstraceError (NOT_PERMITTED) where this process cannot trace: no privilege, or not the host's PIDs."""
    if not may(CAP_SYS_ADMIN) and not (may(CAP_BPF) and may(CAP_PERFMON)):
        raise NstraceError(
            "tracing needs root, or the capabilities CAP_BPF and CAP_PERFMON",
            more_rights("CAP_BPF or CAP_PERFMON"),
            ExitCode.NOT_PERMITTED,
        )
    require_initial_pidns()


class Loading:
    """A running loader child. Start it early, do other things, then wait(). As a context it leaves no child behind."""

    def __init__(self, options: LoadOptions) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors = os.fdopen(os.memfd_create("nstrace-loader"), "w+b")  # lives as long as the child
        self._ours.settimeout(_TIMEOUT_S)
        self._ours.send(json.dumps({"bpf_dir": str(bpf_dir()), **options._asdict()}).encode())
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, str(_PACKAGE.parent), str(theirs.fileno())],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=self._errors,
            stderr=self._errors,
            cwd="/",
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()

    def wait(self) -> Loaded:
        """The descriptors. Raises NstraceError with the loader's message where it failed."""
        try:
            message, fds = receive_fds(self._ours, _MAX_MESSAGE_BYTES, _MAX_FDS)
            if message.startswith(_LOADED):
                self._ours.send(b".")
        except (OSError, TimeoutError) as error:
            raise self._failed(str(error)) from error
        finally:
            self._end()
        if not message.startswith(_LOADED):
            raise self._refused(message)
        ring, counts, decisions, losses, wake, iterator, *probes = fds
        calls, killers = map(int, message.removeprefix(_LOADED).split())
        half = (len(probes) - calls - killers) // 2
        links, programs = (*probes[:half], *probes[2 * half :]), tuple(probes[half : 2 * half])
        return Loaded(ring, counts, decisions, losses, wake, iterator, links, programs, calls > 0, killers > 0)

    def abandon(self) -> None:
        """Let the child end where its answer is not needed any more. Safe to call after wait()."""
        self._end()
        self._errors.close()

    def _end(self) -> None:
        """Close the channel: the child then ends by itself; if killed, it would leave its files."""
        self._ours.close()
        try:
            self._child.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _refused(self, message: bytes) -> NstraceError:
        if not message:
            return self._failed("it ended without a message")
        what, hint, exit_code, detail = json.loads(message)
        return NstraceError(what, hint, ExitCode(exit_code), f"{detail}\n{self._said()}")

    def _failed(self, why: str) -> NstraceError:
        hint = "run again with --debug for its words"
        return NstraceError(f"the loader of the eBPF programs failed: {why}", hint, detail=self._said())

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="backslashreplace")
