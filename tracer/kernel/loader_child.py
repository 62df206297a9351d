"""The child that compiles, loads and attaches the programs, hands over their descriptors and exits.

The reader never contains compiler or LLVM, and nothing that they print reaches its output.
Run by tracer.kernel.loader_client; sends one message over the socket whose descriptor number it receives. Every start
waits for it, so it imports as little as possible, and not even site: only bcc needs what is installed.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from pathlib import Path

from tracer.errors import ExitCode, NstraceError
from tracer.kernel.attach import PROGRAMS, Attached, attach, without_idle
from tracer.kernel.btf import Btf, kernel_types
from tracer.kernel.options import PAGE_BYTES, LoadOptions
from tracer.kernel.program_cache import Store, key_of
from tracer.stream.schema import EVENT_BYTES, PIECE_BYTES
from tracer.system import cgroup_hierarchy
from tracer.system.cpus import cpu_count

MAPS = ("ring", "counts", "decisions", "losses", "wake")
RECORD_BYTES = EVENT_BYTES + 8  # with the ring's own header


def _cgroup_subsys(btf: Btf) -> int:
    """The hierarchy that names containers: -1 the unified one, else the index of a version 1 controller."""
    if (controller := cgroup_hierarchy.controller()) == cgroup_hierarchy.UNIFIED:
        return -1
    index = btf.enumerator("cgroup_subsys_id", f"{controller}_cgrp_id")
    assert index is not None, controller  # it is mounted
    return index


def _cflags(btf: Btf, options: LoadOptions) -> list[str]:
    pieces = -(-options.max_args_bytes // PIECE_BYTES)
    flags = [
        f"-DPAGE_SIZE={PAGE_BYTES}",
        f"-DRING_BYTES={options.ring_bytes}",
        f"-DCPUS={cpu_count()}",
        f"-DURGE_AFTER={_urge_after(options.ring_bytes)}",
        f"-DRESERVE_FROM={options.ring_bytes // 4 * 3}",
        f"-DSHARE_EVENTS={_share_events(options.ring_bytes)}",
        f"-DMAX_ARGS_BYTES={options.max_args_bytes}",
        f"-DLAST_ARGS_BYTES={options.max_args_bytes - (pieces - 1) * PIECE_BYTES}",
        f"-DTHREADS={int(options.threads)}",
        f"-DCGROUP_SUBSYS={_cgroup_subsys(btf)}",
        *_argument_places(btf),
    ]
    if btf.offset("pid_namespace", "ns.ns_id") is not None:
        flags.append("-DHAVE_NS_ID")
    if btf.tracepoint_args("sched_process_exit") >= 2:
        flags.append("-DHAVE_GROUP_DEAD")
    if btf.tracepoint_args("mark_victim") >= 2:  # 72ba14deb40a (6.9): the task, and its uid, in place of its number
        flags.append("-DVICTIM_IS_TASK")
    return flags


def _argument_places(btf: Btf) -> list[str]:
    """Where struct pt_regs has the first two arguments of a system call: rdi and rsi, or x0 and x1."""
    first, second = btf.offset("pt_regs", "di"), btf.offset("pt_regs", "si")
    if first is None or second is None:
        first = btf.offset("pt_regs", "regs") or 0
        second = first + 8
    return [f"-DFIRST_ARGUMENT={first}", f"-DSECOND_ARGUMENT={second}"]


def _urge_after(ring_bytes: int) -> int:
    """How many events of one CPU fill its share of half the ring, at three records an event."""
    return max(1, ring_bytes // 2 // (3 * RECORD_BYTES) // (os.cpu_count() or 1))


def _share_events(ring_bytes: int) -> int:
    """How many events of one container fill a 64th of the ring, at three records an event."""
    return max(1, ring_bytes // 64 // (3 * RECORD_BYTES))


def _check_kernel(btf: Btf) -> None:
    if btf.enumerator("bpf_map_type", "BPF_MAP_TYPE_RINGBUF") is None:
        raise NstraceError(
            f"this kernel ({os.uname().release}) has no BPF ring buffer",
            "nstrace needs Linux 5.8 or newer",
            ExitCode.NOT_PERMITTED,
        )


def load(bpf_dir: Path, options: LoadOptions, store: Store | None = None) -> Attached:
    """Load and attach all programs, as they were compiled for this kernel and these options, at an earlier start or
    now. What is stored and does not load is compiled again; only what has been loaded is stored."""
    btf = Btf()
    _check_kernel(btf)
    types, cflags = kernel_types(btf), _cflags(btf, options)
    sources = [path.read_text() for path in sorted(bpf_dir.glob("*.[ch]"))]
    store, key = store or Store(), key_of(*sources, types, *cflags)
    if stored := store.get(key):
        with contextlib.suppress(NstraceError, LookupError):
            return attach(stored, btf)
    from tracer.kernel.compiler import compile_programs

    compiled = compile_programs(bpf_dir / "nstrace.bpf.c", types, cflags, PROGRAMS)
    attached = attach(compiled, btf)
    store.put(key, compiled)
    return attached


def main() -> None:
    """Read options from the socket, load, answer with the descriptors (maps in the order of MAPS, iterator, links,
    programs, links behind calls and of what notes killers, and how many there are of these) or with the error."""
    channel = socket.socket(fileno=int(sys.argv[2]))
    channel.set_inheritable(False)
    request = json.loads(channel.recv(65536))
    try:
        attached = without_idle(load(Path(request.pop("bpf_dir")), LoadOptions(**request)))
    except NstraceError as error:
        channel.send(json.dumps([error.message, error.hint, int(error.exit_code), error.detail[-60000:]]).encode())
        return
    probes = [*attached.links, *attached.programs]
    fds = [*(attached.maps[name] for name in MAPS), attached.iterator, *probes, *attached.calls, *attached.killers]
    socket.send_fds(channel, [b"loaded %d %d" % (len(attached.calls), len(attached.killers))], fds)
    channel.recv(1)  # the reader has the descriptors now
    os._exit(0)  # no need to tear LLVM down
