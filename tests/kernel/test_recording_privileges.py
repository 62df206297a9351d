"""Root gives its privileges up before it reads a recording, and needs nothing any more that only root may read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from builders import PIDNS, WEB, batch, cgroup, fork, row
from conftest import ROOT
from recordings import record, storm

from tracer.stream.batch import Batch
from tracer.stream.schema import Kind
from tracer.system.privileges import FIRST_UID

pytestmark = pytest.mark.kernel
ENV = {name: os.environ[name] for name in ("PATH", "PYTHONWARNINGS")} | {"LANG": "C.UTF-8"}

# In a mount namespace of its own, folders that only root may enter take the places of those that are given, up to --,
# with the same folders in them. Then the command behind -- is run.
CLOSED = """
hold=$1
shift
while [ "$1" != -- ]; do
    mount --bind "$1" "$hold"
    mount -t tmpfs -o mode=0700 closed "$1"
    for folder in $(cd "$hold" && find . -mindepth 1 -maxdepth 1 -type d); do
        mkdir "$1/$folder"
        mount --bind "$hold/$folder" "$1/$folder"
    done
    shift
done
shift
exec "$@"
"""


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A folder of root's alone, with a recording in it."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    (tmp_path / "hold").mkdir()
    inside = [(PIDNS, 900)]
    living = batch(
        cgroup(7, WEB),
        row(Kind.SNAPSHOT, 500, [(PIDNS, 1)], cgroup_id=7, exe=b"/bin/init", args=[b"init"], parent_tgid=0),
        fork(501, inside, cgroup_id=7, parent_tgid=500, comm=b"\xf0\x9f\x90\xb3"),
        row(Kind.EXEC, 501, inside, cgroup_id=7, exe=b"/bin/sh", args=["é日".encode(), b"\xff"], parent_tgid=500),
    )
    record(folder / "web.arrows", [Batch.concat([living, storm(2, 10)]), storm(12, 10)])
    return folder


def python(private: Path, code: str, *args: str) -> list[str]:
    """A command line that runs code where only root may enter the checkout, and its packages wherever they are."""
    prefix = Path(sys.prefix)
    folders = [ROOT] if prefix.is_relative_to(ROOT) else [ROOT, prefix]
    closed = ["unshare", "--mount", "sh", "-euc", CLOSED, "sh", private.with_name("hold"), *folders, "--"]
    return [*map(str, closed), sys.executable, "-c", code, *args]


def nstrace(private: Path, *args: str) -> list[str]:
    """As `python`: the command."""
    return python(private, "from tracer.cli import main; main()", *args)


def run(private: Path, *args: str, exit_code: int = 0, **environment: str) -> str:
    """What the command prints."""
    env = ENV | environment
    done = subprocess.run(nstrace(private, *args), capture_output=True, text=True, env=env, cwd=private)
    assert done.returncode == exit_code, done.stderr
    assert "unexpected" not in done.stderr
    return done.stdout


def test_others_may_not_enter_the_checkout(private: Path) -> None:
    code = "import os; os.setresuid(65534, 65534, 65534); import tracer.cli"
    done = subprocess.run(python(private, code), capture_output=True, text=True, env=ENV, cwd=private)
    assert "No module named 'tracer'" in done.stderr


# User 1234 makes himself the root of a user namespace, drops his privileges, and says who he is then.
ALONE = """
import ctypes, os
from pathlib import Path
from tracer.system.privileges import drop
os.setresgid(1234, 1234, 1234)
os.setresuid(1234, 1234, 1234)
ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: /proc/self is ours to write again
assert ctypes.CDLL(None).unshare(0x10000000) == 0  # CLONE_NEWUSER
for name, text in (("setgroups", "deny"), ("uid_map", "0 1234 1"), ("gid_map", "0 1234 1")):
    Path(f"/proc/self/{name}").write_text(text)
