"""Nothing that strangers wrote has an effect on a terminal: every command, option and error path, pipe and pty.

What is run is derived from the commands: one that is new, or an option that is, cannot be forgotten.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest
from builders import PIDNS, SECOND_NS, batch, cgroup, exits, fork, gap, row
from fake_engine import A, B, C, container, serving
from recordings import record

from tracer import cli
from tracer.stream.metadata import Container
from tracer.stream.schema import Kind
from tracer.text.escape import decode, is_shown, safe_json, safe_text

ROOT = Path(__file__).parents[2]
# DerivedCoreProperties.txt of Unicode 16, Default_Ignorable_Code_Point.
IGNORABLE = (
    *((0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
CORPUS = [
    *("\x1b]52;c;aGk=\x07", "\x1b]0;title\x07", "\x1b[35m", "\x1bP1$r\x1b\\", "\x9b2J", "\x9d0;x\x9c", "\x7f\x08\x08"),
    *("a\rb", "\nnstrace: forged", "\t\v\f", "\u202e\u2066\u061c", "\u200b\ufeff\u00ad\u2060", "\U000e0041\U000e007f"),
    *("\ufe0f\U000e0100", "\u2028\u2029\x85", "\u3164\u115f\u034f\uffa0", "\u2800\u00a0\u3000", "\udcff\udcfe\udc9b"),
    *("\ue000\U0010ffff", "\u180e\u17b4", "=1+1", "`id`$(id)"),
]
HOSTILE = "".join(CORPUS).replace("/", "")
NAME = "x" + HOSTILE  # of a file
OURS = re.compile(r"\x1b\[(?:0|2|31|1;35|(?:4;)?3[2456])m|\r\x1b\[K")  # our own colors, and progress: not in the corpus


def is_harmless(char: str) -> bool:
    """Independent of nstrace's own rule."""
    code = ord(char)
    return char == " " or not (
        unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs")
        or any(first <= code <= last for first, last in IGNORABLE)
    )


def check(output: bytes, may_color: bool = False) -> str:
    """The output, in which every character is seen as it is."""
    text = output.decode()
    for line in (OURS.sub("", text) if may_color else text).split("\n"):
        bad = [char for char in line if not (is_harmless(char) or char == "\t")]
        assert not bad, (bad, line)
    return text


def test_every_character_is_judged_as_unicode_does() -> None:
    surely = {code for first, last in IGNORABLE for code in range(first, last + 1)}
    for code in range(sys.maxunicode + 1):
        assert is_shown(chr(code)) == (is_harmless(chr(code)) and code != 0x2800 and code not in surely), hex(code)


@pytest.mark.parametrize("text", CORPUS, ids=ascii)
def test_json_has_the_same_value(text: str) -> None:
    value = decode(text.encode("utf-8", "surrogateescape"))
    line = safe_json(json.dumps([value], ensure_ascii=False))
    check(line.encode())
    assert json.loads(line) == [value]
    check(safe_text(value).encode())


