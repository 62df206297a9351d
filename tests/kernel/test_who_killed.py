"""Who is said to have sent the signal that ended a process, held against the sender's own report of its PIDs.

The sender's PIDs are what the kernel tells of it over a socket (SCM_CREDENTIALS), the signal is what wait(2) reports.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from conftest import wait_for
from oracle import Pair, Receiver
from stack import Space, Stack, numbers_of_proc

from tracer.stream.metadata import Killer
from tracer.stream.schema import Kind
from tracer.system.syscalls import MACHINES

pytestmark = pytest.mark.kernel
PRELUDE = """
import ctypes, os, resource, signal, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def ready():
    print(flush=True)
    time.sleep(60)
"""


def killer_of(stack: Stack, tgid: int) -> Killer | None:
    """Who is said to have ended a process, whose exit has been read."""
    batch = stack.batch
    (at,) = np.flatnonzero((batch.rows["kind"] == Kind.EXIT) & (batch.rows["tgid"] == tgid)).tolist()
    raw = batch.payload(at).killer
    return msgspec.json.decode(raw, type=Killer) if raw else None


def python(code: str, **options: Any) -> subprocess.Popen[bytes]:
    """A process that runs this, when it has printed a line."""
    child: subprocess.Popen[bytes] = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options
    )
    assert child.stdout
    child.stdout.readline()
    return child


def sent(workload: Path, receiver: Receiver, how: str, number: int, to: int) -> Pair:
    """Let a process send a signal; its own report of itself."""
    count = len(receiver.pairs)
    subprocess.run([workload, "kill", receiver.path, how, str(int(number)), str(to)], check=True)
    return receiver.wait(count + 1)[-1]


def is_named(killer: Killer | None, pair: Pair, comm: str = "workload") -> bool:
    """Whether this is the sender, a process."""
    assert killer
    assert killer.proc_id
    assert killer.proc_id.startswith(f"{pair.host_tgid}-")
    found = Killer(pair.host_tgid, list(pair.nspid), comm, proc_id=killer.proc_id)
    assert killer == found
    return True


@pytest.mark.parametrize("how", ["process", "thread", "from-thread", "queue", "forged"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGRTMIN + 3, signal.SIGSEGV])
def test_however_it_is_sent_the_sender_is_named(how: str, number: int, workload: Path, receiver: Receiver) -> None:
    with Stack("host") as stack:
        target = python("ready()")
        pair = sent(workload, receiver, how, number, target.pid)
        assert target.wait() == -number
        stack.read(lambda: stack.has_exit_of(target.pid))
    assert is_named(killer_of(stack, target.pid), pair)
    assert stack.account.differences() == []


def test_each_of_a_group_names_who_has_killed_it(workload: Path, receiver: Receiver) -> None:
    with Stack("host") as stack:
        leader = python("ready()", process_group=0)
        group = [leader, *(python("ready()", process_group=leader.pid) for _ in range(3))]
        pair = sent(workload, receiver, "group", signal.SIGKILL, leader.pid)
        assert [target.wait() for target in group] == [-signal.SIGKILL] * len(group)
        stack.read(lambda: all(stack.has_exit_of(target.pid) for target in group))
    assert all(is_named(killer_of(stack, target.pid), pair) for target in group)


def test_whoever_writes_into_cgroup_kill_is_named() -> None:
    root = next(path for path in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")) if path.is_dir())
    group = root / f"nstrace-killers-{os.getpid()}"
    group.mkdir()
    try:
        if not (group / "cgroup.kill").exists():
            pytest.skip("this kernel has no cgroup.kill (Linux 5.14)")
        with Stack("host") as stack:
            targets = [python("ready()"), python("ready()")]
            for target in targets:
                (group / "cgroup.procs").write_text(str(target.pid))
            killer = subprocess.Popen(["sh", "-c", 'echo 1 >"$1"; exit 0', "sh", group / "cgroup.kill"])
            killer.wait()
            assert [target.wait() for target in targets] == [-signal.SIGKILL] * 2
            stack.read(lambda: all(stack.has_exit_of(target.pid) for target in targets))
        for target in targets:
            found = killer_of(stack, target.pid)
            assert found
            assert (found.pid, found.comm, found.kernel, found.reason) == (killer.pid, "sh", False, None)
    finally:
        group.rmdir()


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A cgroup with little memory, in which all are killed when that has run out, where there is memory.oom.group."""
    root = Path("/sys/fs/cgroup")
    is_v2 = "memory" in (root / "cgroup.controllers").read_text() if (root / "cgroup.controllers").exists() else False
    if is_v2:
        (root / "cgroup.subtree_control").write_text("+memory")
    group = (root if is_v2 else root / "memory") / f"nstrace-killers-{os.getpid()}"
    group.mkdir()
    (group / ("memory.max" if is_v2 else "memory.limit_in_bytes")).write_text(str(64 << 20))
    if is_v2:
        (group / "memory.oom.group").write_text("1")
    yield group
    wait_for(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


def test_memory_that_has_run_out_for_one_or_for_a_group(small_group: Path) -> None:
    """Named is who has asked for more."""
    with Stack("host") as stack:
        sleeper = python("ready()")
        eater = python(
            "open('/proc/self/oom_score_adj', 'w').write('1000'); print(flush=True); sys.stdin.readline(); all = []\n"
            "while True: all.append(b'x' * (1 << 20))",
            stdin=subprocess.PIPE,
        )
        for process in (sleeper, eater):
            (small_group / "cgroup.procs").write_text(str(process.pid))
        eater.communicate(b"\n")
        assert eater.returncode == -signal.SIGKILL
        is_group = (small_group / "memory.oom.group").exists()
        if not is_group:
            sleeper.kill()
        sleeper.wait()
        stack.read(lambda: stack.has_exit_of(eater.pid) and stack.has_exit_of(sleeper.pid))
    killers = [killer_of(stack, process.pid) for process in (eater, sleeper)]
    assert [(killer.pid, killer.reason) for killer in killers if killer] == [
        (eater.pid, "oom"),
        (eater.pid, "oom") if is_group else (os.getpid(), None),
    ]


@pytest.mark.parametrize("depth", [1, 2, 4, 20, 32])
def test_the_sender_has_all_its_numbers(depth: int, workload: Path, holding_receiver: Receiver) -> None:
    with Stack("all") as stack:
        nest = subprocess.Popen([workload, "nest-kill", str(depth), holding_receiver.path])
        pair = holding_receiver.wait(depth + 1)[-1]
        holding_receiver.release()
        assert nest.wait() == 0
        stack.read(lambda: stack.has_exit_of(pair.host_tgid))
    rows = stack.batch.rows
    killed = rows[(rows["kind"] == Kind.EXIT) & (rows["parent_tgid"] == pair.host_tgid)]
    assert killed["status"].tolist() == [signal.SIGKILL]
    assert len(pair.nspid) == depth + 1
    assert is_named(killer_of(stack, int(killed["tgid"][0])), pair)
    assert stack.account.differences() == []


def test_from_inside_from_outside_and_the_end_of_a_namespace(workload: Path, receiver: Receiver) -> None:
    """Three ends in one namespace: by one of its own, by the host, and because its first process has ended."""
    three = "sleep 60 & a=$!; sleep 60 & b=$!; sleep 60 & c=$!; echo $a $b $c"
    with Stack("all") as stack:
        space = Space("sh", "-c", f'{three}; read go; "$0" kill "$1" process 9 $a; wait', workload, receiver.path)
        by_own, by_host, by_end = (numbers_of_proc(space.inum)[int(nr)] for nr in space.line().split())
        space.go()
        (pair,) = receiver.wait(1)
        os.kill(by_host, signal.SIGTERM)
        stack.read(lambda: stack.has_exit_of(by_own) and stack.has_exit_of(by_host))
        os.kill(space.init, signal.SIGKILL)
        stack.read(lambda: stack.has_exit_of(by_end) and stack.has_exit_of(space.init))
        space.kill()
    assert is_named(killer_of(stack, by_own), pair)
    ourselves = killer_of(stack, by_host)
    assert ourselves
    assert (ourselves.pid, ourselves.pids, ourselves.kernel) == (os.getpid(), [os.getpid()], False)
    assert killer_of(stack, space.init) == ourselves
    ended = killer_of(stack, by_end)
    assert ended
    assert (ended.pid, ended.pids, ended.kernel, ended.reason) == (space.init, [space.init, 1], True, "pidns_ended")


ITSELF, NOBODY = "itself", None
OWN_ENDS = {
    "abort": ("os.abort()", signal.SIGABRT, ITSELF),
    "raise": ("os.kill(os.getpid(), 10)", signal.SIGUSR1, ITSELF),
    "pipe": (
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL); r, w = os.pipe(); os.close(r); os.write(w, b'x')",
        signal.SIGPIPE,
        ITSELF,
    ),
    "segfault": ("ctypes.string_at(0)", signal.SIGSEGV, "fault"),
    "bus": (
        "import mmap, tempfile; f = tempfile.TemporaryFile(); f.truncate(4096); m = mmap.mmap(f.fileno(), 4096);"
        "f.truncate(0); m[0]",
        signal.SIGBUS,
        "fault",
    ),
    "alarm": ("signal.setitimer(signal.ITIMER_REAL, 0.01); time.sleep(60)", signal.SIGALRM, "timer"),
    "profiling": ("signal.setitimer(signal.ITIMER_PROF, 0.01)\nwhile True: pass", signal.SIGPROF, "timer"),
    "timer": (  # timer_create(2): what it sends has a negative si_code
        "libc.timer_create(0, None, t := ctypes.create_string_buffer(8));"
        "libc.timer_settime(ctypes.c_void_p.from_buffer(t), 0, struct.pack('4q', 0, 0, 0, 10**7), None);"
        "time.sleep(60)",
        signal.SIGALRM,
        "timer",
    ),
    "cpu": (
        "resource.setrlimit(resource.RLIMIT_CPU, (1, 9))\nwhile True: pass",
        signal.SIGXCPU,
        "cpu_limit",
    ),
    "seccomp": ("libc.prctl(38, 1, 0, 0, 0); KILL()", signal.SIGSYS, "seccomp"),
    "exit": ("os._exit(3)", 0, NOBODY),
    "handled": (
        "signal.signal(15, lambda *_: os._exit(0)); os.kill(os.getpid(), 15); time.sleep(60)", 0, NOBODY,
    ),
    "sibling": (  # exit_group(2) by a thread ends the others without a signal
        "threading.Thread(target=lambda: os._exit(0)).start(); time.sleep(60)", 0, NOBODY,
    ),
}  # fmt: skip
SECCOMP = """
def KILL():
    # BPF_STMT(BPF_RET, SECCOMP_RET_KILL_PROCESS)
    code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x80000000))
    libc.prctl(22, 2, ctypes.create_string_buffer(struct.pack("HxxxxxxP", 1, ctypes.addressof(code))))
    os.getpid()
"""


