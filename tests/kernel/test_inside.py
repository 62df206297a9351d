"""The view from inside of a namespace that is entered, against what /proc says from outside."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT, wait_for
from oracle import nspid
from stack import Space

from tracer.host import procfs
from tracer.kernel.inside import Lookout, numbers_inside
from tracer.system.privileges import FIRST_UID

pytestmark = pytest.mark.kernel


def children(tgid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{tgid}/task/{tgid}/children").read_text().split()]


@pytest.fixture
def first() -> Iterator[int]:
    """The host PID of number 1 in a namespace with a few processes, one of them a zombie."""
    script = "sleep 600 & sleep 600 & true & exec sleep 600"
    started = subprocess.Popen(["unshare", "--fork", "--pid", "--kill-child", "sh", "-c", script])
    wait_for(lambda: bool(children(started.pid)) and len(children(children(started.pid)[0])) == 3)
    yield children(started.pid)[0]
    started.kill()
    started.wait()


def test_all_numbers_and_no_trace_left(first: int) -> None:
    with procfs.opened_pidns(first) as fd:
        told = numbers_inside(fd, 1)
    assert told == {tgid: nspid(tgid)[-1] for tgid in (first, *children(first))}
    assert len(told) == 4
    assert os.getpid() == int(Path("/proc/self").readlink().name)  # our own mounts are as they were


def test_the_hosts_own_namespace() -> None:
    with procfs.opened_pidns(os.getpid()) as fd:
        told = numbers_inside(fd, os.getpid())
    assert told[os.getpid()] == os.getpid()
    assert all(tgid == nr for tgid, nr in told.items())


def test_later_children_are_born_outside(first: int) -> None:
    with procfs.opened_pidns(first) as fd:
        numbers_inside(fd, 1)
    child = subprocess.Popen(["sleep", "600"])
    assert nspid(child.pid) == [child.pid]
    child.kill()
    child.wait()


@contextmanager
def ended(space: Space) -> Iterator[Space]:
    """The namespace, ended afterwards."""
    try:
        yield space
    finally:
        space.kill()


def test_nothing_is_left_behind(first: int) -> None:
    before = children(os.getpid()), len(list(Path("/proc/self/fd").iterdir()))
    with procfs.opened_pidns(first) as fd:
        numbers_inside(fd, 1)
    assert (children(os.getpid()), len(list(Path("/proc/self/fd").iterdir()))) == before


def test_threads_are_no_processes() -> None:
    code = "import threading, time; threading.Thread(target=time.sleep, args=(600,)).start(); time.sleep(600)"
    with ended(Space(sys.executable, "-c", code)) as space, procfs.opened_pidns(space.init) as fd:
        wait_for(lambda: len(list(Path(f"/proc/{space.init}/task").iterdir())) == 2)
        assert numbers_inside(fd, 1) == {space.init: 1}


def test_numbers_from_before_they_began_anew() -> None:
    last = "/proc/sys/kernel/ns_last_pid"
    script = f"echo 4999 >{last}; sleep 600 & echo 10 >{last}; echo done; wait"
    with ended(Space("sh", "-c", script)) as space, procfs.opened_pidns(space.init) as fd:
        assert space.line() == b"done\n"
        (child,) = children(space.init)
        assert nspid(child)[-1] == 5000
        assert numbers_inside(fd, 5000) == {space.init: 1, child: 5000}


def test_without_the_usual_descriptors(first: int) -> None:
    code = (
        "import os, sys; from tracer.kernel.inside import numbers_inside\n"
        f"out, fd = os.dup(1), os.open('/proc/{first}/ns/pid', os.O_RDONLY)\n"
        "for usual in range(3): os.close(usual)\n"
        "os.write(out, str(len(numbers_inside(fd, 1))).encode())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT).stdout == b"4"


def test_a_namespace_that_has_ended(first: int) -> None:
    with procfs.opened_pidns(first) as fd:
        os.kill(first, 9)
        wait_for(lambda: not nspid(first))
        with pytest.raises(ProcessLookupError):
            numbers_inside(fd, 1)


@pytest.fixture
def looking(first: int) -> Iterator[int]:
    """The host PID of a child that looks around, and waits to be read."""
    with procfs.opened_pidns(first) as fd, Lookout(fd, 0):
        wait_for(lambda: any(is_inside(child) for child in children(os.getpid())))
        yield next(child for child in children(os.getpid()) if is_inside(child))


def is_inside(tgid: int) -> bool:
    """Whether it has been born in the namespace, and stands still."""
    return len(nspid(tgid)) == 2 and Path(f"/proc/{tgid}/stat").read_text().rpartition(") ")[2].startswith("S")


def status(tgid: int) -> dict[str, str]:
    lines = (line.split(":", 1) for line in Path(f"/proc/{tgid}/status").read_text().splitlines())
    return {name: value.strip() for name, value in lines}


def test_who_is_inside_may_do_nothing(looking: int) -> None:
    seen = status(looking)
    (uid,), (gid,) = set(seen["Uid"].split()), set(seen["Gid"].split())
    assert int(uid) == int(gid) >= FIRST_UID and seen["Groups"] == ""
    assert {int(seen[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    assert (seen["NoNewPrivs"], seen["Seccomp"]) == ("1", "2")
    assert Path(f"/proc/{looking}/mem").stat().st_uid == 0  # undumpable: its memory is not its own


def test_who_is_inside_has_nothing(looking: int) -> None:
    own = Path(f"/proc/{looking}")
    assert [fd.readlink().name.partition(":")[0] for fd in sorted(own.joinpath("fd").iterdir())] == [
        "socket",
        "anon_inode",
    ]
    assert list(own.joinpath("root").iterdir()) == list(own.joinpath("cwd").iterdir()) == []
    assert os.statvfs(own / "root").f_flag & os.ST_RDONLY
    assert len(own.joinpath("mountinfo").read_text().splitlines()) == 1
    namespaces = {link.name for link in own.joinpath("ns").iterdir()}
    ours = {name for name in namespaces if (own / "ns" / name).samefile(f"/proc/self/ns/{name}")}
    assert ours <= {"user", "time", "time_for_children"} < namespaces
    mapped = {line.split(maxsplit=5)[-1] for line in own.joinpath("maps").read_text().splitlines()}
    assert {name for name in mapped if name[0] != "["} == {"/memfd:nstrace (deleted)"}
    assert own.joinpath("environ").read_bytes() == b""


# Looks into a namespace, goes where its child's mount namespace begins, and prints what is there.
ENTER = """
import ctypes, os, sys, time
from pathlib import Path
from oracle import nspid
from tracer.kernel.inside import Lookout
fd = os.open(f"/proc/{sys.argv[1]}/ns/pid", os.O_RDONLY)
children = Path(f"/proc/self/task/{os.getpid()}/children")
with Lookout(fd, 0):
    while not (inside := [child for child in children.read_text().split() if len(nspid(int(child))) == 2]):
        time.sleep(0.01)
    mounts = os.open(f"/proc/{inside[0]}/ns/mnt", os.O_RDONLY)
    assert ctypes.CDLL(None).setns(mounts, 0x00020000) == 0
    print(os.listdir("/"), len(os.listdir("/..")))