HOSTILE_BYTES = HOSTILE.encode("utf-8", "surrogateescape")
OWNER = Container("a" * 64, "do\x1b[35mcker", f"web{decode(HOSTILE_BYTES)}", f"nginx{decode(HOSTILE_BYTES)}", {})
EVENTS = batch(
    cgroup(7, OWNER, path=f"/docker/{OWNER.name}"),
    row(Kind.SNAPSHOT, 50, [(PIDNS, 1)], cgroup_id=7, args=[HOSTILE_BYTES], comm=HOSTILE_BYTES[:15], state=10),
    fork(60, [(PIDNS, 15)], cgroup_id=7, comm=HOSTILE_BYTES[20:35]),
    row(Kind.EXEC, 60, [(PIDNS, 15)], cgroup_id=7, exe=HOSTILE_BYTES, args=[HOSTILE_BYTES, b"", HOSTILE_BYTES]),
    exits(60, [(PIDNS, 15)], cgroup_id=7, status=9, ts_ns=5 * SECOND_NS, comm=HOSTILE_BYTES[40:55]),
    row(Kind.EXEC, 61, [(PIDNS, 16)], cgroup_id=7, exe=HOSTILE_BYTES, args=[], comm=HOSTILE_BYTES[60:75]),
    gap(12, since_ns=SECOND_NS),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with hostile files, an engine with hostile containers, and a hostile process: its PID is in pid."""
    folder = tmp_path_factory.mktemp("gate")
    record(folder / f"{NAME}.arrows", [EVENTS], host=decode(HOSTILE_BYTES))
    (folder / f"{NAME}.bad.arrows").write_bytes(b"nothing")
    (folder / f"{NAME}.torn.arrows").write_bytes((folder / f"{NAME}.arrows").read_bytes()[:-900])
    (folder / f"{NAME}.d").mkdir()
    program = folder / HOSTILE_BYTES[:120].decode("utf-8", "surrogateescape")
    shutil.copy("/bin/sleep", program)
    variables = {"X" + HOSTILE.replace("=", ""): HOSTILE}
    living = subprocess.Popen([HOSTILE, "600"], executable=program, cwd=folder / f"{NAME}.d", env=variables)
    (folder / LOG).write_bytes(
        os.fsencode(f'time,container,nr,"{QUOTED}"\n1700000001.5,web,15,"{QUOTED}"\n{UNKNOWN},"{QUOTED}",7,\n')
    )
    (folder / "pid").write_text(str(living.pid))
    with serving(folder / "sock") as engine:
        hostile = decode(HOSTILE_BYTES)
        engine.containers = [
            container(A, f"webserver{hostile}", Image=hostile, Labels={"tier": hostile, hostile: "x"}),
            container(C, "shopping-cart\x1b]52;\x07"),
            container(B, f"web{hostile}", Image=hostile, Labels={"com.docker.compose.service": hostile}),
        ]
        engine.state_of_a = {"Pid": living.pid, "Status": hostile}
        yield folder
    living.kill()
    living.wait()


def ran(folder: Path, argv: list[str], on_pty: bool, stdin: bytes = b"", **variables: str) -> tuple[bytes, bytes, int]:
    """What nstrace wrote to stdout and stderr, on a terminal both to one, and its exit code. The child is a fork: what
    is imported already need not be imported again."""
    outputs = [pty.openpty()] if on_pty else [os.pipe(), os.pipe()]
    reading, giving = os.pipe()
    os.write(giving, stdin[:60000])
    os.close(giving)
    child = os.fork()
    if not child:
        _become(folder, argv, [writer for _reader, writer in outputs], reading, variables)
    for fd in (reading, *(writer for _reader, writer in outputs)):
        os.close(fd)
    texts = _all_of([reader for reader, _writer in outputs], child)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if on_pty:
        return texts[0].replace(b"\r\n", b"\n"), b"", code
    return texts[0], texts[1], code


def _become(folder: Path, argv: list[str], outputs: list[int], stdin: int, variables: dict[str, str]) -> None:
    code = 99
    try:
        os.chdir(folder)
        for place, fd in enumerate([stdin, outputs[0], outputs[-1]]):
            os.dup2(fd, place)
        os.environ |= {"DOCKER_HOST": f"unix://{folder}/sock", "COLUMNS": "300", **variables}
        sys.stdout, sys.stderr = os.fdopen(1, "w", encoding="utf-8"), os.fdopen(2, "w", encoding="utf-8")
        sys.argv = [f"nstrace{HOSTILE}", *argv]
        try:
            cli.main(argv)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 98
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _all_of(readers: list[int], child: int) -> list[bytes]:
    texts = dict.fromkeys(readers, b"")
    while readers:
        ready = select.select(readers, [], [], 20)[0]
        if not ready:
            os.kill(child, signal.SIGKILL)
        for fd in ready:
            part = b""
            with suppress(OSError):  # EIO: the other side of a terminal is closed
                part = os.read(fd, 65536)
            texts[fd] += part
            if not part:
                readers = [one for one in readers if one != fd]
                os.close(fd)
    return list(texts.values())


RECORD = ["--duration", "1.3", "--force", "-w", f"{NAME}.new.arrows", "host"]  # long enough for a line of progress
UNKNOWN = re.sub(r"[][*?]", "", HOSTILE)  # no glob, which would wait for a container
FILE, BAD, TORN, FOLDER = f"{NAME}.arrows", f"{NAME}.bad.arrows", f"{NAME}.torn.arrows", f"{NAME}.d"
TARGETS = [f"{kind}{HOSTILE}" for kind in ("", "label:", "label:k=", "image:", "compose:", "pid:", "pidns:")] + ["web"]
FILES = [FILE, BAD, TORN, FOLDER, f"{NAME}.missing.arrows"]
LOG, QUOTED, ON = f"{NAME}.csv", HOSTILE.replace('"', '""'), ["--on", "container,nr", "--time-column", "time"]
QUERIES = ["from processes", f"select * from events where comm = '{HOSTILE}'", HOSTILE, f'select "{HOSTILE}" from gaps']
BASES = {  # how each command is run, with strangers' words wherever there is room for them
    "follow": [["-w", "/nowhere/x", UNKNOWN], ["-w", FILE], [UNKNOWN], ["--duration", "0.2", HOSTILE, "host"]],
    "record": [["-w", f"/nowhere/{NAME}", UNKNOWN], ["-w", FILE], ["-w", f"{NAME}/x"], RECORD],
    "replay": [
        *([*how, file] for how in ([], ["--json"], ["--color", "always"], ["--threads"]) for file in FILES),
        *([FILE, target] for target in TARGETS),
    ],
    "translate": [
        *(["--from", file, proc] for file in FILES for proc in ("60", "web/15", HOSTILE)),
        *([proc] for proc in (HOSTILE, f"web/{HOSTILE}", f"{HOSTILE}/1", "webserve/1", f"pidns:{HOSTILE}/1", "PID")),
        *(["--json", proc] for proc in ("PID", f"{HOSTILE}/1")),
        ["--to-host", "--in", HOSTILE, "-"],
    ],
    "export": [
        *(["--to", form, "-w", "-", file] for form in ("csv", "jsonl", "parquet") for file in FILES),
        *(["--to", "csv", "-w", out, FILE] for out in (FILE, f"/nowhere/{NAME}", f"{NAME}/x")),
        ["--to", "parquet", "--partition", "-w", BAD, FILE],
        *(["--to", "perfetto", "-w", out, FILE] for out in (FILE, f"/nowhere/{NAME}")),
    ],
    "top": [["--from", HOSTILE], *(["--from", file] for file in FILES if file not in (FILE, TORN, FOLDER))],
    "timeline": [
        *(["-w", "-", file] for file in FILES),
        *(["-w", out, FILE] for out in (FILE, f"/nowhere/{NAME}", f"{NAME}/x")),
    ],
    "summary": [*([*how, file] for how in ([], ["--json"]) for file in FILES), *([FILE, target] for target in TARGETS)],
    "diff": [
        *([*how, file, file] for how in ([], ["--json"]) for file in FILES),
        *([FILE, target, "web"] for target in TARGETS),
    ],
    "sql": [
        *([file, QUERIES[0]] for file in FILES),
        *([*how, FILE, query] for how in (["--json"], ["--csv"]) for query in QUERIES),
        *(["-w", out, FILE, "from gaps"] for out in (f"/nowhere/{NAME}.csv", f"{NAME}/x.csv", f"{NAME}.csv", NAME)),
    ],
    "join": [
        *([LOG, *how, "--from", file, *ON] for how in ([], ["--json"], ["--csv"]) for file in FILES),
        *([log, "--from", FILE, *ON] for log in (FILE, FOLDER, HOSTILE)),
        *([LOG, "--from", FILE, "--on", *on] for on in ((HOSTILE, "--time-column", "time"), ("nr", "--in", HOSTILE))),
        *([LOG, "--from", FILE, *ON, "-w", out] for out in (f"/nowhere/{NAME}.csv", f"{NAME}/x.csv", NAME)),
    ],
    "run": [["--to", FILE, "--", HOSTILE], ["--to", f"/nowhere/{NAME}", "--", HOSTILE]],
    "ps": [*([target] for target in TARGETS), ["host"], ["--json", "host"], *(["--from", file] for file in FILES)],
    "tree": [*([target] for target in TARGETS), ["host"], ["--json", "host"], *(["--from", file] for file in FILES)],
    "inspect": [[HOSTILE], [f"web/{HOSTILE}"], ["PID"], ["PID", "--env", "--show-secrets"], ["PID", "--env", "--json"]],
    "why": [
        *(["--from", file, what] for file in FILES for what in ("60", "web", "web/15", HOSTILE, f"web/{HOSTILE}")),
        *(["--all", *how, "--from", file] for how in ([], ["--json"], [HOSTILE]) for file in FILES),
        *([what] for what in (HOSTILE, f"{HOSTILE}/1", "webserver", "PID", f"web/{HOSTILE}")),
    ],
    "containers": [*([target] for target in TARGETS), ["host"], ["--json"], *(["--from", file] for file in FILES)],
    "sessions": [*([target] for target in TARGETS), ["host"], ["--json"], *(["--from", file] for file in FILES)],
    "verify": [*([target] for target in TARGETS), ["--color", "always", "webserver"], ["--json", HOSTILE]],
    "fleet": [
        [HOSTILE],
        *([verb, "--help"] for verb in ("init", "publish", "archive", "compact", "hosts", "sql", "follow")),
        *([verb, "--help"] for verb in ("ps", "translate", "why", "summary", "join")),
        *(
            [verb, f"{HOSTILE}:{HOSTILE}", "--from", where]
            for verb in ("ps", "translate", "why", "summary")
            for where in (NAME, FILE)
        ),
        *(["translate", HOSTILE, "--from", FOLDER], ["why", "a", "--from", FOLDER]),
        *(["join", log, "--from", NAME, "--on", HOSTILE, "--time-column", HOSTILE] for log in (FILE, HOSTILE)),
        *(["init", *how] for how in (["--nats", HOSTILE], ["--keep", HOSTILE], ["--max-bytes", HOSTILE], [])),
        ["init", "--nats", "nats://127.0.0.1:1", "--creds", NAME],
        *(["publish", "--from", FOLDER, *how] for how in (["--host", HOSTILE], ["--cluster", HOSTILE], [])),
        *(
            ["archive", "--nats", "nats://127.0.0.1:1", "--to", where]
            for where in (f"/nowhere/{NAME}/x", f"s3://{HOSTILE}")
        ),
        ["hosts", "--nats", "nats://127.0.0.1:1"],
        *(
            ["follow", "--nats", "nats://127.0.0.1:1", *how]
            for how in ([f":{HOSTILE}"], ["--events", HOSTILE], ["a:pid:x"])
        ),
        ["follow", "--nats", "nats://127.0.0.1:1", "--cluster", HOSTILE],
        *(
            [*how, "--from", where]
            for how in (["hosts"], ["sql", HOSTILE])
            for where in (NAME, FILE, f"s3://{HOSTILE}")
        ),
        *(["compact", where] for where in (f"/nowhere/{NAME}/x", f"s3://{HOSTILE}", FILE)),
        ["publish", "--from", NAME, "--nats", "nats://127.0.0.1:1"],
        ["publish", "--from", FOLDER, "--nats", "nats://127.0.0.1:1", "--state", f"/nowhere/{NAME}"],
    ],
    "agent": [
        *(["--check", "--config", file] for file in (*FILES, HOSTILE)),
        *([HOSTILE], ["status"], *([verb, "--help"] for verb in ("install", "uninstall", "status"))),
        *([verb, HOSTILE] for verb in ("install", "uninstall", "status")),
    ],
    "dump": [["-w", f"/nowhere/{NAME}", "web"], ["--last", "5m", HOSTILE], ["-w", FILE, *TARGETS]],
    "completion": [[HOSTILE]],
    "config": [[], ["--json"], ["--path"], [HOSTILE]],
    "help": [[HOSTILE], ["ps"]],
}
ALWAYS = {
    "sql": [FILE],
    "join": [LOG, "--from", FILE, *ON],
    "summary": [FILE],
    "record": ["-w", f"/nowhere/{NAME}"],
    "export": ["--to", "csv"],
    "replay": [FILE],
}
LIVE = {"follow", "record", "run", "verify", "top"}


def test_every_command_is_here() -> None:
    assert set(BASES) == set(cli.VERBS)


def options_of(verb: str) -> Iterator[list[str]]:
    """Each option of a command with a stranger's value, or as a flag before a stranger's words."""
    command = cli.nstrace.get_command(click.Context(cli.nstrace), verb)
    assert command
    for parameter in command.get_params(click.Context(command)):
        if isinstance(parameter, click.Option) and "--help" not in parameter.opts:
            flag = parameter.is_flag or parameter.count
            if not flag:
                yield [*ALWAYS.get(verb, []), parameter.opts[-1], HOSTILE, *([UNKNOWN] if verb != "replay" else [])]
            elif verb not in LIVE:
                yield [*ALWAYS.get(verb, []), parameter.opts[-1], HOSTILE]


def runs_of(verb: str) -> list[list[str]]:
    odd = [["--help"], [f"--{HOSTILE}"], [f"-{HOSTILE}"], ["-o", HOSTILE], []]
    return [
        *BASES[verb],
        *options_of(verb),
        *(odd if verb not in ("run", "follow", "record", "summary", "top", "agent") else odd[:-1]),
    ]


@pytest.mark.parametrize("on_pty", [False, True], ids=["pipe", "pty"])
@pytest.mark.parametrize("verb", cli.VERBS)
def test_a_command(verb: str, on_pty: bool, place: Path) -> None:
    codes, pid = set(), (place / "pid").read_text()
    for args in runs_of(verb):
        argv = [pid if arg == "PID" else arg for arg in args]
        out, err, code = ran(place, [verb, *argv], on_pty)
        assert code in (0, 1, 2, 3, 4, 126, 127), (argv, code, out, err)
        assert b"unexpected" not in err, (argv, err)
        is_parquet = out.startswith(b"PAR1")
        for output in (err,) if is_parquet else (out, err):
            check(output, may_color=on_pty or "always" in argv)
        codes.add(code)
    assert codes - {0}, "errors are among them"


@pytest.mark.parametrize("on_pty", [False, True], ids=["pipe", "pty"])
def test_no_command(on_pty: bool, place: Path) -> None:
    for argv in ([HOSTILE], [f"--{HOSTILE}"], ["--debug", HOSTILE], ["--help"], ["--version"], []):
        out, err, _code = ran(place, argv, on_pty)
        check(out + err)
        assert b"Usage: nstrace " in out or "--help" not in argv


def test_variables(place: Path) -> None:
    for address in (f"unix:///{HOSTILE}", f"tcp://{HOSTILE}", HOSTILE):
        for verb in ("ps", "containers", "verify", "translate"):
            out, err, _code = ran(place, [verb, *(["1"] if verb == "translate" else [])], False, DOCKER_HOST=address)
            check(out + err)
    assert ran(place, ["ps", "web"], False, DOCKER_HOST=f"unix:///{UNKNOWN}")[1].count(rb"\x1b0;title\x07") == 1


@pytest.mark.parametrize("shell", ["bash_complete", "zsh_complete", "fish_complete"])
def test_completion(shell: str, place: Path) -> None:
    for line in ("nstrace ps ", "nstrace ps web", "nstrace ps label:", "nstrace ps image:", f"nstrace {HOSTILE}"):
        words: dict[str, Any] = {"COMP_LINE": line, "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        out, err, code = ran(place, [], False, _NSTRACE_COMPLETE=shell, **words)
        check(out.replace(b"\t", b"") + err)
        assert code == 0
        assert b"\nnstrace: forged" not in out


def test_suggestions_name_the_engines_containers(place: Path) -> None:
    for verb in ("ps", "follow", "inspect"):
        _out, err, code = ran(place, [verb, "shopping-car" if verb != "inspect" else "shopping-car/1"], False)
        assert code == 3
        assert r"did you mean shopping-cart\x1b]52;\x07? running: " in check(err), verb


def test_a_stream_of_text_is_passed_on_as_it_is_and_harmless_to_a_terminal(place: Path) -> None:
    stdin = b"one\r\n\x1b[35mtwo\t" + HOSTILE_BYTES.replace(b"\n", b"") + b"\n"
    piped, _err, _code = ran(place, ["translate", "--to-container", "-"], False, stdin)
    assert piped == stdin
    shown, _err, _code = ran(place, ["translate", "--to-container", "-"], True, stdin)
    assert check(shown).startswith("one\n\\x1b[35mtwo\t")
