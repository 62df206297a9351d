"""Landlock: what a process does to files, it does in one folder alone. landlock(7), since Linux 5.13.

It needs no privilege but no_new_privs, and is of the calling thread and of those that this begins.
"""

from __future__ import annotations

import ctypes
import errno
import os

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # on all architectures
_VERSION, _PATH_BENEATH = 1, 1  # LANDLOCK_CREATE_RULESET_VERSION, LANDLOCK_RULE_PATH_BENEATH
_EVERYTHING = (1 << 13) - 1  # of the first version: from LANDLOCK_ACCESS_FS_EXECUTE to ..._MAKE_SYM
_FILES = sum(1 << bit for bit in (1, 2, 3, 4, 5, 7, 8))  # to write, read and list, to remove and to make, no links


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)  # struct landlock_ruleset_attr, as of the first version


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))  # landlock_path_beneath_attr


def is_there() -> bool:
    """Whether the kernel has it, switched on."""
    try:
        return _call(_CREATE_RULESET, None, 0, _VERSION) > 0
    except OSError:
        return False


def confine(folder: int) -> None:
    """From now on open, make and remove files in this folder alone, and what is below it. Raises OSError."""
    ruleset = _Ruleset(_EVERYTHING)
    fd = _call(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.sizeof(ruleset), 0)
    try:
        _call(_ADD_RULE, fd, _PATH_BENEATH, ctypes.byref(_Beneath(_FILES, folder)), 0)
        _call(_RESTRICT_SELF, fd, 0)
    finally:
        os.close(fd)


def _call(number: int, *args: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(number, *args)
    if result < 0:
        raise OSError(ctypes.get_errno() or errno.ENOSYS, "landlock")
    return result