"""


@pytest.mark.parametrize("where", [[], ["chroot"]], ids=["at the root", "in a chroot"])
def test_its_mount_namespace_is_empty(where: list[str], first: int, tmp_path: Path) -> None:
    if where:
        script = 'mount --rbind / "$0" && exec chroot "$0" "$@"'
        where = ["unshare", "--mount", "sh", "-c", script, str(tmp_path)]
    argv = [*where, sys.executable, "-c", ENTER, str(first)]
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/tests"}
    done = subprocess.run(argv, capture_output=True, text=True, env=env)
    assert done.stdout == "[] 0\n", done.stderr


def test_its_program_cannot_be_changed(looking: int) -> None:
    with pytest.raises(OSError) as refused:
        Path(f"/proc/{looking}/exe").write_bytes(b"")
    assert refused.value.errno in (errno.ETXTBSY, errno.EPERM)


def test_its_own_user_may_not_trace_it(looking: int) -> None:
    uid = int(status(looking)["Uid"].split()[0])
    code = f"import ctypes, os; libc = ctypes.CDLL(None, use_errno=True); os.setresuid({uid}, {uid}, {uid})\n"
    code += f"print(libc.ptrace(16, {looking}, 0, 0), ctypes.get_errno())"  # PTRACE_ATTACH
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["-1", str(errno.EPERM)]
