"""Until when all was yielded is said of what was yielded: a file that says so has it."""

from __future__ import annotations

import os
import subprocess
import time

import pytest
from oracle import pids_hierarchy
from stack import Stack

from tracer.stream.batch import of_kind
from tracer.stream.schema import PROCESS_KINDS

pytestmark = pytest.mark.kernel
# a first process that moves behind others: what is known of its namespace changes amid what one wait has brought
MOVING = 'for i in 1 2 3 4 5 6 7 8; do unshare --pid --fork sh -c "/bin/true; echo 0 >$0/cgroup.procs; /bin/true"; done'


def test_nothing_comes_that_is_older() -> None:
    group = pids_hierarchy() / f"nstrace-test-{os.getpid()}"
    group.mkdir()
    try:
        with Stack() as stack, subprocess.Popen(["sh", "-c", MOVING, group]) as work:
            settled_ns, seen = 0, 0
            while work.poll() is None or seen < 5:
                time.sleep(0.02)
                stack.read(lambda: True)
                rows = stack.last.rows[of_kind(stack.last.rows, *PROCESS_KINDS)]
                assert not len(rows) or int(rows["ts_ns"].min()) > settled_ns
                seen += stack.source.settled_ns > settled_ns
                settled_ns = max(settled_ns, stack.source.settled_ns)
    finally:
        group.rmdir()
