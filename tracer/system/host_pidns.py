"""The initial PID namespace, in which every process of the host has a number. Light: start-up needs it."""

import os

from tracer.errors import ExitCode, NstraceError

INITIAL_PIDNS_INUM = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h


def require_initial_pidns() -> None:
    """Raise NstraceError (NOT_PERMITTED) where this process does not see the host's PIDs."""
    if os.stat("/proc/self/ns/pid").st_ino != INITIAL_PIDNS_INUM:  # noqa: PTH116
        raise NstraceError(
            "nstrace runs inside a PID namespace, where host PIDs cannot be seen",
            "run it on the host, or in a container started with --pid=host --privileged",
            ExitCode.NOT_PERMITTED,
        )
