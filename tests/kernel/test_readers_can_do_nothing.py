"""Every command that reads what strangers wrote: who it is meanwhile, and what a stranger inside of it can do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import trespass
from conftest import ROOT, wait_for
from recordings import facts, record, storm

from tracer.system import landlock
from tracer.system.privileges import FIRST_UID

pytestmark = pytest.mark.kernel

REFUSED = {"EPERM", "EACCES", "ENOENT", "ENOTDIR", "EBADF", "EAGAIN"}
DECODE = ("tracer.recording.reader", "", "from_arrow")
READERS = {
    "replay FILE": DECODE,
    "replay --json FILE": ("tracer.views.jsonl", "JsonLines", "render"),
    "replay FILE ": ("tracer.views.lines", "Lines", "render"),
    "export FILE --to parquet -w OUT": DECODE,
    "export FILE --to csv -w OUT": ("tracer.recording.export", "", "rows_as_text"),
    "export FILE --to jsonl -w OUT": ("tracer.views.jsonl", "JsonLines", "render"),
    "export FILE --to csv --partition -w OUT": DECODE,
    "export FILE --to csv -w -": DECODE,
    "export FILE --to perfetto -w OUT": ("tracer.recording.perfetto", "PerfettoTrace", "take"),
    "timeline FILE -w OUT": ("tracer.past.timeline", "Collector", "take"),
    "timeline FILE -w -": ("tracer.views.timeline", "", "pack"),
    "translate --from FILE 1001": DECODE,
    "translate --from FILE web/1": ("tracer.past.translation", "Hindsight", "during"),
    "ps --from FILE": DECODE,
    "ps --from FILE ": ("tracer.views.table", "", "process_table"),
    "tree --from FILE": ("tracer.views.tree", "", "tree"),
    "sql FILE QUERY": DECODE,
    "sql --force -w OUT.parquet FILE QUERY": DECODE,
    "containers --from FILE": ("tracer.views.containers", "", "container_table"),
    "translate --to-container -": ("tracer.text.annotate", "Annotator", "take"),
    "translate --to-host --in pid:SELF -": ("tracer.text.annotate", "Annotator", "take"),
}
IN_ITS_FOLDER = {"write any file", "make a folder"}  # what export --partition may do, and who may spill
# the checkout may be below a folder that others may not enter
NOT_ROOT = [
    *("setpriv", "--reuid=1234", "--regid=1234", "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
]


@pytest.fixture
def arrows(tmp_path: Path) -> Path:
    record(tmp_path / "web.arrows", [facts(), storm(1, 20)])
    return tmp_path / "web.arrows"


def words(command: str, arrows: Path) -> list[str]:
    names = {"FILE": str(arrows), "OUT": str(arrows.with_name("out")), "QUERY": "select count(*) from events"}
    names["OUT.parquet"] = f"{names['OUT']}.parquet"
    return [names.get(word, word).replace("pid:SELF", f"pid:{os.getpid()}") for word in command.split()]


@pytest.mark.parametrize("command", READERS)
def test_a_stranger_inside_can_do_nothing(command: str, arrows: Path) -> None:
    line = trespass.command(*words(command, arrows), where=READERS[command])
    outside = os.open("/", os.O_RDONLY)
    done = subprocess.run(line, input=b"pid 1\n", capture_output=True, cwd=ROOT, timeout=100, pass_fds=[outside])
    os.close(outside)
    said = done.stderr.decode()
    found = trespass.results(said)
    may = IN_ITS_FOLDER if "--partition" in command or command.startswith("sql") else set()
    assert {name: what for name, what in found.items() if what not in REFUSED and name not in may} == {}
    assert len(found) > 20
    assert done.returncode == 0, said


@pytest.mark.parametrize("is_root", [True, False])
def test_what_has_no_room_in_memory_goes_to_a_folder_that_is_the_only_one(is_root: bool, arrows: Path) -> None:
    """By its root directory, or by Landlock where somebody else asks."""
    if not is_root and not landlock.is_there():
        pytest.skip("this kernel has no Landlock")
    with tempfile.TemporaryDirectory(prefix="nstrace-test-") as folder:  # below that of pytest nobody else may look
        seen, spilled = Path(folder, "web.arrows"), Path(folder, "spilled")
        shutil.copyfile(arrows, seen)
        spilled.mkdir()
        for path, mode in ((Path(folder), 0o755), (seen, 0o644), (spilled, 0o777)):
            path.chmod(mode)
        line = trespass.command("sql", "--csv", "--memory", "64MiB", str(seen), _LARGE, where=DECODE)
        who = [] if is_root else NOT_ROOT
        env = os.environ | {"TMPDIR": str(spilled)}
        done = subprocess.run([*who, *line], capture_output=True, text=True, cwd=ROOT, env=env, timeout=100)
        assert (done.returncode, done.stdout.splitlines()[1:]) == (0, ["600000"]), done.stderr
        assert list(spilled.iterdir()) == []
    found = trespass.results(done.stderr)
    assert {name for name, what in found.items() if what not in REFUSED} == IN_ITS_FOLDER


_LARGE = """
select count(*) from (select md5(i::varchar) m from range(600000) t(i), events
                      where pid = 1001 and event = 'fork' order by m offset 0)
