"""Gives up root before anything of strangers is parsed."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path

from tracer import imports
from tracer.errors import ExitCode, NstraceError

_NOBODY = 65534
_PR_SET_NO_NEW_PRIVS = 38


def lesser_user() -> tuple[int, int]:
    """uid and gid of who we become: the user who called sudo, else nobody; ourselves where we are not root."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    uid, gid = (os.environ.get(name, "") for name in ("SUDO_UID", "SUDO_GID"))
    return (int(uid), int(gid)) if uid.isdecimal() and gid.isdecimal() else (_NOBODY, _NOBODY)


def drop() -> None:
    """Where we are root, be the lesser user, for good. Open and import what is needed before."""
    imports.seal()
    if os.geteuid() != 0:
        return
    uid, gid = lesser_user()
    with contextlib.suppress(OSError):  # in a container that may not, or has no such user
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def in_child(work: Callable[[], None], folder: Path | None = None) -> None:
    """Do something in a child without privileges, which shares our descriptors. folder: where it is to be; of the way
    there it may see nothing. Raises its NstraceError."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _work(work, folder, writer)
    os.close(writer)
    with open(reader, "rb") as answer:  # noqa: PTH123 - a descriptor
        told = answer.read()
    _pid, status = os.waitpid(child, 0)
    if told:
        message, hint, code, detail = json.loads(told)
        raise NstraceError(message, hint, ExitCode(code), detail)
    if status:
        raise NstraceError(f"the child that reads ended with {os.waitstatus_to_exitcode(status)}", "please report it")


def _work(work: Callable[[], None], folder: Path | None, writer: int) -> None:
    try:
        if folder:
            os.chdir(folder)
        drop()
        work()
        os._exit(0)
    except NstraceError as error:
        told = (error.message, error.hint, int(error.exit_code), error.detail)
    except KeyboardInterrupt:
        os._exit(130)
    except BaseException as error:
        hint = "run nstrace --debug ... for a report"
        told = (f"unexpected {type(error).__name__}: {error}", hint, 1, traceback.format_exc())
    os.write(writer, json.dumps(told).encode()[:65536])
    os._exit(1)
