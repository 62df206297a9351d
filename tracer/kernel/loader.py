"""The child that compiles, loads and attaches the programs, hands over their descriptors and exits.

The only importer of bcc. The reader never holds compiler or LLVM, and nothing that they print reaches its output.
Run as `python -I loader` by tracer.kernel.load; speaks one message over the socket that is its descriptor 3.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracer.errors import ExitCode, NstraceError
from tracer.kernel.layout import Btf, kernel_types

if TYPE_CHECKING:
    from tracer.kernel.load import LoadOptions

DIST_PACKAGES = "/usr/lib/python3/dist-packages"  # where python3-bpfcc puts bcc
CGROUP_V2_MAGIC = "cgroup2fs"
MAPS = ("ring", "counts", "decisions", "wake")
PIECE_BYTES = 128
PAGE_BYTES = 4096
RECORD_BYTES = 168  # with the ring's own header
PROGRAMS = ("sched_process_fork", "sched_process_exec", "sched_process_exit")

_TYPES_H = """
typedef unsigned char __u8; typedef unsigned short __u16; typedef unsigned int __u32;
typedef unsigned long long __u64; typedef signed char __s8; typedef short __s16;
typedef int __s32; typedef long long __s64;
typedef __u8 u8; typedef __u16 u16; typedef __u32 u32; typedef __u64 u64; typedef __s32 s32; typedef __s64 s64;
typedef __u16 __be16; typedef __u32 __be32; typedef __u64 __be64; typedef __u32 __wsum; typedef __u16 __sum16;
typedef unsigned long uintptr_t; typedef unsigned long size_t; typedef unsigned long sector_t; typedef _Bool bool;
#define __aligned_u64 __u64 __attribute__((aligned(8)))
#define NULL ((void *)0)
#define true 1
#define false 0
"""
_KCONFIG_H = """
#define CONFIG_BPF_SYSCALL 1
#include "linux/types.h"
#include "kernel_types.h"
#define LINUX_VERSION_CODE 0
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define PAGE_SIZE 4096
#define __always_inline inline __attribute__((always_inline))
"""
_EMPTY_HEADERS = (
    "linux/bpf_common.h",
    "linux/version.h",
    "linux/log2.h",
    "asm/page.h",
    "uapi/linux/bpf.h",
    "uapi/linux/if_packet.h",
    "uapi/linux/if_ether.h",
    "uapi/linux/ptrace.h",
)


def _import_bcc() -> Any:
    """The distribution's bcc, also where the environment does not see the system's packages."""
    try:
        import bcc
    except ImportError:
        sys.path.append(DIST_PACKAGES)
        try:
            import bcc
        except ImportError as error:
            raise NstraceError(
                "the BPF Compiler Collection for Python is missing",
                "apt-get install python3-bpfcc",
                ExitCode.NOT_PERMITTED,
                str(error),
            ) from error
    if not hasattr(bcc, "BPF"):
        raise NstraceError(
            f"the module bcc in {Path(bcc.__file__ or '?').parent} is another project of that name",
            "pip uninstall bcc, then apt-get install python3-bpfcc",
            ExitCode.NOT_PERMITTED,
        )
    return bcc


def _stub_kernel_headers(root: Path, btf: Btf) -> None:
    """What BCC wants to find where it looks for kernel headers."""
    include = root / "include"
    for empty in _EMPTY_HEADERS:
        (include / empty).parent.mkdir(parents=True, exist_ok=True)
        (include / empty).touch()
    (include / "linux/types.h").write_text(_TYPES_H)
    (include / "linux/kconfig.h").write_text(_KCONFIG_H)
    (include / "kernel_types.h").write_text(kernel_types(btf))


def _cgroup_subsys(btf: Btf) -> int:
    """Which hierarchy names containers: -1 the unified one, else the index of a version 1 controller."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    if any(mount[1] == "/sys/fs/cgroup" and mount[2] == "cgroup2" for mount in mounts):
        return -1
    mounted = {option for mount in mounts if mount[2] == "cgroup" for option in mount[3].split(",")}
    for controller in ("pids", "memory", "devices", "cpu"):
        index = btf.enumerator("cgroup_subsys_id", f"{controller}_cgrp_id")
        if controller in mounted and index is not None:
            return index
    return -1


