"""BTF of the running kernel -> C structures that hold just the members that bpf/task.h reads.

Each member is at the offset that BTF reports, padded with char arrays and packed: such a structure has one layout for
BCC's front end (x86) and its code generator (BPF); a dumped vmlinux.h has two. A member that moved or was renamed is
looked up under every name that it has had; the kernel's version is never checked.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import NamedTuple

from tracer.errors import ExitCode, NstraceError

BTF_PATH = "/sys/kernel/btf/vmlinux"
_STRUCT, _UNION, _ENUM, _TYPEDEF, _FUNC = 4, 5, 6, 8, 12  # BTF_KIND_*, include/uapi/linux/btf.h
_MODIFIERS = (_TYPEDEF, 9, 10, 11)  # and volatile, const, restrict

_INT, _U64, _PTR_SIZE = "int {}", "unsigned long long {}", 8
_SIZES = {_INT: 4, "unsigned int {}": 4, "unsigned short {}": 2, _U64: 8, "char {}[16]": 16, "char {}[0]": 0}


class StructMember(NamedTuple):
    """A member as C code names it, its C type, and the paths that it has had in kernels, newest first."""

    name: str
    c_type: str
    paths: tuple[str, ...]
    optional: bool = False


def _member(path: str, c_type: str, *older: str, optional: bool = False) -> StructMember:
    return StructMember(path.lstrip("_").replace(".", "_"), c_type, (path, *older), optional)


STRUCTURES: dict[str, tuple[StructMember, ...]] = {
    "task_struct": (
        _member("pid", _INT),
        _member("tgid", _INT),
        _member("exit_code", _INT),
        _member("exit_state", _INT),
        _member("__state", _INT, "state"),  # 2f064a59a11f (5.14) renamed it
        _member("start_boottime", _U64, "real_start_time"),  # cf25e24db61c (5.5)
        _member("comm", "char {}[16]"),
        _member("thread_pid", "struct pid *{}"),
        _member("real_parent", "struct task_struct *{}"),
        _member("group_leader", "struct task_struct *{}"),
        _member("signal", "struct signal_struct *{}"),
        _member("real_cred", "struct cred *{}"),
        _member("cgroups", "struct css_set *{}"),
        _member("mm", "struct mm_struct *{}"),
        _member("flags", "unsigned int {}"),
        _member("stack", _U64),
        _member("self_exec_id", _U64),  # begin_new_exec() counts it up; 64 bits since d1e7fd6462ca (5.7)
    ),
    "pid": (_member("level", "unsigned int {}"), _member("numbers", "char {}[0]")),
    "upid": (_member("nr", _INT), _member("ns", "struct pid_namespace *{}")),
    "pid_namespace": (
        _member("ns.inum", "unsigned int {}"),
        _member("ns.ns_id", _U64, optional=True),
        _member("child_reaper", "struct task_struct *{}"),
    ),
    "signal_struct": (
        _member("live.counter", _INT),
        _member("nr_threads", _INT),
        _member("group_exit_code", _INT),
        _member("flags", "unsigned int {}"),
        _member("oom_mm", _U64),
    ),
    "kernel_siginfo": (_member("si_code", _INT),),
    "cred": (_member("uid.val", "unsigned int {}"),),
    "css_set": (_member("subsys", "char {}[0]"), _member("dfl_cgrp", "struct cgroup *{}")),
    "cgroup_subsys_state": (_member("cgroup", "struct cgroup *{}"),),
    "cgroup": (_member("kn", "struct kernfs_node *{}"),),
    "kernfs_node": (
        _member("id", _U64),
        _member("name", "const char *{}"),
        _member("__parent", "struct kernfs_node *{}", "parent"),  # 6.15 renamed it
        _member("mode", "unsigned short {}"),
        _member("iattr", "struct kernfs_iattrs *{}"),
    ),
    "kernfs_iattrs": (_member("ia_uid.val", "unsigned int {}"),),
    "mm_struct": (_member("arg_start", _U64), _member("arg_end", _U64)),
    "linux_binprm": (_member("filename", "const char *{}"),),
}


class Btf:
    """The running kernel's type information, read through libbpf.

    Raises NstraceError where the kernel has none.
    """

    def __init__(self) -> None:
        try:
            bpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
        except OSError as error:
            raise NstraceError(
                "libbpf.so.1 is missing", "apt-get install python3-bpfcc", ExitCode.NOT_PERMITTED, str(error)
            ) from error
        bpf.btf__load_vmlinux_btf.restype = bpf.btf__type_by_id.restype = ctypes.c_void_p
        bpf.btf__name_by_offset.restype = ctypes.c_char_p
        bpf.btf__find_by_name_kind.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint]
        bpf.btf__type_by_id.argtypes = bpf.btf__name_by_offset.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        self._bpf = bpf
        self._btf = bpf.btf__load_vmlinux_btf()
        if not self._btf:
            raise NstraceError(
                f"this kernel has no type information ({BTF_PATH})",
                "nstrace needs a kernel built with CONFIG_DEBUG_INFO_BTF=y, as all major distributions' are",
                ExitCode.NOT_PERMITTED,
            )

    def _words(self, address: int, count: int) -> list[int]:
        return list((ctypes.c_uint32 * count).from_address(address))

    def _id(self, name: str, kind: int) -> int:
        return int(self._bpf.btf__find_by_name_kind(self._btf, name.encode(), kind))

    def _address(self, type_id: int) -> int:
        return int(self._bpf.btf__type_by_id(self._btf, type_id))

    def _name(self, offset: int) -> str:
        return str(self._bpf.btf__name_by_offset(self._btf, offset).decode())

    def offset(self, structure: str, path: str) -> int | None:
        """Byte offset of a member (a.b for one in an embedded structure); None where there is none."""
        type_id = self._id(structure, _STRUCT)
        return self._find(type_id, path.split(".")) if type_id > 0 else None

    def _find(self, type_id: int, path: list[str]) -> int | None:
        address = self._address(type_id)
        _name, info, target = self._words(address, 3)
        kind = info >> 24 & 31
        if kind in _MODIFIERS:
            return self._find(target, path)
        if kind not in (_STRUCT, _UNION):
            return None
        for name, member, byte in self._members(address, info):
            below = self._step(name, member, path)
            if below is not None:
                return byte + below
        return None

    def _step(self, name: str, member: int, path: list[str]) -> int | None:
        """The byte offset of a path in the type of a member that it may lead through; None: it does not. Members of
        unnamed structures count as the outer structure's, as in C."""
        if name == path[0]:
            return self._find(member, path[1:]) if path[1:] else 0
        return None if name else self._find(member, path)

    def _members(self, address: int, info: int) -> Iterator[tuple[str, int, int]]:
        bit_fields = info >> 31
        for index in range(info & 0xFFFF):
            name, member, bits = self._words(address + 12 + 12 * index, 3)
            yield self._name(name), member, (bits & 0xFFFFFF if bit_fields else bits) // 8

    def enumerator(self, enum: str, name: str) -> int | None:
        """The value of an enumerator; None where the kernel has none of that name."""
        type_id = self._id(enum, _ENUM)
        if type_id <= 0:
            return None
        address = self._address(type_id)
        for index in range(self._words(address, 2)[1] & 0xFFFF):
            offset, value = self._words(address + 12 + 8 * index, 2)
            if self._name(offset) == name:
                return value
        return None

    def function(self, name: str) -> int:
        """The id of a kernel function; 0 where there is none of that name."""
        return max(0, self._id(name, _FUNC))

    def tracepoint(self, name: str) -> int:
        """The id of a tracepoint's type, one of a pointer to a function; 0 where there is no such tracepoint."""
        return max(0, self._id(f"btf_trace_{name}", _TYPEDEF))

    def tracepoint_args(self, name: str) -> int:
        """How many arguments a raw tracepoint passes; 0 where there is no such tracepoint."""
        type_id = self.tracepoint(name)
        if not type_id:
            return 0
        pointer = self._words(self._address(type_id), 3)[2]
        prototype = self._words(self._address(pointer), 3)[2]
        return (self._words(self._address(prototype), 2)[1] & 0xFFFF) - 1  # the first one is the probe's data