drop()
capabilities = Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0]
print(os.geteuid(), os.getegid(), capabilities)
"""

NO_CALLER = [("0", "0"), ("-1", "-1"), ("1234", "4294967295"), ("99999999999", "99999999999")]  # SUDO_UID, SUDO_GID


def status(folder: Path) -> dict[str, str]:
    """Of a process or thread."""
    lines = (folder / "status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


@contextmanager
def replaying(private: Path, **environment: str) -> Iterator[list[dict[str, str]]]:
    """The status of each thread of a replay that has parsed its first batch; its end is looked at afterwards."""
    data = (private / "web.arrows").read_bytes()
    replay = subprocess.Popen(
        nstrace(private, "replay", "--json", "-"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENV | environment,
        cwd=private,
        bufsize=0,
    )
    assert replay.stdin and replay.stdout
    replay.stdin.write(data[:-3000])
    replay.stdin.flush()
    assert replay.stdout.readline().startswith(b'{"time":')
    yield [status(thread) for thread in Path(f"/proc/{replay.pid}/task").iterdir()]
    assert len(replay.communicate(data[-3000:])[0].splitlines()) == 62
    assert replay.returncode == 0


@pytest.mark.parametrize(("uid", "gid"), [("1234", "2345"), *NO_CALLER], ids=str)
def test_replay_runs_as_a_user_that_nobody_else_is(uid: str, gid: str, private: Path) -> None:
    with replaying(private, SUDO_UID=uid, SUDO_GID=gid) as threads:
        own = str(FIRST_UID + int(threads[0]["Pid"]))
        for thread in threads:
            assert thread["Uid"].split() == thread["Gid"].split() == [own] * 4


# A replay in a user namespace that has only the first 65 536 users.
FEW_USERS = """
import ctypes, os
from tracer.system.privileges import drop
ready, gate = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    ctypes.CDLL(None).unshare(0x10000000)  # CLONE_NEWUSER
    os.write(ready[1], b".")
    os.read(gate[0], 1)
    drop()
    print(os.geteuid(), os.getegid(), flush=True)
    os._exit(0)
os.read(ready[0], 1)
for name in ("uid_map", "gid_map"):
    open(f"/proc/{child}/{name}", "w").write("0 0 65536")
os.write(gate[1], b".")
os.waitpid(child, 0)
"""


def test_where_there_are_few_users_it_is_nobody(private: Path) -> None:
    done = subprocess.run(python(private, FEW_USERS), capture_output=True, text=True, env=ENV, cwd=private)
    assert done.stdout.split() == ["65534", "65534"], done.stderr


def test_no_thread_of_a_replay_can_gain_anything(private: Path) -> None:
    with replaying(private) as threads:
        for thread in threads:
            assert thread["Groups"] == ""
            assert {int(thread[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {0}
            assert (thread["NoNewPrivs"], thread["Seccomp"]) == ("1", "2")
        assert int(threads[0]["CapBnd"], 16) == 0


@pytest.mark.parametrize(
    "call",
    [
        "os.execv('/bin/true', ['true'])",
        "os.open('/etc/shadow', 0, dir_fd=proc)",
        "os.open('a', os.O_WRONLY | os.O_CREAT, dir_fd=temporary)",
        "os.mkdir('a', dir_fd=temporary)",
        "os.kill(1, 0)",
        "os.kill(os.getppid(), 0)",
        "os.fork()",
        "call('syscall', 321 if os.uname().machine == 'x86_64' else 280, 0, 0, 0)",
        "call('ptrace', 16, os.getppid(), 0, 0)",
        "socket.socket()",
        "socket.socketpair()",
        "os.memfd_create('x')",
        "call('unshare', 0x10000000)",
        "call('setns', mnt, 0)",
    ],
)
def test_a_reader_executes_and_connects_to_nothing(call: str, private: Path) -> None:
    code = f"""
import os, socket
from tracer.system.libc import call
from tracer.system.privileges import drop
proc, temporary, mnt = (os.open(name, os.O_RDONLY) for name in ("/proc", "/tmp", "/proc/self/ns/mnt"))
drop()
try:
    {call}
except PermissionError:
    print("refused")
"""
    done = subprocess.run(python(private, code), capture_output=True, text=True, env=ENV, cwd=private)
    assert done.stdout == "refused\n", done.stderr


def test_a_reader_sees_no_file(private: Path) -> None:
    code = """
import os
from tracer.system.privileges import drop
drop()
print([name for name in ("/etc/passwd", "/tmp", "../tmp", "/proc/self/status") if os.path.exists(name)])
"""
    done = subprocess.run(python(private, code), capture_output=True, text=True, env=ENV, cwd=private)
    assert done.stdout == "[]\n", done.stderr


def test_a_reader_makes_no_thread(private: Path) -> None:
    code = """
import os, resource, threading
from tracer.system.privileges import drop
drop()
print(resource.getrlimit(resource.RLIMIT_NPROC))
try:
    threading.Thread(target=print).start()
except RuntimeError:
    print("refused")
"""
    done = subprocess.run(python(private, code), capture_output=True, text=True, env=ENV, cwd=private)
    assert done.stdout == "(0, 0)\nrefused\n", done.stderr


# As a user who is not root and may read all files all the same.
CAPABLE = [
    *("setpriv", "--reuid=1234", "--regid=1234", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
]
THEN_DROP = "from tracer.system.privileges import drop; drop(); print('reads')"


def test_a_user_with_capabilities_keeps_none_in_any_thread(private: Path) -> None:
    code = """
from pathlib import Path
from tracer import cli
from tracer.system import privileges
forbid, own = privileges._forbid, Path("/proc/self/task")
def look(instructions):
    forbid(instructions)
    for status in own.glob("*/status"):
        print(status.read_text().split("CapPrm:")[1].split()[0], flush=True)
