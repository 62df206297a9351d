"""Every error is two lines: what is wrong, and what to do about it. What needs root: tests/kernel/test_refusals.py."""

from __future__ import annotations

import ast
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_engine import A, B, container, serving
from recordings import facts, record, storm

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tracer"
TABLE = {
    # misspelt
    "a command": ("folow web", 2, "no such command 'folow'", "did you mean: nstrace follow web"),
    "a command of another tool": ("logs web", 2, "no such command 'logs'", "did you mean: nstrace follow web"),
    "a command like no other": ("zzz", 2, "no such command 'zzz'", "nstrace --help lists the commands"),
    "an option": ("ps --jsn web", 2, "no such option '--jsn'", "did you mean: nstrace ps --json web"),
    "an option with one dash": ("ps -json web", 2, "no such option '-json'", "did you mean: nstrace ps --json web"),
    "an option for a target": ("ps -p 15", 2, "no such option '-p'", "did you mean: nstrace ps pid:15"),
    "a container": ("ps wbe", 3, "no container named 'wbe'", "did you mean web? running: shopping-cart, web"),
    "a container's part": ("ps cart", 3, "no container named 'cart'", "did you mean shopping-cart?"),
    "a container like no other": ("ps zzz", 3, "no container named 'zzz'", "running: shopping-cart, web"),
    "an option of tail": ("follow -f web", 2, "no such option '-f'", "did you mean: nstrace follow -F web"),
    "a label's pattern": ("ps 'tier=web*'", 2, "is not a valid target", "did you mean 'label:tier=web*'?"),
    "a container that may come": ("follow later", 3, "no container named 'later'", "-F waits for it"),
    "a namespace by -F": ("follow -F pid:1", 2, "-F follows names, and pid:1 is a PID namespace", "leave -F out"),
    "an exit code of many": ("record --exit-code 'w*'", 2, "--exit-code needs one TARGET", "follow --exit-code web"),
    "an exit code of two": ("follow --exit-code web db", 2, "--exit-code needs one TARGET", "follow --exit-code web"),
    "a window of a list": (
        "ps --since 5m",
        2,
        "no such option '--since'",
        "it shows one moment: --from FILE --at TIME",
    ),
    "a window of now": (
        "follow --since 5m web",
        2,
        "--since needs what an agent has recorded",
        "nstrace agent records",
    ),
    "a kind of target": ("ps lable:a=b", 2, "'lable:a=b' is not a valid target", "did you mean label:a=b?"),
    "a kind of event": ("replay --events exec,exot web.arrows", 2, "'exot' is not an event", "did you mean exit?"),
    "an ending": ("replay web", 1, "no such file: web", "did you mean web.arrows?"),
    "a value": ("replay --color=alwys web.arrows", 2, "'alwys' is not one of", "nstrace replay --help"),
    "a setting": ("config", 2, "there is no setting 'colr'", "did you mean color?"),
    "a table as a trace": (
        "export web.arrows --to perfetto --what gaps",
        2,
        "--what and --to perfetto exclude each other",
        "nstrace export --help",
    ),
    "rows of a trace": (
        "export web.arrows --to perfetto --where pid=1",
        2,
        "--where and --to perfetto exclude each other",
        "nstrace export --help",
    ),
    # missing
    "no PROC": ("translate", 2, "missing argument", "for example nstrace translate web/15"),
    "no FILE": ("replay", 2, "missing argument", "for example nstrace replay web.arrows"),
    "no format": (
        "export web.arrows",
        2,
        "missing option '--to'",
        "for example nstrace export web.arrows --to parquet",
    ),
    "no value": ("follow --duration", 2, "option '--duration' requires an argument", "nstrace follow --help"),
    "no file": ("replay none.arrows", 1, "no such file: none.arrows", "nstrace record -w FILE makes a recording"),
    "no folder": ("export web.arrows --to csv -w x/y.csv", 1, "there is no folder x", "mkdir -p x"),
    "nothing in a folder": ("replay folder", 1, "no recording is in the folder folder", "end in .arrows"),
    "no number": ("inspect web", 2, "'web' is not a PID", "for the first process of a container: web/1"),
    "no process": ("inspect 4194304", 3, "no process 4194304 on the host", "ps -e"),
    "no namespace": ("translate pidns:7/1", 3, "no process in PID namespace 7", "lsns -t pid"),
    "no shell": ("completion install tcsh", 2, "'tcsh' is not one of", "nstrace completion --help"),
    # in the wrong order, or of another kind
    "TARGET before FILE": ("replay web web.arrows", 2, "no such file: web", "nstrace replay web.arrows web"),
    "a recording as TARGET": ("ps web.arrows", 3, "no container named 'web.arrows'", "--from web.arrows"),
    "a PID as TARGET": ("ps {pid}", 3, "process {pid} is running", "did you mean pid:{pid}?"),
    "a PROC as TARGET": ("ps web/15", 2, "is not a valid target", "nstrace inspect web/15"),
    "a prefix as in other tools": ("ps container:web", 2, "is not a valid target", "has no prefix: web"),
    "a life of now": ("ps 'web#2'", 3, "'web#2': what runs now has no number", "the container of now is web"),
    "a number in a life of now": ("translate 'web#2/1'", 3, "what runs now has no number", "--from FILE knows web#2"),
    "a life of nobody": ("ps 'zzz#2'", 3, "no container named 'zzz'", "running: shopping-cart, web"),
    "the life before the first": ("ps 'web#0'", 2, "lives are numbered from 1", "web#2 is the second one"),
    "an id as a name": (f"ps name:{A[:6]}", 3, f"no container named '{A[:6]}'", "running: shopping-cart, web"),
    "a moment without FILE": ("ps --at +5s", 2, "needs a recording", "nstrace agent install"),
    "a stream without direction": ("translate -", 2, "--to-container or --to-host", "--help"),
    "two arguments": ("help ps tree", 2, "too many arguments: tree", "nstrace help --help"),
    "no recording": ("replay text", 1, "text is not an nstrace recording", "nstrace record -w FILE"),
    "a folder as a recording": ("ps --from /dev/null", 1, "/dev/null is a device, not a recording", "record -w FILE"),
    # out of range
    "a duration": ("follow --duration 0", 2, "'0' is out of range: at least 0.001 s", "5s, 1.5m, 2h"),
    "no duration": ("follow --duration soon", 2, "--duration: 'soon' is not a valid duration", "5s, 1.5m, 2h"),
    "a size": ("follow --buffer-size 4T", 2, "out of range: at least 64 KiB and at most 1 GiB", "16MiB"),
    "a moment": ("replay --since +26s web.arrows", 2, "'+26s' is outside the recording (2023-", "for example"),
    "a window": ("replay --since +2s --until +1s web.arrows", 2, "outside the recording", "for example"),
    "an empty window": (
        "replay --since +8ms --until +0 web.arrows",
        2,
        "is empty: its end is not after",
        "earlier time",
    ),
    "no moment": ("ps --from web.arrows --at noon", 2, "'noon' is not a valid time", "for example 08:15:19"),
    "a PID": ("translate 5000000", 2, "a PID is between 1 and 4194304", "for example web/15"),
    "a number": ("follow --count 0", 2, "'--count': 0 is out of range: at least 1", "nstrace follow --help"),
    "a number between": ("follow --max-args-bytes 0", 2, "0 is out of range: 1 to 16384", "nstrace follow --help"),
    # there already
    "an output": ("export web.arrows --to csv -w text", 1, "text already exists", "--force"),
    # no engine
    "no engine": (
        "ps label:a",
        1,
        "no container engine answers on unix:///nowhere",
        "start it (systemctl start docker)",
    ),
    "a remote engine": ("ps web", 1, "is a remote engine", "unset DOCKER_HOST"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a recording and other files, and an engine with two containers."""
    folder = tmp_path_factory.mktemp("errors")
    record(folder / "web.arrows", [facts(), storm(1, 20)])
    (folder / "text").write_text("some text")
    (folder / "folder").mkdir()
    (folder / "config.toml").write_text("colr = 1")
    with serving(folder / "sock") as engine:
        engine.containers = [container(A, "web"), container(B, "shopping-cart")]
        yield folder


@pytest.mark.parametrize("name", TABLE)
def test_what_and_how(name: str, place: Path) -> None:
    words, code, what, how = (str(part).replace("{pid}", str(os.getpid())) for part in TABLE[name])
    engine = {"no engine": "unix:///nowhere", "a remote engine": "tcp://192.0.2.1:2375"}.get(
        name, f"unix://{place}/sock"
    )
    config = f"{place}/config.toml" if name == "a setting" else ""
    variables = {"DOCKER_HOST": engine, "NSTRACE_CONFIG": config, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "tracer", *shlex.split(words)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=place, env={**os.environ, **variables}, timeout=60)
    assert done.returncode == int(code), done.stderr
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first.startswith("nstrace: ") and what in first, done.stderr
    assert second.startswith("  ") and how in second, done.stderr


def without_hint(path: Path) -> Iterator[str]:
    """The errors that a module makes without saying what to do."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("NstraceError", "TooSlow")
        ):
            hints = [*node.args[1:2], *(word.value for word in node.keywords if word.arg == "hint")]
            if not hints or (isinstance(hints[0], ast.Constant) and not hints[0].value):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno} {ast.unparse(node)}"


def test_no_error_leaves_its_reader_alone() -> None:
    assert [line for path in PACKAGE.rglob("*.py") for line in without_hint(path)] == []
