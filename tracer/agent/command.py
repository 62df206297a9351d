"""Runs the command of a trigger, in a process of its own: as another user, without capabilities, for a limited time.

That process adopts whatever the command leaves behind, and ends it as well: also where it has made a session of its
own, and when it is ended itself.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tracer.agent.config import Trigger
from tracer.errors import NstraceError
from tracer.interrupt import Interrupted, arrived, interrupt
from tracer.system.libc import call

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PR_SET_CHILD_SUBREAPER = 36
_ROUNDS = 1000  # of looking for who was left behind: one that forks without end is not waited for


def run(trigger: Trigger, path: Path, say: Callable[[str], None]) -> int:
    """Run it; path: the incident's recording, which is its stdin, for its user could not open it. Gives the exit code.
    Raises NstraceError."""
    from tracer.system.privileges import end_with
    from tracer.wiring.signals import interrupt_at_signals

    interrupt_at_signals()
    signal.signal(signal.SIGINT, interrupt)
    end_with(os.getppid(), signal.SIGTERM)
    call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        process = _started(trigger, path)
        if code := process.wait(trigger.timeout_s):
            say(f"{trigger.run[0]} ended with {code}")
    except subprocess.TimeoutExpired:
        say(f"{trigger.run[0]} took longer than {trigger.timeout_s:g} s: it is killed")
    except Interrupted:
        arrived()
        say(f"{trigger.run[0]} is killed: the agent ends")
    finally:
        _end_all()
    return 0


def _started(trigger: Trigger, path: Path) -> subprocess.Popen[bytes]:
    argv = [word.replace("{file}", str(path)) for word in trigger.run]
    try:
        user = pwd.getpwnam(trigger.user)
    except KeyError as error:
        message = f"the command of a trigger was not run: this host has no user {trigger.user!r}"
        raise NstraceError(message, "name another in [[trigger]] user") from error

    def become_lesser() -> None:
        from tracer.system.privileges import become, gain_nothing, is_root

        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if is_root():
            become(user.pw_uid, user.pw_gid)
        gain_nothing()

    try:
        recording = path.open("rb")
    except OSError as error:
        raise NstraceError(f"{path.name} is gone before its command was run", "[incidents] keep more") from error
    environment = {"PATH": PATH, "HOME": user.pw_dir, "USER": user.pw_name, "LANG": "C.UTF-8"}
    try:
        with recording:
            return subprocess.Popen(
                argv, stdin=recording, stdout=2, cwd="/", env=environment, preexec_fn=become_lesser,
                start_new_session=True,
            )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        why = getattr(error, "strerror", None) or error
        raise NstraceError(f"{argv[0]} was not run: {why}", "it is [[trigger]] run, without a shell") from error


def _end_all() -> None:
    """Kill the command, if it runs, and all below it: whoever loses its parent becomes a child of ours."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    for _round in range(_ROUNDS):
        for pid in map(int, children.read_text().split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
