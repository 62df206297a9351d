"""The processes of nstrace top: one reads, one draws; this one has begun both, and puts the terminal right in the end.

The one that reads is confined as that of nstrace follow. The one that draws has no privilege, and reads what the first
one says. What needs privileges is done here, asked for by requests of a fixed size: a recording (a nstrace record of
its own), and nstrace inspect of a PID.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from tracer.errors import ExitCode, NstraceError
from tracer.screen.messages import Channel, Message, Request
from tracer.wiring.printing import note

Serve = Callable[[Channel[Request], Callable[[], None]], None]
"""What reads: receives its channel, and what to call when it works. Raises NstraceError."""

_ASKED = struct.Struct("<cI")
_RECORD, _INSPECT = b"w", b"i"
_READY = b"\x01"
_MAX_ANSWER = 1 << 16
_ENDING_S, _INSPECT_S = 3.0, 10.0
# Leave the alternate screen, show the cursor, no mouse reports, no bracketed paste, plain text.
_PLAIN_TERMINAL = (
    b"\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?2004l\x1b[?1004l\x1b[<u\x1b[0m"
)
_USED = (
    *("tracer.screen.app", "tracer.screen.proc", "tracer.ask.process_filter", "duckdb"),
    *("textual.drivers.linux_driver", "traceback"),
)


def run_top(serve: Serve, record_args: Sequence[str]) -> int:
    """Show what serve reads until the user ends it. record_args: of nstrace record. Gives the exit code. Raises
    NstraceError."""
    from tracer.system import imports

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise NstraceError("top needs a terminal", "nstrace follow writes lines, nstrace ps a list", ExitCode.USAGE)
    before = termios.tcgetattr(sys.stdin.fileno())
    screen_end, reader_end = socket.socketpair()
    asking, answering = socket.socketpair()
    reader, outcome = _fork_reader(serve, reader_end, [screen_end, asking, answering])
    reader_end.close()
    recording = _Recording(record_args)
    try:
        imports.load(*_USED)  # while the one that reads compiles and attaches
        _await(outcome)
        screen = _fork_screen(screen_end, asking, [answering, outcome])
        screen_end.close()
        asking.close()
        try:
            code = _Supervisor(screen, answering, recording).run()
        finally:
            _restore(before)
            if said := recording.stop():
                note(f"nstrace: {said}", quiet=False)
    finally:
        answering.close()
        screen_end.close()
        has_crashed = _end(reader) < 0
    failure = outcome.makefile("rb").read()
    outcome.close()
    if failure or has_crashed:
        _raise(failure)
    if code == 1:
        raise NstraceError("the screen has failed", "please report it, with NSTRACE_DEBUG=1 nstrace top")
    return 0


def _fork_reader(serve: Serve, end: socket.socket, others: Sequence[socket.socket]) -> tuple[int, socket.socket]:
    """The PID of the process that reads, and a socket on which it says that it works, or what has gone wrong."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    for one in [ours, *others]:
        one.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends when the screen has gone
    code = 1
    try:
        serve(Channel(end, Request), lambda: theirs.sendall(_READY))
        code = 0
    except NstraceError as error:
        theirs.sendall(json.dumps([error.message, error.hint, error.exit_code]).encode())
    except BaseException as error:
        _report(error)
        theirs.sendall(json.dumps([f"unexpected: {error!r}", "please report it", 1]).encode())
    finally:
        os._exit(code)


def _await(outcome: socket.socket) -> None:
    """Wait until it works. Raises its NstraceError."""
    said = outcome.recv(_MAX_ANSWER)
    if said[:1] != _READY:
        _raise(said)


def _raise(said: bytes) -> NoReturn:
    try:
        message, hint, code = json.loads(said)
    except ValueError:
        message, hint, code = "the process that reads has ended", "please report it", 1
    raise NstraceError(message, hint, ExitCode(code))


def _fork_screen(end: socket.socket, asking: socket.socket, others: Sequence[socket.socket]) -> int:
    """The PID of the process that draws."""
    began = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid:
        os.close(began)
        return pid
    for one in others:
        one.close()
    code = 1
    try:
        assistant = Asking(asking, began)
        _warm_up(assistant)
        _give_up()
        code = _draw(end, assistant)
    finally:
        os._exit(code)


def _warm_up(assistant: Asking) -> None:
    """Have textual import what it imports when it first draws: later its folder may not be ours to read."""
    import asyncio

    from tracer.screen.app import Top

    async def draw_nowhere() -> None:
        async with Top(None, assistant).run_test() as pilot:
            await pilot.press("question_mark", "escape", "F", "escape")

    asyncio.run(draw_nowhere())
    assistant.condition("comm = 'sh'")


def _give_up() -> None:
    """Become another user, without any capability."""
    from tracer.system import imports
    from tracer.system.privileges import become, is_root, lesser_user, renounce

    imports.seal()
    if is_root():
        become(*lesser_user())
    renounce()


def _draw(end: socket.socket, assistant: Asking) -> int:
    from tracer.screen.app import Top

    app = Top(Channel(end, Message), assistant)
    app.run()
    if app.error:
        _report(app.error)
    return 1 if app.error else 0


