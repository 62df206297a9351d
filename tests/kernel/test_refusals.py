"""What nstrace says where it cannot work: one line what, one line how to mend it, the exit code, no traceback.

The hosts that lack something are made of this one, in mount, user and PID namespaces.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tracer.errors import NstraceError
from tracer.kernel import loader_child
from tracer.kernel.compiler import DIST_PACKAGES

pytestmark = pytest.mark.kernel
FOLLOW = f"{sys.executable} -m tracer follow"
BCC = f"{DIST_PACKAGES}/bcc"
NO_STORE = "mkdir -p /var/cache/nstrace && mount -t tmpfs -o mode=700 none /var/cache/nstrace"
IMPOSTOR = f"mount -t tmpfs none {BCC} && echo 'x = 1' >{BCC}/__init__.py"

# The checkout may be below a folder that others may not enter.
NOT_ROOT = "setpriv --reuid 65534 --clear-groups --inh-caps -all,+dac_read_search --ambient-caps -all,+dac_read_search"
CASES = {
    "remote engine": ("DOCKER_HOST=tcp://192.0.2.1:2375 {} web", 1, "remote engine", "DOCKER_HOST"),
    "no engine": ("DOCKER_HOST=unix:///nowhere {} web", 1, "no container engine answers", "start it"),
    "no such process": ("{} pid:4194304", 3, "there is no process 4194304", "ps -e"),
    "no such namespace": ("{} pidns:12", 3, "PID namespace 12", "lsns"),
    "no target": ("{} 'a b'", 2, "is not a valid target", "container name"),
    "wrong option": ("{} --events fork,spoon", 2, "'spoon'", "events are fork, exec, exec_failed, exit"),
    "not root": (f"{NOT_ROOT} {{}}", 4, "tracing needs root", "sudo"),
    "no capability": ("setpriv --bounding-set -all {}", 4, "tracing needs root", "lacks CAP_BPF or CAP_PERFMON"),
    "in a PID namespace": ("unshare --pid --fork --mount-proc {}", 4, "inside a PID namespace", "--pid=host"),
    "no BTF": ("mount -t tmpfs none /sys/kernel/btf && {}", 4, "no type information", "CONFIG_DEBUG_INFO_BTF"),
    "no bcc": (f"{NO_STORE} && mount -t tmpfs none {DIST_PACKAGES} && {{}}", 4, "is missing", "python3-bpfcc"),
    "PyPI's bcc": (f"{NO_STORE} && {IMPOSTOR} && {{}}", 4, "another project", "pip uninstall bcc"),
}


@pytest.mark.parametrize("name", CASES)
def test_one_line_and_a_hint(name: str) -> None:
    command, code, what, hint = CASES[name]
    shell = ["unshare", "--mount", "sh", "-c", command.format(FOLLOW)]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert done.stdout == "" or (name == "no such namespace" and done.stdout.startswith("TIME "))  # it is found late
    first, second = done.stderr.splitlines()
    assert first.startswith("nstrace: ")
    assert what in first
    assert hint in second


def test_a_kernel_without_ring_buffer() -> None:
    class Old:
        def enumerator(self, enum: str, name: str) -> None:
            assert (enum, name) == ("bpf_map_type", "BPF_MAP_TYPE_RINGBUF")

    with pytest.raises(NstraceError, match="has no BPF ring buffer") as caught:
        loader_child._check_kernel(Old())  # type: ignore[arg-type]
    assert caught.value.exit_code == 4
