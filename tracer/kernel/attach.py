"""Compiled programs -> the kernel: maps made, programs loaded and attached, through libbpf."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Collection
from threading import Thread
from typing import NamedTuple

from tracer.errors import ExitCode, NstraceError
from tracer.kernel.btf import Btf
from tracer.kernel.program_cache import INSN_BYTES, CompiledPrograms, ProgramObject
from tracer.system.privileges import more_rights

# program -> the raw tracepoint that it is attached to. They report nothing before the reader opens the trace.
PROBES = {
    "nstrace_fork": "sched_process_fork",
    "nstrace_recovered": "sched_process_exec",  # ahead of what reports the exec or the exit itself
    "nstrace_gave_up": "sched_process_exit",
    "nstrace_exec": "sched_process_exec",
    "nstrace_exit": "sched_process_exit",
    "nstrace_move": "cgroup_attach_task",
    "nstrace_rmdir": "cgroup_rmdir",
}
REPORTERS = ("nstrace_recovered", "nstrace_gave_up")
"""Those of PROBES that report what the programs of CALLS have noted, and nothing else."""
ITERATOR = "nstrace_tasks"
# program -> the functions of the kernel behind which it stands, of those that this kernel has: by architecture.
CALLS = {
    "nstrace_execve": ("__x64_sys_execve", "__arm64_sys_execve"),
    "nstrace_execveat": ("__x64_sys_execveat", "__arm64_sys_execveat"),
}
# program -> the raw tracepoint that it is attached to, where this kernel has both: they note who sends signals.
KILLERS = {"nstrace_signal": "signal_generate", "nstrace_oom": "mark_victim"}
OPTIONAL = {*CALLS, *KILLERS}
PROGRAMS = (ITERATOR, *PROBES, *CALLS, *KILLERS)  # first the one that takes longest to verify

_TRACING, _TRACE_RAW_TP, _TRACE_FEXIT, _TRACE_ITER = (
    26,
    23,
    25,
    28,
)  # BPF_PROG_TYPE_TRACING, BPF_TRACE_*: include/uapi/linux/bpf.h
_ARRAY, _MMAPABLE = 2, 1 << 10  # BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE
_LICENSE = b"GPL"  # the helpers that read kernel memory need a compatible one
_LOG_BYTES = 1 << 20


class _ProgLoadOpts(ctypes.Structure):
    """struct bpf_prog_load_opts of libbpf 1.0, up to the log."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("attempts", ctypes.c_int),
        ("expected_attach_type", ctypes.c_int),
        *((name, ctypes.c_uint32) for name in ("prog_btf_fd", "prog_flags", "prog_ifindex", "kern_version")),
        *((name, ctypes.c_uint32) for name in ("attach_btf_id", "attach_prog_fd", "attach_btf_obj_fd")),
        ("fd_array", ctypes.c_void_p),
        *((name, ctypes.c_void_p if name.endswith("info") else ctypes.c_uint32)
          for name in ("func_info", "func_info_cnt", "func_info_rec_size", "line_info", "line_info_cnt",
                       "line_info_rec_size", "log_level", "log_size")),
        ("log_buf", ctypes.c_void_p),
    )  # fmt: skip


class _MapCreateOpts(ctypes.Structure):
    """struct bpf_map_create_opts of libbpf 1.0."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        *((name, ctypes.c_uint32) for name in ("btf_fd", "btf_key_type_id", "btf_value_type_id")),
        *((name, ctypes.c_uint32) for name in ("btf_vmlinux_value_type_id", "inner_map_fd", "map_flags")),
        ("map_extra", ctypes.c_uint64),
        *((name, ctypes.c_uint32) for name in ("numa_node", "map_ifindex")),
    )


class Attached(NamedTuple):
    """Descriptors: of the maps by name, of the link to the iterator over tasks, of the links to the probes, and of the
    probes' programs; these two in the order of PROBES. calls: of the links behind the calls that can fail; () where the
    kernel has no way to put programs there. killers: of the links of KILLERS; () where the kernel lacks one."""

    maps: dict[str, int]
    iterator: int
    links: tuple[int, ...]
    programs: tuple[int, ...]
    calls: tuple[int, ...]
    killers: tuple[int, ...]


def attach(objects: CompiledPrograms, btf: Btf) -> Attached:
    """Load and attach everything. Raises NstraceError with the verifier's message where the kernel refuses."""
    libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    libbpf.libbpf_set_print(None)
    maps = [
        _create_map(libbpf, one.name, one.type, one.key_size, one.value_size, one.max_entries) for one in objects.maps
    ]
    programs = _load_all(libbpf, objects, maps, btf)
    iterator = libbpf.bpf_link_create(programs[ITERATOR], 0, _TRACE_ITER, None)
    links = [libbpf.bpf_raw_tracepoint_open(None, programs[probe]) for probe in PROBES]
    if iterator < 0 or min(links) < 0:
        raise _refused("the programs cannot be attached", ctypes.get_errno())
    named = {one.name: fd for one, fd in zip(objects.maps, maps, strict=True)}
    calls, killers = (_optional(libbpf, programs, names) for names in (CALLS, KILLERS))
    return Attached(named, iterator, tuple(links), tuple(programs[probe] for probe in PROBES), calls, killers)


