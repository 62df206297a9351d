"""Files that cannot be written, of every command: full disks, quotas, read-only file systems. One line says so, with
the exit code 1; what was there stays, and nothing half is left."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from recordings import facts, record, storm

pytestmark = pytest.mark.kernel
NSTRACE = [sys.executable, "-m", "tracer"]
ROOT = Path(__file__).parents[2]
TO_FILE = {
    "record": "record -w {}/x.arrows pid:{pid}",
    "record, rotated": "record -w {}/x.arrows --rotate-size 64k pid:{pid}",
    "follow -w": "follow -w {}/x.arrows --json pid:{pid}",
    "run": "run --to {}/x.arrows -- true",
    "export, csv": "export {recording} --to csv -w {}/x.arrows",
    "export, parquet": "export {recording} --to parquet -w {}/x.arrows",
    "export, jsonl": "export {recording} --to jsonl -w {}/x.arrows",
    "export, partitioned": "export {recording} --to parquet --partition -w {}/x.arrows",
}
TO_STDOUT = {
    "help": "--help",
    "follow": "follow --json --duration 2 host",
    "record": "record -w - --duration 2 host",
    "replay": "replay {recording}",
    "replay --json": "replay --json {recording}",
    "export": "export {recording} --to csv -w -",
    "translate": "translate {pid}",
    "translate --from": "translate --from {recording} web/1",
    "ps": "ps pid:{pid}",
    "tree": "tree pid:{pid}",
    "inspect": "inspect {pid}",
    "containers": "containers --json",
    "verify": "verify pid:{pid}",
    "completion": "completion bash",
}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "web.arrows"
    record(path, [facts(), storm(1, 3000)])
    return path


@pytest.fixture(scope="module", autouse=True)
def nested() -> Iterator[None]:
    """A process in a PID namespace of its own: something that `nstrace containers` lists."""
    argv = ["unshare", "--pid", "--kill-child", "--fork", "sh", "-c", "echo; exec sleep 600"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline()
        yield
        process.kill()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk on which not one block is left, with a file of four bytes."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place], check=True)
    (place / "x.arrows").write_bytes(b"old\n")
    with pytest.raises(OSError, match="No space left"), (place / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    yield place
    subprocess.run(["umount", place], check=True)


def run(command: str, place: Path | str, recording: Path, shell: str = '"$@"') -> subprocess.CompletedProcess[str]:
    words = command.format(place, recording=recording, pid=os.getpid()).split()
    argv = ["unshare", "--mount", "sh", "-c", shell, "sh", *NSTRACE, *words]
    return subprocess.run(argv, capture_output=True, text=True, errors="backslashreplace", timeout=60, cwd=ROOT)


def error_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The message and its hint; what else is said is a header or a summary, and no traceback."""
    lines = done.stderr.splitlines()
    assert "Traceback" not in done.stderr and "unexpected" not in done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    assert done.returncode == 1, done.stderr
    return [line for line in lines if "cannot be written" in line or "ends here" in line]


BEGINNINGS = [
    pytest.param(command, force, id=f"{name}{', --force' if force else ''}")
    for name, command in TO_FILE.items()
    for force in (False, True)
    if not (force and "--partition" in command)  # a folder replaces nothing
]


@pytest.mark.parametrize(("command", "force"), BEGINNINGS)
def test_a_disk_without_room_for_a_beginning(command: str, force: bool, disk: Path, recording: Path) -> None:
    if force:
        verb, _, rest = command.partition(" ")
        command = f"{verb} --force {rest}"
        if "--rotate" in command:
            (disk / "x.arrows").rename(disk / "x.000001.arrows")
    else:
        (disk / "x.arrows").rename(disk / "old")
    before = {entry.name: entry.read_bytes() for entry in disk.iterdir()}
    (message,) = error_of(run(command, disk, recording))
    assert "No space left on device" in message
    assert {entry.name: entry.read_bytes() for entry in disk.iterdir()} == before