"""


@pytest.mark.parametrize("command", ["replay --json FILE", "translate --to-container -"])
def test_a_folder_whose_number_is_above_the_limit(command: str, arrows: Path) -> None:
    """dup2(2) puts nothing in its place."""
    line = trespass.command(*words(command, arrows), where=READERS.get(command, DECODE))
    outside = os.open("/", os.O_RDONLY)
    os.dup2(outside, 250)
    os.close(outside)
    shell = ["sh", "-c", 'ulimit -n 100; exec "$@"', "sh", *line]
    done = subprocess.run(shell, input=b"pid 1\n", capture_output=True, cwd=ROOT, timeout=100, pass_fds=[250])
    os.close(250)
    assert trespass.results(done.stderr.decode())["leave by a descriptor"] in REFUSED


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


def reader_of(pid: int) -> int:
    """The process that reads: the command, or its child; not the one that connects to an engine, nor the one that
    looks at the host for it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    known = [(one, status(one)) for one in (pid, *map(int, children))]
    readers = [one for one, found in known if found["NoNewPrivs"] == "1" and int(found["CapPrm"], 16) == 0]
    return readers[0] if readers else 0


@pytest.mark.parametrize("command", sorted({command.strip() for command in READERS}))
def test_who_reads_while_it_waits(command: str, arrows: Path, tmp_path: Path) -> None:
    """The beginning of a header comes through a FIFO; what is behind it does not come."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    holder = os.open(fifo, os.O_RDWR)
    os.write(holder, arrows.read_bytes()[:12])
    line = [sys.executable, "-m", "tracer", *words(command, fifo)]
    reading = subprocess.Popen(line, stdin=holder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    try:
        wait_for(lambda: reading.poll() is not None or reader_of(reading.pid) > 0)
        assert reading.poll() is None, reading.communicate()
        who = status(reader_of(reading.pid))
        assert "0" not in who["Uid"].split() + who["Gid"].split()
        assert who["Groups"] == ""
        capabilities = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
        assert {name: int(who[name], 16) for name in capabilities} == dict.fromkeys(capabilities, 0)
        wait_for(lambda: status(reader_of(reading.pid))["Seccomp"] == "2")
    finally:
        reading.terminate()
        reading.communicate(timeout=60)
        os.close(holder)


@pytest.mark.parametrize("lacking", ["setgid", "setuid", "setuid,-setgid"])
@pytest.mark.parametrize(
    "command", ["replay FILE", "ps --from FILE", "export FILE --to csv -w OUT", "translate --to-container -"]
)
def test_a_root_that_cannot_give_up_is_told(lacking: str, command: str, arrows: Path) -> None:
    line = ["setpriv", f"--bounding-set=-{lacking}", sys.executable, "-m", "tracer", *words(command, arrows)]
    done = subprocess.run(line, input=b"pid 1\n", capture_output=True, cwd=ROOT, timeout=100)
    assert (done.returncode, done.stdout) == (4, b"")
    assert "root's privileges cannot be given up" in done.stderr.decode()


LOOKERS = {
    "ps --json host": ("tracer.views.objects", "", "process_object"),
    "ps host": ("tracer.views.table", "", "process_table"),
    "tree host": ("tracer.views.tree", "", "tree"),
    "containers": ("tracer.views.containers", "", "container_table"),
    "translate SELF": ("tracer.views.translation", "", "block"),
    "inspect --env SELF": ("tracer.views.inspection", "", "inspection_text"),
    "inspect --json SELF": ("tracer.host.procfs", "", "parse_stat"),
    "verify pid:SELF": ("tracer.views.verification", "", "verification_table"),
    "verify --live 0.2 pid:SELF": ("tracer.host.verification", "", "findings"),
}
ANYONE_MAY = {"read a file of everyone", "leave by a descriptor", "read a file by another way", "list the processes"}


@pytest.mark.parametrize("command", LOOKERS)
def test_whoever_looks_at_the_living_host_can_look_at_processes_and_no_more(command: str) -> None:
    line = trespass.command(*command.replace("SELF", str(os.getpid())).split(), where=LOOKERS[command])
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=100)
    found = trespass.results(done.stderr)
    assert {name for name, what in found.items() if what not in REFUSED} <= ANYONE_MAY
    assert found["read a file of root"] == "EACCES"
    assert len(found) > 20
    assert done.returncode == 0, done.stderr


def test_whoever_looks_keeps_one_capability() -> None:
    code = """