def kernel_types(btf: Btf) -> str:
    """C declarations of STRUCTURES for this kernel. Raises NstraceError where a required member is missing."""
    lines = [f"struct {name};" for name in STRUCTURES]
    for name, members in STRUCTURES.items():
        placed = [(offset, member) for member in members if (offset := _offset(btf, name, member)) is not None]
        lines += _declaration(name, sorted(placed, key=lambda item: item[0]))
    return "\n".join(lines) + "\n"


def _offset(btf: Btf, structure: str, member: StructMember) -> int | None:
    for path in member.paths:
        offset = btf.offset(structure, path)
        if offset is not None:
            return offset
    if member.optional:
        return None
    raise NstraceError(
        f"this kernel's struct {structure} has no {' or '.join(member.paths)}",
        "nstrace does not know this kernel's structures: please report it with the output of uname -r",
        ExitCode.NOT_PERMITTED,
    )


def _declaration(name: str, placed: list[tuple[int, StructMember]]) -> list[str]:
    lines = [f"struct {name} {{"]
    at = 0
    for offset, member in placed:
        if offset > at:
            lines.append(f"\tchar at_{at}[{offset - at}];")
        lines.append("\t" + member.c_type.format(member.name) + ";")
        at = offset + _SIZES.get(member.c_type, _PTR_SIZE)
    return [*lines, "} __attribute__((packed, aligned(8)));"]