def _report(error: BaseException) -> None:
    """Write where it was raised, for whoever has asked for it."""
    if os.environ.get("NSTRACE_DEBUG"):
        import traceback

        traceback.print_exception(error)


class Asking:
    """`tracer.screen.app.Assistant`: by the process that has begun us, and by what everybody may read in /proc."""

    def __init__(self, asking: socket.socket, ended: int) -> None:
        from tracer.ask.process_filter import ProcessFilter
        from tracer.screen.proc import is_unreaped, set_states

        self._asking, self._lock = asking, threading.Lock()
        self.ended: int | None = ended
        self.states, self.is_unreaped, self.condition = set_states, is_unreaped, ProcessFilter

    def record(self) -> str:
        """As `Assistant.record`."""
        return self._answer(_RECORD, 0)

    def inspect(self, pid: int) -> str:
        """As `Assistant.inspect`."""
        return self._answer(_INSPECT, pid)

    def _answer(self, what: bytes, number: int) -> str:
        with self._lock:
            self._asking.sendall(_ASKED.pack(what, number))
            (length,) = struct.unpack("<I", self._exactly(4))
            return self._exactly(length).decode("utf-8", "replace")

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length and (more := self._asking.recv(length - len(data))):
            data += more
        return data


class _Recording:
    """A nstrace record, which w starts and stops. args: its TARGETs."""

    def __init__(self, args: Sequence[str]) -> None:
        self._args, self._name = args, ""
        self._running: subprocess.Popen[str] | None = None

    def toggle(self) -> str:
        """Start it, or stop it. Gives what to say."""
        if self._running and self._running.poll() is None:
            return self.stop()
        from tracer.wiring.recorders import name_for

        self._name = name_for(self._args, time.localtime())
        self._running = _nstrace("record", "-w", self._name, *self._args)
        return f"recording to {self._name}; w stops it"

    def stop(self) -> str:
        """End it in order. Gives what it said last; "": there is none."""
        running, self._running = self._running, None
        if running is None:
            return ""
        running.send_signal(signal.SIGINT)
        said = running.communicate()[1].splitlines()
        wrote = [line for line in said if "wrote" in line]
        return (wrote or said or [f"ended before anything was recorded to {self._name}"])[-1].removeprefix("nstrace: ")


class _Supervisor:
    """Waits for the screen to end, and does meanwhile what it asks for."""

    def __init__(self, screen: int, answering: socket.socket, recording: _Recording) -> None:
        self._screen, self._answering, self._recording = screen, answering, recording

    def run(self) -> int:
        """Give the screen's exit code; 1 where a signal of the kernel or of somebody ended it at once."""
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, self._pass_on)
        screen = os.pidfd_open(self._screen)
        waited_for: list[int | socket.socket] = [screen, self._answering]
        while screen not in (ready := select.select(waited_for, [], [])[0]):
            if self._answering in ready and not self._serve():
                break
        _pid, status = os.waitpid(self._screen, 0)
        os.close(screen)
        self._screen = 0
        return 0 if os.waitstatus_to_exitcode(status) in (0, -signal.SIGTERM, -signal.SIGHUP) else 1

    def _pass_on(self, number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._screen:  # else it has ended: its number may be another's
                os.kill(self._screen, signal.SIGTERM)

    def _serve(self) -> bool:
        """Do what is asked for. False: nobody will ask any more."""
        asked = self._answering.recv(_ASKED.size, socket.MSG_WAITALL)
        if len(asked) < _ASKED.size:
            return False
        what, number = _ASKED.unpack(asked)
        answer = self._recording.toggle() if what == _RECORD else _inspected(number)
        data = answer.encode("utf-8", "backslashreplace")[:_MAX_ANSWER]
        with contextlib.suppress(BrokenPipeError):  # it has gone meanwhile
            self._answering.sendall(struct.pack("<I", len(data)) + data)
        return True


def _nstrace(*words: str) -> subprocess.Popen[str]:
    """Another nstrace, whose output is ours to read."""
    argv = [sys.executable, "-I" if sys.flags.isolated else "-P", "-m", "tracer", *words]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen(argv, stdin=nothing, stdout=pipe, stderr=pipe, text=True, errors="backslashreplace")


def _inspected(pid: int) -> str:
    inspecting = _nstrace("inspect", str(pid))
    try:
        out, err = inspecting.communicate(timeout=_INSPECT_S)
    except subprocess.TimeoutExpired:
        inspecting.kill()
        inspecting.communicate()
        return "it took too long"
    return out or err


def _end(pid: int) -> int:
    """Wait for the process that reads, which has seen that the screen has gone; end it by force where it has not. Gives
    its exit code, negative where a signal that is not ours has ended it."""
    child = os.pidfd_open(pid)
    is_over = select.select([child], [], [], _ENDING_S)[0]
    if not is_over:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(child)
    return code if is_over else 0


def _restore(before: list[object]) -> None:
    """Make the terminal what it was, whatever the screen has left behind."""
    with contextlib.suppress(OSError, termios.error):
        os.write(sys.stdout.fileno(), _PLAIN_TERMINAL)
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)  # type: ignore[arg-type]