def without_idle(attached: Attached) -> Attached:
    """The same without REPORTERS where no program stands behind CALLS: detached, for they would run at each exec and
    exit for nothing."""
    if attached.calls:
        return attached
    links, programs = (dict(zip(PROBES, fds, strict=True)) for fds in (attached.links, attached.programs))
    for name in REPORTERS:
        os.close(links.pop(name))
        os.close(programs.pop(name))
    return attached._replace(links=tuple(links.values()), programs=tuple(programs.values()))


def _optional(libbpf: ctypes.CDLL, programs: dict[str, int], names: Collection[str]) -> tuple[int, ...]:
    """Attach these programs, all or none: not every kernel can put some behind system calls (arm64 since 6.0)."""
    if not programs.keys() >= set(names):
        return ()
    links = [libbpf.bpf_raw_tracepoint_open(None, programs[name]) for name in names]
    if min(links) >= 0:
        return tuple(links)
    for link in links:
        if link >= 0:
            os.close(link)
    return ()


def _create_map(libbpf: ctypes.CDLL, name: str, *sizes: int) -> int:
    kind, key_size, value_size, max_entries = sizes
    flags = _MMAPABLE if kind == _ARRAY else 0  # the reader has no bpf(2)
    options = _MapCreateOpts(sz=ctypes.sizeof(_MapCreateOpts), map_flags=flags)
    fd: int = libbpf.bpf_map_create(kind, name.encode()[:15], key_size, value_size, max_entries, ctypes.byref(options))
    if fd < 0:
        raise _refused(f"the kernel did not make the map {name}", ctypes.get_errno())
    return fd


def _load_all(libbpf: ctypes.CDLL, objects: CompiledPrograms, maps: list[int], btf: Btf) -> dict[str, int]:
    """Load all at once: the verifier takes 20 to 50 ms for each. concurrent.futures would take 10 ms to import."""
    loaded: dict[str, int] = {}
    refused: list[NstraceError] = []

    def load(program: ProgramObject) -> None:
        try:
            loaded[program.name] = _load(libbpf, program, maps, btf)
        except NstraceError as error:
            if program.name not in OPTIONAL:
                refused.append(error)

    threads = [Thread(target=load, args=(program,)) for program in objects.programs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if refused:
        raise refused[0]
    return loaded


def _load(libbpf: ctypes.CDLL, program: ProgramObject, maps: list[int], btf: Btf) -> int:
    options = _ProgLoadOpts(sz=ctypes.sizeof(_ProgLoadOpts))
    if program.name == ITERATOR:
        options.expected_attach_type, options.attach_btf_id = _TRACE_ITER, btf.function("bpf_iter_task")
    elif program.name in CALLS:
        function = next(filter(None, map(btf.function, CALLS[program.name])), 0)
        options.expected_attach_type, options.attach_btf_id = _TRACE_FEXIT, function
    else:
        tracepoint = (PROBES | KILLERS)[program.name]
        options.expected_attach_type, options.attach_btf_id = _TRACE_RAW_TP, btf.tracepoint(tracepoint)
    code = program.linked(maps)

    def load() -> int:
        fd: int = libbpf.bpf_prog_load(
            _TRACING, program.name.encode(), _LICENSE, code, len(code) // INSN_BYTES, ctypes.byref(options)
        )
        return fd

    if (fd := load()) >= 0:
        return fd
    reason = ctypes.get_errno()
    log = ctypes.create_string_buffer(_LOG_BYTES)
    options.log_level, options.log_size, options.log_buf = 1, _LOG_BYTES, ctypes.addressof(log)
    load()
    raise _refused(f"the kernel rejected the program {program.name}", reason, log.value.decode(errors="replace"))


def _refused(what: str, reason: int, detail: str = "") -> NstraceError:
    hint = "run again with --debug for the verifier's words" if detail else ""
    if reason == errno.EPERM:
        hint = more_rights("CAP_BPF or CAP_PERFMON")
    return NstraceError(f"{what}: {os.strerror(reason)}", hint, ExitCode.NOT_PERMITTED, detail)