@pytest.mark.parametrize("command", TO_FILE.values(), ids=TO_FILE)
def test_a_file_system_that_is_read_only(command: str, tmp_path: Path, recording: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    mounts = f'mount --bind {place} {place} && mount -o remount,bind,ro {place} && exec "$@"'
    (message,) = error_of(run(command, place, recording, mounts))
    assert message.endswith("cannot be written: Read-only file system")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("command", TO_FILE.values(), ids=TO_FILE)
def test_a_limit_on_the_size_of_files(command: str, tmp_path: Path, recording: Path) -> None:
    words = command.format(tmp_path, recording=recording, pid=os.getpid()).split()

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # EFBIG; Python ignores SIGXFSZ

    argv = [*NSTRACE, *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=ROOT, preexec_fn=limited)
    (message,) = error_of(done)
    assert "File too large" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", TO_STDOUT.values(), ids=TO_STDOUT)
def test_a_full_disk_behind_stdout(command: str, recording: Path) -> None:
    done = run(command, "", recording, '"$@" >/dev/full')
    (message,) = error_of(done)
    assert "No space left on device" in message


READ_ONLY = """
for place in / /tmp /run /var/tmp /dev/shm /var/cache/nstrace; do
    [ ! -d $place ] || { mount --bind $place $place && mount -o remount,bind,ro $place; }
done
cd / && exec "$@"
"""


@pytest.fixture(scope="module")
def compiled(recording: Path) -> None:
    """What the commands load is stored."""
    run("follow --duration 0.1 host", "", recording)
    run("ps", "", recording)


@pytest.mark.parametrize("command", TO_STDOUT.values(), ids=TO_STDOUT)
def test_a_host_that_is_read_only(command: str, compiled: None, recording: Path) -> None:
    """Nothing needs a place to write, once the programs are compiled."""
    shell = f"export PYTHONPATH={ROOT}\n{READ_ONLY}"
    done = run(command, "", recording, shell)
    assert "Read-only" not in done.stderr and "Traceback" not in done.stderr and "unexpected" not in done.stderr
    assert done.returncode in (0, 3), done.stderr  # 3: no such target


def test_a_read_only_host_on_which_nothing_is_compiled_yet(recording: Path) -> None:
    empty = f"mount -t tmpfs none /var/cache/nstrace && export PYTHONPATH={ROOT}\n{READ_ONLY}"
    done = run("follow --duration 1 host", "", recording, f"mkdir -p /var/cache/nstrace && {empty}")
    (message,) = error_of(done)
    assert "the programs cannot be compiled" in message and "Read-only file system" in message


EMPTY_CACHE = "mkdir -p /var/cache/nstrace && mount -t tmpfs -o mode=700 none /var/cache/nstrace"
SPOIL = """
import hashlib, json, sys
from pathlib import Path
(path,) = Path("/var/cache/nstrace").iterdir()
body = json.loads(path.read_bytes().partition(b"\\n")[2])
how = sys.argv[1]
if how == "insns":
    body["programs"][0]["insns"] = "AAAAAAAAAAA="
elif how == "map":
    body["maps"][0]["type"] = 9999
elif how == "names":
    body["programs"][0]["name"] = "another"
raw = json.dumps(body).encode()
path.write_bytes(b"short" if how == "damaged" else hashlib.sha256(raw).hexdigest().encode() + b"\\n" + raw)
"""


@pytest.mark.parametrize("how", ["insns", "map", "names", "damaged"])
def test_a_stored_program_that_does_not_load_is_compiled_again(how: str, recording: Path) -> None:
    follow = '"$@"'
    keep = "cat /var/cache/nstrace/* | sha256sum"
    shell = f"""set -e; {EMPTY_CACHE}; {follow}; {keep}
        {sys.executable} -c '{SPOIL}' {how}; {keep}; {follow}; {keep}"""
    done = run("follow --json -q --duration 0.1 --events exit host", "", recording, shell)
    assert done.returncode == 0, done.stderr
    first, spoilt, again = (line for line in done.stdout.splitlines() if line.endswith("  -"))
    assert first == again != spoilt