def _cflags(btf: Btf, options: LoadOptions) -> list[str]:
    pieces = -(-options.max_args_bytes // PIECE_BYTES)
    flags = [
        f"-DRING_PAGES={options.ring_pages}",
        f"-DURGE_AFTER={_urge_after(options.ring_pages)}",
        f"-DMAX_ARGS_BYTES={options.max_args_bytes}",
        f"-DLAST_ARGS_BYTES={options.max_args_bytes - (pieces - 1) * PIECE_BYTES}",
        f"-DTHREADS={int(options.threads)}",
        f"-DCGROUP_SUBSYS={_cgroup_subsys(btf)}",
        "-Wno-everything",
    ]
    if btf.offset("pid_namespace", "ns.ns_id") is not None:
        flags.append("-DHAVE_NS_ID")
    if btf.tracepoint_args("sched_process_exit") >= 2:
        flags.append("-DHAVE_GROUP_DEAD")
    return flags


def _urge_after(ring_pages: int) -> int:
    """Events of one CPU that fill its share of half the ring, at three records an event."""
    return max(1, ring_pages * PAGE_BYTES // 2 // (3 * RECORD_BYTES) // (os.cpu_count() or 1))


def _check_kernel(btf: Btf) -> None:
    if btf.enumerator("bpf_map_type", "BPF_MAP_TYPE_RINGBUF") is None:
        raise NstraceError(
            f"this kernel ({os.uname().release}) has no BPF ring buffer",
            "nstrace needs Linux 5.8 or newer",
            ExitCode.NOT_PERMITTED,
        )


def load(bpf_dir: Path, options: LoadOptions) -> tuple[list[int], Any]:
    """Load and attach everything. Returns the descriptors in the order of MAPS, then the iterator's, then the
    links', and the object that keeps them open."""
    btf = Btf()
    _check_kernel(btf)
    bcc = _import_bcc()
    base = "/run" if os.access("/run", os.W_OK) else "/tmp"
    with tempfile.TemporaryDirectory(prefix="nstrace-", dir=base) as root:
        _stub_kernel_headers(Path(root), btf)
        os.environ["BCC_KERNEL_SOURCE"] = root
        try:
            bpf = bcc.BPF(
                src_file=str(bpf_dir / "nstrace.bpf.c").encode(), cflags=[*_cflags(btf, options), f"-I{bpf_dir}"]
            )
            iterator = bpf.load_func(b"bpf_iter__task", bcc.BPF.TRACING if hasattr(bcc.BPF, "TRACING") else 26)
        except Exception as error:
            raise NstraceError(
                f"the kernel did not take the programs: {str(error).splitlines()[0]}",
                "run again with --debug for the compiler's or the verifier's words",
                ExitCode.NOT_PERMITTED,
                str(error),
            ) from error
    link = bcc.lib.bcc_iter_attach(iterator.fd, None, 0)
    if link < 0:
        raise NstraceError(
            "the kernel has no iterator over tasks", "nstrace needs Linux 5.8 or newer", ExitCode.NOT_PERMITTED
        )
    maps = [bpf[name].map_fd for name in MAPS]
    links = [bpf.raw_tracepoint_fds[name.encode()] for name in PROGRAMS]
    return [*maps, link, *links], bpf


def main() -> None:
    """Read options from the socket, load, answer with the descriptors or with what went wrong."""
    from tracer.kernel.load import LoadOptions

    channel = socket.socket(fileno=3)
    request = json.loads(channel.recv(65536))
    try:
        fds, keep = load(Path(request.pop("bpf_dir")), LoadOptions(**request))
    except NstraceError as error:
        channel.send(json.dumps([error.message, error.hint, int(error.exit_code), error.detail[-60000:]]).encode())
        return
    socket.send_fds(channel, [b"loaded"], fds)
    channel.recv(1)  # the descriptors are theirs now
    del keep
    os._exit(0)  # no need to tear LLVM down