@pytest.mark.parametrize("name", OWN_ENDS)
def test_what_ends_a_process_by_itself(name: str) -> None:
    code, number, who = OWN_ENDS[name]
    with Stack("host") as stack:
        child = python(f"{SECCOMP}\nprint(flush=True)\n{code}")
        assert child.wait() == -number or not number
        stack.read(lambda: stack.has_exit_of(child.pid))
    killer = killer_of(stack, child.pid)
    if who is NOBODY:
        assert killer is None
    elif who == ITSELF:
        assert killer
        assert (killer.pid, killer.kernel, killer.reason) == (child.pid, False, None)
    else:
        assert killer == Killer(kernel=True, reason=who)


def test_a_core_dump_has_its_killer(tmp_path: Path) -> None:
    with Stack("host") as stack:
        child = python("resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20)); ready()", cwd=tmp_path)
        os.kill(child.pid, signal.SIGQUIT)
        assert child.wait() == -signal.SIGQUIT
        stack.read(lambda: stack.has_exit_of(child.pid))
    killer = killer_of(stack, child.pid)
    assert killer
    assert killer.pid == os.getpid()


def test_the_parent_that_ends() -> None:
    """prctl(PR_SET_PDEATHSIG): named is the parent, which sent nothing itself."""
    code = "os.fork() or (libc.prctl(1, 15), print(os.getpid(), flush=True)); time.sleep(60)"
    with Stack("host") as stack:
        parent = subprocess.Popen([sys.executable, "-c", PRELUDE + code], stdout=subprocess.PIPE)
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        stack.read(lambda: stack.has_exit_of(child))
    killer = killer_of(stack, child)
    assert killer
    assert (killer.pid, killer.kernel, killer.reason) == (parent.pid, True, "parent_ended")


