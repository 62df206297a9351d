"""C -> compiled programs, by BCC. The only importer of bcc."""

from __future__ import annotations

import contextlib
import ctypes
import os
import site
import sys
import tempfile
from pathlib import Path
from typing import Any

from tracer.errors import ExitCode, NstraceError
from tracer.kernel.program_cache import INSN_BYTES, CompiledPrograms, MapObject, ProgramObject

DIST_PACKAGES = "/usr/lib/python3/dist-packages"  # where python3-bpfcc puts bcc
_LOAD_MAP_FD = (0x18, 1)  # BPF_LD | BPF_IMM | BPF_DW, BPF_PSEUDO_MAP_FD

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


def import_bcc() -> Any:
    """The distribution's bcc, also where the environment does not see the system's packages. Raises NstraceError where
    it is missing or is PyPI's project of that name."""
    site.main()  # the loader was started without
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


def compile_programs(source: Path, kernel_types: str, cflags: list[str], names: tuple[str, ...]) -> CompiledPrograms:
    """The programs of these names, and all maps, of a C file. Raises NstraceError with the compiler's message."""
    bcc = import_bcc()
    # BCC looks for kernel headers here; never below $TMPDIR, where others may write.
    base = "/run" if os.access("/run", os.W_OK) else "/tmp"
    with contextlib.ExitStack() as stack:
        try:
            root = stack.enter_context(tempfile.TemporaryDirectory(prefix="nstrace-", dir=base))
            _stub_kernel_headers(Path(root), kernel_types)
        except OSError as error:
            raise NstraceError(
                f"the programs cannot be compiled: {base} cannot be written: {os.strerror(error.errno or 0)}",
                "free some space there; what was compiled is kept in /var/cache/nstrace",
            ) from error
        os.environ["BCC_KERNEL_SOURCE"] = root
        try:
            flags = [*cflags, "-g0", "-Wno-everything", f"-I{source.parent}"]
            bpf = bcc.BPF(src_file=str(source).encode(), cflags=flags)
        except Exception as error:  # BCC raises bare Exception
            raise NstraceError(
                "BCC cannot compile the programs",
                "nstrace --debug ... shows the compiler's messages",
                ExitCode.NOT_PERMITTED,
                str(error),
            ) from error
    return _objects(bcc, bpf, names)


def _stub_kernel_headers(root: Path, kernel_types: str) -> None:
    """Write what BCC requires where it looks for kernel headers."""
    include = root / "include"
    for empty in _EMPTY_HEADERS:
        (include / empty).parent.mkdir(parents=True, exist_ok=True)
        (include / empty).touch()
    (include / "linux/types.h").write_text(_TYPES_H)
    (include / "linux/kconfig.h").write_text(_KCONFIG_H)
    (include / "kernel_types.h").write_text(kernel_types)


def _objects(bcc: Any, bpf: Any, names: tuple[str, ...]) -> CompiledPrograms:
    lib, module = bcc.lib, bpf.module
    lib.bpf_table_name.restype = ctypes.c_char_p  # bcc leaves it at int
    maps, index_of = [], {}
    for index in range(lib.bpf_num_tables(module)):
        sizes = (
            lib.bpf_table_type_id(module, index),
            lib.bpf_table_key_size_id(module, index),
            lib.bpf_table_leaf_size_id(module, index),
            lib.bpf_table_max_entries_id(module, index),
        )
        name = lib.bpf_table_name(module, index).decode()
        maps.append(MapObject(name, *sizes))
        index_of[lib.bpf_table_fd_id(module, index)] = index
    programs = (_program(name, bpf.dump_func(name.encode()), index_of) for name in names)
    return CompiledPrograms(tuple(maps), tuple(programs))


def _program(name: str, insns: bytes, index_of: dict[int, int]) -> ProgramObject:
    maps, code = [], bytearray(insns)
    for at in range(0, len(code), INSN_BYTES):
        if (code[at], code[at + 1] >> 4) == _LOAD_MAP_FD:
            fd = int.from_bytes(code[at + 4 : at + 8], "little")
            maps.append((at // INSN_BYTES, index_of[fd]))
            code[at + 4 : at + 8] = bytes(4)  # of this process alone; the same source gives the same bytes
    return ProgramObject(name, bytes(code), tuple(maps))
