"""Living processes in nested PID namespaces, held against what each says of itself; with and without the ioctls."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from conftest import wait_for
from oracle import pidns_inum

from tracer.errors import NstraceError
from tracer.host import nsfs, procfs
from tracer.host.lookup import Lookup
from tracer.host.numbers import ToContainer, ToHost
from tracer.host.processes import Host
from tracer.host.translation import translate
from tracer.stream.pidns import PidnsId
from tracer.typed.processes import parse_proc

pytestmark = pytest.mark.kernel

DEEPEST = 32


def host() -> Host:
    return Host(lambda _id: None)


@pytest.fixture(params=["all ioctls", "no ns_id", "none before 6.11"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the kernel offers; older ones are played."""

    def not_translated(_fd: int, _nr: int) -> int:
        raise nsfs.NotTranslated

    if request.param != "all ioctls":
        monkeypatch.setattr(nsfs, "ns_id", lambda _fd: None)
    if request.param == "none before 6.11":
        monkeypatch.setattr(nsfs, "host_tgid", not_translated)
        monkeypatch.setattr(nsfs, "host_tid", not_translated)
    return str(request.param)


@contextlib.contextmanager
def nested(depth: int, script: str = "") -> Iterator[tuple[int, int]]:
    """A shell below `depth` namespaces: its host PID, and its number as it says itself."""
    argv = ["unshare", "--fork", "--pid", "--kill-child"] * depth + ["sh", "-c", f"{script} echo $$; read line; exit 0"]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout
    said = int(child.stdout.readline())
    tgid = child.pid
    for _ in range(depth):
        tgid = int(Path(f"/proc/{tgid}/task/{tgid}/children").read_text().split()[0])
    try:
        yield tgid, said
    finally:
        child.communicate(b"\n")


@pytest.mark.parametrize("depth", [1, 2, DEEPEST])
def test_every_number_with_its_namespace(depth: int, kernel: str) -> None:
    with nested(depth) as (tgid, said):
        found = host().process(tgid)
        assert found is not None and found.chain is not None
        assert (found.numbers[0], found.numbers[-1], found.level) == (tgid, said, depth)
        assert tuple(number.nr for number in found.chain) == found.numbers
        assert len({number.pidns for number in found.chain}) == depth + 1
        around = tgid
        for number in reversed(found.chain):  # each level's first process is the parent of the next level's
            assert Path(f"/proc/{around}/ns/pid").stat().st_ino == number.pidns.inum
            around = int(Path(f"/proc/{around}/stat").read_text().rsplit(") ")[1].split()[1])


@pytest.mark.parametrize("depth", [1, 3])
def test_back_from_every_level(depth: int, kernel: str) -> None:
    with nested(depth) as (tgid, _said):
        found = host().process(tgid)
        assert found is not None and found.chain is not None
        with procfs.opened_pidns(tgid) as fd, nsfs.ancestry(fd) as fds:
            for around, number in zip(fds, reversed(found.chain), strict=False):
                inside = host().inside(around, number.nr)
                assert inside is not None and inside.chain == found.chain
                assert host().inside(around, 4_000_000) is None


def test_a_thread_number_inside_leads_to_its_process() -> None:
    code = "import threading,time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    program = f"import os;{code};print(os.listdir('/proc/self/task')[-1], flush=True); input()"
    argv = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child", "/usr/bin/python3", "-c", program]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout
    thread = int(child.stdout.readline())
    tgid = int(Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text())
    assert thread > 1
    with procfs.opened_pidns(tgid) as fd:
        found = host().inside(fd, thread)
    child.communicate(b"\n")
    assert found is not None
    assert found.numbers == (tgid, 1)


def test_a_stream_of_host_pids_is_never_told_who_was_there_before() -> None:
    numbers = ToContainer(host())
    with nested(1) as (tgid, _said):
        inum = Path(f"/proc/{tgid}/ns/pid").stat().st_ino
        assert numbers(tgid) == numbers(tgid) == b"pidns:%d/1" % inum
        assert numbers(os.getpid()) is None
    assert numbers(tgid) is None
    for _ in range(200):  # others take numbers too
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(tgid - 1))
        other = subprocess.Popen(["/bin/sleep", "600"])
        given_again = other.pid == tgid
        answer = numbers(other.pid)
        other.kill()
        other.wait()
        assert answer is None
        if given_again:
            break
    else:
        pytest.fail("the number was not to be had again")
    numbers.close()


def test_a_stream_of_numbers_inside(kernel: str) -> None:
    script = "i=0; while [ $i -lt 20 ]; do sleep 600 & i=$((i+1)); done;"
    with nested(2, script) as (tgid, _said):
        numbers = ToHost(host(), lambda: procfs.opened_pidns(tgid), b"host:")
        children = Path(f"/proc/{tgid}/task/{tgid}/children").read_text().split()
        for child in map(int, children):
            found = host().process(child)
            assert found is not None
            assert numbers(found.numbers[-1]) == b"host:%d" % child
            os.kill(child, signal.SIGKILL)
            wait_for(partial(is_over, child))
        assert len(children) == 20
        assert numbers(4_000_000) is None
        numbers.close()


def test_an_inode_number_that_was_used_before_is_another_namespace(kernel: str) -> None:
    seen: set[PidnsId] = set()
    knows = host()
    rounds = 0
    while len({pidns.inum for pidns in seen}) == len(seen):  # until one has come back
        rounds += 1
        assert rounds < 50, "no inode number was used again"
        with nested(1) as (tgid, _said):
            found = knows.process(tgid)
            assert found is not None and found.chain is not None
            assert found.chain[-1].pidns not in seen
            seen.add(found.chain[-1].pidns)
        if kernel != "all ioctls":
            wait_a_tick()


def is_over(tgid: int) -> bool:
    return not Path(f"/proc/{tgid}/exe").exists()


def wait_a_tick() -> None:
    """Start times in /proc are ticks: namespaces that began in one and have one inode number cannot be told apart."""
    before = os.times().elapsed
    while os.times().elapsed - before < 0.02:
        pass


def translated(proc: str) -> object:
    return translate(Lookup(), parse_proc(proc))


def as_nobody(ask: Callable[[], object]) -> str:
    """What a process without privileges is told, or why it is not."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        try:
            answer = repr(ask())
        except NstraceError as error:
            answer = f"{error.exit_code.name}: {error.message}"
        except BaseException as error:
            answer = repr(error)
        os.write(writer, answer.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as file:
        return file.read()


def test_without_privileges_what_can_be_told_is() -> None:
    with nested(2) as (tgid, _said):
        found = host().process(tgid)
        assert found is not None
        translation = as_nobody(lambda: translate(Lookup(), parse_proc(str(tgid))).entry.numbers)
        assert translation == repr(found.numbers)
        assert as_nobody(lambda: translate(Lookup(), parse_proc(str(tgid))).entry.chain) == "None"
        for proc in (f"pid:{tgid}/1", f"pidns:{pidns_inum(tgid)}/1"):
            said = as_nobody(partial(translated, proc))
            assert said.startswith("NOT_PERMITTED: ")
        assert as_nobody(lambda: ToContainer(host())(tgid)) == "None"  # whose it is cannot be told


def test_a_sibling_namespace_is_another(kernel: str) -> None:
    with nested(1) as (first, _), nested(1) as (second, _):
        knows = host()
        one, other = knows.process(first), knows.process(second)
        assert one and other and one.chain and other.chain
        assert one.chain[-1].pidns != other.chain[-1].pidns
        with procfs.opened_pidns(first) as fd:
            inside = knows.inside(fd, 1)
        assert inside and inside.chain == one.chain