def test_the_thread_that_forked_it_ends_and_the_parent_lives_on() -> None:
    code = """
def fork():
    global child
    child = os.fork()
    if not child:
        libc.prctl(1, 15)
        os.write(w, b"x")
        time.sleep(60)
    os.read(r, 1)
r, w = os.pipe()
thread = threading.Thread(target=fork); thread.start(); thread.join()
assert os.waitpid(child, 0)[1] == 15
print(child, flush=True); time.sleep(60)
"""
    with Stack("host") as stack:
        parent = subprocess.Popen([sys.executable, "-c", PRELUDE + code], stdout=subprocess.PIPE)
        assert parent.stdout
        child = int(parent.stdout.readline())
        stack.read(lambda: stack.has_exit_of(child))
        parent.kill()
        parent.wait()
    killer = killer_of(stack, child)
    assert killer
    assert (killer.pid, killer.kernel, killer.reason) == (parent.pid, True, "parent_thread_ended")


def stat_of(tgid: int) -> str:
    return Path(f"/proc/{tgid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_stopped_group_that_is_orphaned_has_no_terminal() -> None:
    code = """
os.setsid()
child = os.fork()
if not child:
    os.setpgid(0, 0)
    print(os.getpid(), flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)
os.waitpid(child, os.WUNTRACED)
sys.stdin.readline()
"""
    with Stack("host") as stack:
        leader = subprocess.Popen([sys.executable, "-c", PRELUDE + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert leader.stdout
        child = int(leader.stdout.readline())
        wait_for(lambda: stat_of(child) == "T")
        leader.communicate(b"\n")
        stack.read(lambda: stack.has_exit_of(child))
        rows = stack.batch.rows
    (status,) = rows["status"][(rows["kind"] == Kind.EXIT) & (rows["tgid"] == child)].tolist()
    assert status == signal.SIGHUP
    assert killer_of(stack, child) == Killer(kernel=True)


CALLS = {"RT_SIGQUEUEINFO": (129, 138), "RT_TGSIGQUEUEINFO": (297, 240), "CLONE": (56, 220)}
MADE_UP = """
def queue(call, *ids, code=1):
    info = struct.pack("iii", signal.SIGINT, 0, code).ljust(128, b"\\0")
    libc.syscall(call, *ids, signal.SIGINT, info)
"""
NO_TERMINAL = {
    "queued to itself": (f"{MADE_UP}queue({{RT_SIGQUEUEINFO}}, os.getpid()); time.sleep(60)", None),
    "queued to its own thread": (
        f"{MADE_UP}queue({{RT_TGSIGQUEUEINFO}}, os.getpid(), threading.get_native_id()); time.sleep(60)", None,
    ),
    "for I/O": (
        "import fcntl, socket\n"
        "a, b = socket.socketpair()\n"
        "fcntl.fcntl(a, fcntl.F_SETOWN, os.getpid()); fcntl.fcntl(a, 10, signal.SIGINT)\n"  # F_SETSIG
        "fcntl.fcntl(a, fcntl.F_SETFL, os.O_ASYNC)\n"
        "os.fork() or (b.send(b'x'), os._exit(0))\n"
        "time.sleep(60)",
        Killer(kernel=True),
    ),
    "the exit signal of a child": (
        "libc.syscall({CLONE}, signal.SIGINT, 0, 0, 0, 0) or os._exit(0)\ntime.sleep(60)", Killer(kernel=True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", NO_TERMINAL)
def test_a_signal_of_terminals_without_one(how: str) -> None:
    code, who = NO_TERMINAL[how]
    for name, numbers in CALLS.items():
        code = code.replace(f"{{{name}}}", str(numbers[MACHINES.index(os.uname().machine)]))
    with Stack("host") as stack:
        child = python(f"signal.signal(signal.SIGINT, signal.SIG_DFL)\nprint(flush=True)\n{code}")
        assert child.wait() == -signal.SIGINT
        stack.read(lambda: stack.has_exit_of(child.pid))
    assert killer_of(stack, child.pid) == who


PTRACE_KILL, PTRACE_SEIZE, PTRACE_O_EXITKILL = 8, 0x4206, 1 << 20


@pytest.mark.parametrize("way", ["kill", "exit"])
def test_a_tracer_kills(way: str) -> None:
    code = f"""
child = int(sys.stdin.readline())
assert not libc.ptrace({PTRACE_SEIZE}, child, None, ctypes.c_void_p({PTRACE_O_EXITKILL}))
if {way == "kill"}:
    assert not libc.ptrace({PTRACE_KILL}, child, None, None)
    os.waitpid(child, 0x40000000)
"""
    with Stack("host") as stack:
        child = python("libc.prctl(0x59616d61, -1); ready()")  # PR_SET_PTRACER
        tracer = subprocess.Popen([sys.executable, "-c", PRELUDE + code], stdin=subprocess.PIPE)
        tracer.communicate(b"%d\n" % child.pid)
        assert (tracer.returncode, child.wait()) == (0, -signal.SIGKILL)
        stack.read(lambda: stack.has_exit_of(child.pid))
    killer = killer_of(stack, child.pid)
    assert killer
    assert (killer.pid, killer.kernel) == ((tracer.pid, False) if way == "kill" else (None, True))


def test_a_key_on_the_terminal() -> None:
    with Stack("host") as stack:
        child, terminal = pty.fork()
        if not child:
            os.execvp("sleep", ["sleep", "60"])
        stack.read(lambda: (stack.batch.rows["tgid"][stack.batch.rows["kind"] == Kind.EXEC] == child).any())
        os.write(terminal, b"\x03")
        assert os.waitpid(child, 0)[1] == signal.SIGINT
        os.close(terminal)
        stack.read(lambda: stack.has_exit_of(child))
    assert killer_of(stack, child) == Killer(kernel=True, reason="terminal")


def test_the_signal_that_has_ended_it_is_the_one_that_counts(workload: Path, receiver: Receiver) -> None:
    """One is blocked, and another process sends the one that cannot be."""
    with Stack("host") as stack:
        target = python("signal.pthread_sigmask(signal.SIG_BLOCK, {15}); ready()")
        sent(workload, receiver, "process", signal.SIGTERM, target.pid)
        second = sent(workload, receiver, "process", signal.SIGKILL, target.pid)
        sent(workload, receiver, "process", signal.SIGKILL, target.pid)
        assert target.wait() == -signal.SIGKILL
        stack.read(lambda: stack.has_exit_of(target.pid))
    assert is_named(killer_of(stack, target.pid), second)


def blocking(number: int) -> subprocess.Popen[bytes]:
    """A process that blocks a signal until it is sent a line."""
    block, unblock = (
        f"signal.pthread_sigmask(signal.{how}, {{{int(number)}}})" for how in ("SIG_BLOCK", "SIG_UNBLOCK")
    )
    return python(f"{block}; print(flush=True); sys.stdin.readline(); {unblock}", stdin=subprocess.PIPE)


def test_of_two_at_once_the_first_is_named(workload: Path, receiver: Receiver) -> None:
    """Of one signal that is pending the kernel drops the second."""
    with Stack("host") as stack:
        target = blocking(signal.SIGTERM)
        first = sent(workload, receiver, "process", signal.SIGTERM, target.pid)
        sent(workload, receiver, "process", signal.SIGTERM, target.pid)
        target.communicate(b"\n")
        assert target.returncode == -signal.SIGTERM
        stack.read(lambda: stack.has_exit_of(target.pid))
    assert is_named(killer_of(stack, target.pid), first)


@pytest.mark.parametrize(("ways", "number"), [(("process", "thread"), 15), (("queue", "queue"), signal.SIGRTMIN)])
def test_nobody_is_named_where_it_is_not_known_whose_was_taken(
    ways: tuple[str, str], number: int, workload: Path, receiver: Receiver
) -> None:
    """Both are pending: one to the process and one to its thread, or two that queue."""
    with Stack("host") as stack:
        target = blocking(number)
        for how in ways:
            sent(workload, receiver, how, number, target.pid)
        target.communicate(b"\n")
        assert target.returncode == -number
        stack.read(lambda: stack.has_exit_of(target.pid))
    assert killer_of(stack, target.pid) is None


def test_nobody_is_named_where_another_was_taken_since(workload: Path, receiver: Receiver) -> None:
    """One is pending to a thread and one to the process; that one is taken, and a third one comes."""
    code = """
signal.pthread_sigmask(signal.SIG_BLOCK, {10})
def take():
    sys.stdin.readline()
    signal.sigwait({10})
    print(flush=True)
    time.sleep(60)
threading.Thread(target=take, daemon=True).start()
print(flush=True)
time.sleep(0)
while not go: time.sleep(0.01)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {10})
"""
    code = "go = []\nsignal.signal(signal.SIGTERM, lambda *_: go.append(1))\n" + code
    with Stack("host") as stack:
        target = python(code, stdin=subprocess.PIPE)
        assert target.stdin
        assert target.stdout
        for how in ("thread", "process"):
            sent(workload, receiver, how, signal.SIGUSR1, target.pid)
        target.stdin.write(b"\n")
        target.stdin.flush()
        target.stdout.readline()
        sent(workload, receiver, "process", signal.SIGUSR1, target.pid)
        os.kill(target.pid, signal.SIGTERM)
        assert target.wait() == -signal.SIGUSR1
        stack.read(lambda: stack.has_exit_of(target.pid))
    assert killer_of(stack, target.pid) is None


def test_two_killers_in_a_race_and_the_one_whose_signal_it_was(workload: Path, receiver: Receiver) -> None:
    with Stack("host") as stack:
        ends = []
        for _ in range(30):
            target = python("ready()")
            shells = {number: ["sh", "-c", f"kill -{number} {target.pid}; exit 0"] for number in (9, 15, 3)}
            killers = {number: subprocess.Popen(argv) for number, argv in shells.items()}
            for killer in killers.values():
                killer.wait()
            ends.append((target.pid, killers[-target.wait()].pid))
        stack.read(lambda: all(stack.has_exit_of(pid) for pid, _killer in ends))
    found = [killer_of(stack, pid) for pid, _killer in ends]
    assert [killer and killer.pid for killer in found] == [killer for _pid, killer in ends]
