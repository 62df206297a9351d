"""Every program is attached, with a libbpf that notes what it is asked for."""

from __future__ import annotations

import ctypes
import itertools
import os
from types import SimpleNamespace
from typing import Any

import pytest

from tracer.kernel import attach as attaching
from tracer.kernel.program_cache import CompiledPrograms, ProgramObject

EXIT = bytes([0x95]) + bytes(7)


class Libbpf:
    """Gives out descriptors. attached: names of programs in their order."""

    def __init__(self) -> None:
        self.attached: list[str] = []
        self._fds = itertools.count(100)
        self._names: dict[int, str] = {}

    def libbpf_set_print(self, _function: None) -> None:
        pass

    def bpf_prog_load(self, _kind: int, name: bytes, *_: object) -> int:
        fd = next(self._fds)
        self._names[fd] = name.decode()
        return fd

    def bpf_link_create(self, program: int, *_: object) -> int:
        return next(self._fds)

    def bpf_raw_tracepoint_open(self, _name: None, program: int) -> int:
        self.attached.append(self._names[program])
        return next(self._fds)


def test_each_probe_is_attached(monkeypatch: pytest.MonkeyPatch) -> None:
    libbpf = Libbpf()
    monkeypatch.setattr(ctypes, "CDLL", lambda *_args, **_options: libbpf)
    programs = tuple(ProgramObject(name, EXIT, ()) for name in attaching.PROGRAMS)
    btf: Any = SimpleNamespace(function=lambda _name: 1, tracepoint=lambda _name: 2)
    attaching.attach(CompiledPrograms((), programs), btf)
    assert libbpf.attached == [*attaching.PROBES, *attaching.CALLS, *attaching.KILLERS]


@pytest.mark.parametrize("refused", ["loaded", "attached"])
@pytest.mark.parametrize(("program", "field"), [("nstrace_execveat", "calls"), ("nstrace_oom", "killers")])
def test_a_kernel_without_an_optional_program_is_traced_all_the_same(
    refused: str, program: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of its group are not attached either."""

    class Older(Libbpf):
        def bpf_prog_load(self, kind: int, name: bytes, *rest: object) -> int:
            return -1 if refused == "loaded" and name == program.encode() else super().bpf_prog_load(kind, name)

        def bpf_raw_tracepoint_open(self, name: None, fd: int) -> int:
            link = super().bpf_raw_tracepoint_open(name, fd)
            return -1 if refused == "attached" and self.attached[-1] == program else link

    libbpf, closed = Older(), list[int]()
    monkeypatch.setattr(ctypes, "CDLL", lambda *_args, **_options: libbpf)
    monkeypatch.setattr(os, "close", closed.append)
    programs = tuple(ProgramObject(name, EXIT, ()) for name in attaching.PROGRAMS)
    btf: Any = SimpleNamespace(function=lambda _name: 1, tracepoint=lambda _name: 2)
    attached = attaching.attach(CompiledPrograms((), programs), btf)
    found = {"calls": len(attached.calls), "killers": len(attached.killers)}
    assert (found, len(attached.links)) == ({"calls": 2, "killers": 2} | {field: 0}, len(attaching.PROBES))
    assert len(closed) == (refused == "attached")


def test_what_reports_failed_execs_is_detached_where_nothing_notes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = list[int]()
    monkeypatch.setattr(os, "close", closed.append)
    count = len(attaching.PROBES)
    links, programs = (tuple(range(first, first + count)) for first in (100, 200))
    attached = attaching.Attached({}, 1, links, programs, (300, 301), (302, 303))
    assert attaching.without_idle(attached) is attached
    left = attaching.without_idle(attached._replace(calls=()))
    places = [list(attaching.PROBES).index(name) for name in attaching.REPORTERS]
    assert sorted(closed) == sorted([*(100 + place for place in places), *(200 + place for place in places)])
    assert left.links == tuple(fd for fd in attached.links if fd not in closed)
    assert left.programs == tuple(fd for fd in attached.programs if fd not in closed)