from pathlib import Path
from tracer.system.privileges import drop_but_look
drop_but_look()
print(Path("/proc/self/status").read_text())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    found = dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)
    assert len(set(found["Uid"].split())) == len(set(found["Gid"].split())) == 1
    assert int(found["Uid"].split()[0]) >= FIRST_UID
    assert {name: int(found[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {
        **dict.fromkeys(("CapInh", "CapBnd", "CapAmb"), 0),
        **dict.fromkeys(("CapPrm", "CapEff"), 1 << 19),  # CAP_SYS_PTRACE
    }
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Pacific/Honolulu", ":/usr/share/zoneinfo/Asia/Tokyo"])
@pytest.mark.parametrize("command", ["replay FILE", "ps --from FILE", "translate --from FILE 1001"])
def test_the_time_zone_is_known_before(command: str, zone: str, arrows: Path) -> None:
    """Its file is out of reach afterwards."""
    line = [sys.executable, "-m", "tracer", *words(command, arrows)]
    done = subprocess.run(line, capture_output=True, cwd=ROOT, env=os.environ | {"TZ": zone}, timeout=100, check=True)
    hour = "12" if "Honolulu" in zone else "07"
    assert f"{hour}:13:2" in (done.stdout + done.stderr).decode()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-16-le", "iso8859-15"])
def test_encodings_are_known_before(encoding: str, arrows: Path) -> None:
    line = [sys.executable, "-m", "tracer", "replay", "--json", str(arrows)]
    env = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(line, capture_output=True, cwd=ROOT, env=env, timeout=100, check=True)
    assert len(done.stdout.decode(encoding).splitlines()) == 60


def test_root_still_sees_the_whole_of_another_users_process() -> None:
    argv = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", "sleep", "600"]
    with subprocess.Popen(argv, env={"PATH": os.environ["PATH"], "SHADE": "blue"}) as process:
        try:
            wait_for(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")
            line = [sys.executable, "-m", "tracer", "inspect", "--json", "--env", str(process.pid)]
            done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=100, check=True)
            spaces = {path.name: path.stat().st_ino for path in Path(f"/proc/{process.pid}/ns").iterdir()}
        finally:
            process.kill()
    found = json.loads(done.stdout)
    assert {"name": "SHADE", "value": "blue", "masked": False} in found["env"]
    assert found["namespaces"] == spaces
    assert found["exe"].endswith("/sleep")