privileges._forbid = look
cli.main(["replay", "web.arrows"])
"""
    argv = [*CAPABLE, sys.executable, "-c", code]
    env = ENV | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=private)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()[:1]) == {"0" * 16}
    assert len(done.stdout.splitlines()) >= 50


def test_a_user_whose_threads_would_keep_capabilities_reads_nothing(private: Path) -> None:
    code = f"import threading; threading.Thread(target=threading.Event().wait, daemon=True).start(); {THEN_DROP}"
    argv = [*CAPABLE, sys.executable, "-c", code]
    env = ENV | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=private)
    assert "a thread of a library keeps capabilities" in done.stderr
    assert done.stdout == ""


def test_root_that_may_not_become_another_user_reads_nothing(private: Path) -> None:
    argv = ["setpriv", "--bounding-set=-setuid,-setgid", *nstrace(private, "replay", "web.arrows")]
    done = subprocess.run(argv, capture_output=True, text=True, env=ENV, cwd=private)
    assert (done.returncode, done.stdout) == (4, "")
    assert "cannot be given up" in done.stderr


def test_root_of_a_user_namespace_of_one_user(private: Path) -> None:
    """Who has made it for himself is no root outside, and there is nobody else in it to become."""
    done = subprocess.run(python(private, ALONE), capture_output=True, text=True, env=ENV, cwd=private)
    assert done.stdout.split() == ["0", "0", "0" * 16], done.stderr


@pytest.mark.parametrize("args", [[], ["--json"], ["--speed", "1000"], ["--from", "+5ms"]], ids=str)
def test_replay_from_a_place_that_only_root_reads(args: list[str], private: Path) -> None:
    assert len(run(private, "replay", "web.arrows", *args).splitlines()) >= 50


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_moment_from_a_place_that_only_root_reads(form: str, private: Path) -> None:
    for verb in ("ps", "tree", "containers"):
        assert "500" in run(private, verb, "--from", "web.arrows", "-o", form)


@pytest.mark.parametrize("args", [[], ["--json"], ["-q"], ["--at", "+5ms"], ["--during", "..+1s"]], ids=str)
def test_translate_from_a_place_that_only_root_reads(args: list[str], private: Path) -> None:
    assert "501" in run(private, "translate", "--from", "web.arrows", "web/900", *args)


@pytest.mark.parametrize(
    "args", ["replay web.arrows nosuch", "ps --from web.arrows nosuch", "translate --from web.arrows wab/900"]
)
def test_errors_from_a_place_that_only_root_reads(args: str, private: Path) -> None:
    run(private, *args.split(), exit_code=3)


def test_what_stdout_cannot_encode_from_a_place_that_only_root_reads(private: Path) -> None:
    assert "\\u65e5" in run(private, "ps", "--from", "web.arrows", PYTHONIOENCODING="ascii")


@pytest.mark.parametrize("args", [["parquet"], ["csv"], ["jsonl"], ["parquet", "--partition"]], ids=" ".join)
def test_export_to_a_place_that_only_root_writes(args: list[str], private: Path) -> None:
    run(private, "export", "web.arrows", "--to", *args)
    out = private / f"web.{args[0]}"
    made = [out, *out.rglob("*")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(0, 0)}
    assert [path.name for path in private.iterdir() if path.name.startswith(".")] == []


def test_under_sudo_it_is_the_calling_user(private: Path) -> None:
    run(private, "export", "web.arrows", "--to", "csv", SUDO_UID="1234", SUDO_GID="2345")
    made = (private / "web.csv").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (1234, 2345, 0o600)


@pytest.mark.parametrize(("uid", "gid"), NO_CALLER[-2:], ids=str)
@pytest.mark.parametrize("args", [["csv"], ["parquet", "--partition"]], ids=" ".join)
def test_what_is_exported_for_no_caller_is_roots(args: list[str], uid: str, gid: str, private: Path) -> None:
    run(private, "export", "web.arrows", "--to", *args, SUDO_UID=uid, SUDO_GID=gid)
    out = private / f"web.{args[0]}"
    assert {(path.stat().st_uid, path.stat().st_gid) for path in (out, *out.rglob("*"))} == {(0, 0)}


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_export_to_stdout_from_a_place_that_only_root_reads(form: str, private: Path) -> None:
    argv = nstrace(private, "export", "web.arrows", "--to", form, "-w", "-")
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, env=ENV, cwd=private)
    assert done.stdout.count(b"\n") == {"jsonl": 63, "csv": 64}.get(form, done.stdout.count(b"\n"))


def test_from_python_nothing_is_dropped_and_all_formats_work(private: Path) -> None:
    code = "import tracer; file = tracer.open('web.arrows'); print(len(file.to_pandas()), len(file.to_arrow()))"
    done = subprocess.run(python(private, code), check=True, capture_output=True, text=True, env=ENV, cwd=private)
    assert done.stdout.split() == ["63", "63"]
