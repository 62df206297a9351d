"""Gives up root before anything of strangers is parsed."""

from __future__ import annotations

import contextlib
import ctypes
import os

_NOBODY = 65534
_PR_SET_NO_NEW_PRIVS = 38


def drop() -> None:
    """Where we are root, become the user who called sudo, else nobody, for good. Open what is needed before."""
    if os.geteuid() != 0:
        return
    uid, gid = (os.environ.get(name, "") for name in ("SUDO_UID", "SUDO_GID"))
    user, group = (int(uid), int(gid)) if uid.isdecimal() and gid.isdecimal() else (_NOBODY, _NOBODY)
    with contextlib.suppress(OSError):  # in a container that may not, or has no such user
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
