"""--where: the rows that pass are those that a plain loop over the JSON finds; gaps and repairs always pass."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import PIDNS, SECOND_NS, WEB, batch, cgroup, entry, exits, fork, gap, repair, row
from expressions import Its, always, passing, read, table, text
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import WALL_NS, record, storm
from test_golden import everything
from test_outputs_agree import golden, of_every_kind

from tracer.ask.database import connect
from tracer.ask.event_filter import SCHEMA, EventFilter
from tracer.ask.functions import CLOCKS, VOLATILE
from tracer.ask.process_filter import SCHEMA as OF_PROCESSES
from tracer.ask.process_filter import ProcessFilter
from tracer.errors import NstraceError
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, of_kind
from tracer.stream.schema import EVENT_NAMES, NOTE_KINDS, Kind, Output, columns_in
from tracer.views.jsonl import JsonLines

ROOT = Path(__file__).parents[2]
KINDS = frozenset(kind for kind in Kind if kind.name.lower() in EVENT_NAMES or "THREAD" in kind.name)
T = 20 * SECOND_NS
JOBS = batch(
    cgroup(7, WEB),
    row(Kind.SNAPSHOT, 50, [(PIDNS, 1)], cgroup_id=7, exe=b"/sbin/init", args=[b"init"], state=ord("S")),
    fork(60, [(PIDNS, 15)], cgroup_id=7, comm=b"bash"),
    row(Kind.EXEC, 60, [(PIDNS, 15)], cgroup_id=7, exe=b"/bin/job", args=[b"job", b"--debug", b"a b"], comm=b"job"),
    row(Kind.EXEC, 61, exe=b"/bin/\xe9", args=[b"x'y", "é".encode(), b""], uid=1000, comm=b"\xff", old_tid=62),
    exits(60, [(PIDNS, 15)], cgroup_id=7, status=3 << 8, start_ns=T, ts_ns=T + 2 * SECOND_NS, exe=b"/bin/job"),
    exits(61, status=9, uid=1000, start_ns=T, ts_ns=T + 5),
    exits(62, status=11 | 128),
    exits(63, status=0),
    row(Kind.EXEC_FAILED, 64, exe=b"/no", status=2),
    gap(5),
    repair(),
)
ROWS = [JOBS, golden(), of_every_kind(), storm(1, 5)]
Line = dict[str, Any]
WHERE = table(Its(60, 15, PIDNS, 7, 1, "we", "2023-11-14 22:13:22", 20 * SECOND_NS))


def lines_of(whole: Batch, where: str | None = None) -> list[Line]:
    containers, view = Attribution(), JsonLines(KINDS, True, WALL_NS)
    found = EventFilter(where) if where is not None else None
    if found:
        found.add_run(containers, WALL_NS, "web1")
    texts = [
        view.render(found.passing(part, containers) if found else part, containers)
        for part in containers.split_and_learn(whole)
    ]
    return read(b"".join(texts))


@pytest.mark.parametrize("where", WHERE)
def test_what_passes_is_what_a_loop_over_the_json_finds(where: str) -> None:
    for whole in ROWS:
        assert lines_of(whole, where) == passing(lines_of(whole), WHERE[where])


PARTS = ("event = 'exec'", "uid <> 0", "exit_code <> 0", "ns_pid = 15", "args like '%a%'", "signal is null", "pid > 60")
LOOPS: dict[str, Callable[[Line], bool | None]] = {
    "event = 'exec'": lambda e: e["event"] == "exec",
    "uid <> 0": lambda e: None if e.get("uid") is None else e["uid"] != 0,
    "exit_code <> 0": lambda e: None if e.get("exit_code") is None else e["exit_code"] != 0,
    "ns_pid = 15": lambda e: None if e.get("ns_pid") is None else e["ns_pid"] == 15,
    "args like '%a%'": lambda e: None if text(e) is None else "a" in str(text(e)),
    "signal is null": lambda e: e.get("signal") is None,
    "pid > 60": lambda e: None if e.get("pid") is None else e["pid"] > 60,
}
Three = Callable[[Line], bool | None]


def either(one: Three, other: Three) -> Three:
    """SQL's or: true where one is, unknown where one is unknown and none is true."""
    return lambda e: True if one(e) or other(e) else None if None in (one(e), other(e)) else False


def negated(one: Three) -> Three:
    return lambda e: None if one(e) is None else not one(e)


LEAVES = st.sampled_from(list(LOOPS)).map(lambda part: (part, LOOPS[part]))
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda two: (f"({two[0][0]} or {two[1][0]})", either(two[0][1], two[1][1]))),
        st.tuples(inner, inner).map(
            lambda two: (
                f"({two[0][0]}) and ({two[1][0]})",
                negated(either(negated(two[0][1]), negated(two[1][1]))),
            )
        ),
        inner.map(lambda one: (f"not ({one[0]})", negated(one[1]))),
    ),
    max_leaves=6,
)


@settings(max_examples=80)
@given(EXPRESSIONS)
def test_any_expression_is_as_in_a_loop(expression: tuple[str, Three]) -> None:
    where, loop = expression
    for whole in (JOBS, golden()):
        assert lines_of(whole, where) == [line for line in lines_of(whole) if always(line) or loop(line)]


def test_names_are_those_of_the_json_and_of_tables() -> None:
    names = {column.name for column in columns_in(Output.JSON | Output.THREADS | Output.MARK | Output.EXPORT)}
    assert names - set(SCHEMA.names) <= {"left"}  # of sessions, in JSON alone
    EventFilter(" and ".join(f"{name} is null" for name in SCHEMA.names))


def test_gaps_repairs_and_metadata_pass() -> None:
    containers, found = Attribution(), EventFilter("false")
    found.add_run(containers, WALL_NS, "web1")
    for part in containers.split_and_learn(everything()):
        passing = found.passing(part, containers)
        kept = set(passing.rows["kind"].tolist())
        assert kept <= {Kind.GAP, Kind.REPAIR, Kind.CGROUP, Kind.PIDNS, Kind.MOVE}
        assert of_kind(passing.rows, *NOTE_KINDS).sum() == of_kind(part.rows, *NOTE_KINDS).sum()


WRONG = {
    "comand = 'x'": ("there is no column comand, at character 1: comand = 'x'", "comm"),
    "event = 'exec' and sgnal = 'x'": ("there is no column sgnal, at character 20: sgnal = 'x'", "signal"),
    "args like '%x%' and comand = 3": ("there is no column comand, at character 21: comand = 3", "comm"),
    "é = 1 and pid = 1": ("there is no column é, at character 1: é = 1 and pid = 1", ""),
    "comm = 'é' and pidd = 1": ("there is no column pidd, at character 16: pidd = 1", "pid"),
    "event = 'exec' and": ("something is missing, at its end", ""),
    "event == 'exec' || ": ("something is missing, at its end", ""),
    "pid = 1; drop table x": ('syntax error at or near ";", at character 8', ""),
    "pid = 1 order by 1": ('syntax error at or near "order", at character 9', ""),
    "regexp_matches(comm, '(')": ("missing ): (", ""),
    "exit_code = 'abc'": ("'abc' is no number, and no time, at character 13: 'abc'", ""),
    "exit_code = '5000000000'": ("Could not convert string '5000000000' to INT32", ""),
    "time > '22:05'": ("'22:05' is no number, and no time, at character 8: '22:05'", "--since and --until take 22:05"),
    "lower(pid) = 'x'": ("no such function for these types: lower(INTEGER), at character 1", ""),
    "pid + 1": ("a condition is true or false, and this is INTEGER", "compare it"),
    "pid in (select 1)": ("a condition has no query in it", "nstrace sql"),
    "count(*) > 1": ("WHERE clause cannot contain aggregates, at character 1", ""),
    'event = "exec"': ("there is no column exec, at character 9", "'exec'"),
    "comm = sleep": ("there is no column sleep, at character 8: sleep", "'sleep'"),
    "": ("there is no condition", "for example"),
    "pid > 0 and USER = 'root'": ("there is no column USER, at character 13: USER = 'root'", "uid is the number"),
    "current_user = 'root'": ("there is no column current_user, at character 1", "text is in single quotes"),
    "comm = 'a\udc80'": ("what is asked is not valid UTF-8, at character 10", ""),
    "pid = ?": ("Values were not provided", ""),
    "1=1) or (1=1": ('syntax error at or near ")", at character 4: ) or (1=1', ""),
    "pid = 1)": ('syntax error at or near ")", at character 8: )', ""),
    "pid = 1, 2": ('syntax error at or near ",", at character 8', ""),
    "pid in (1": ("something is missing, at its end", ""),
    "lower(comm = 'x'": ("something is missing, at its end", ""),
    "pid > 0 and random() < 0.5": ("random has another value each time: a replay would not show", "what the row has"),
    "UUID() is not null": ("uuid has another value each time", "what the row has"),
    "time > now() - interval 1 hour": ("now is another time whenever it is asked", "compare with a time"),
    "time > current_timestamp": ("current_timestamp is another time whenever it is asked", "compare with a time"),
    "age(time) > interval 1 day": ("age is another time whenever it is asked", "compare with a time"),
    "contains(args, '-v')": ("contains(args, ...) is true for a whole element alone, at character 1", "args like"),
    "args = '--debug'": ("Type VARCHAR with value '--debug' can't be cast", "list_contains(args"),
    "pids = 15": ("", "list_contains(args"),
}


@pytest.mark.parametrize("where", WRONG)
def test_what_is_wrong_is_said_with_its_place(where: str) -> None:
    with pytest.raises(NstraceError) as caught:
        EventFilter(where)
    message, hint = WRONG[where]
    assert caught.value.message.startswith(message), caught.value.message
    assert hint in caught.value.hint and "\n" not in caught.value.message
    assert caught.value.exit_code == 2


def test_what_changes_each_time_is_known_by_name() -> None:
    """As DuckDB itself lists its functions."""
    listed = connect().execute(
        "select function_name from duckdb_functions() where stability = 'VOLATILE' or stability <> 'CONSISTENT' and"
        " len(parameters) = 0"
    )
    names = {name for (name,) in listed.fetchall()}
    settings = {"current_database", "current_schema"}  # always the same ones here
    assert {"now", "random", "uuid"} <= names - settings <= VOLATILE | CLOCKS


def test_several_conditions_have_all_to_be_true(file: Path) -> None:
    def pids(*words: str) -> list[int]:
        lines = map(json.loads, nstrace("replay", "--json", "-q", *words, file).stdout.splitlines())
        return [line["pid"] for line in lines if "pid" in line]

    assert pids("--where", "pid > 60 or pid = 50", "--where", "pid < 62 -- or not") == [50, 61, 61]
    assert pids("--where", "pid > 60", "--user", "1000", "--user", "0") == pids("--where", "pid > 60")
    done = nstrace("replay", "--where", "1=1) or (1=1", "--where", "pid = 50", file)
    assert done.returncode == 2 and "at character 4: ) or (1=1" in done.stderr
    done = nstrace("replay", "--where", "pid = 50", "--where", "pidd = 1", file)
    assert done.returncode == 2 and "no column pidd, at character 1" in done.stderr


def test_failed_is_a_condition_of_exports(file: Path) -> None:
    plain = nstrace("replay", "--json", "-q", "--failed", file)
    done = nstrace("export", "--failed", "--to", "jsonl", "-w", "-", "-q", file)
    assert done.stdout == plain.stdout and len(done.stdout.splitlines()) > 5


def test_what_cannot_be_evaluated_for_a_row_is_said() -> None:
    with pytest.raises(NstraceError, match="'sh' is no number, and no time"):
        lines_of(JOBS, "comm::int = 1")


def nstrace(*words: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-W", "error::ImportWarning", "-m", "tracer", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=100, cwd=ROOT)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("where") / "jobs.arrows"
    record(path, [JOBS])
    return path


LOOP: dict[str, Callable[[Line], Any]] = {
    "args like '%--debug%'": WHERE["args like '%--debug%'"],
    "uid = 1000 or signal is not null": lambda e: e.get("uid") == 1000 or e.get("signal"),
}


@pytest.mark.parametrize("where", LOOP)
def test_replay_export_and_sql_agree(where: str, file: Path) -> None:
    plain = [json.loads(line) for line in nstrace("replay", "--json", "-q", file).stdout.splitlines()]
    wanted = [line for line in plain if always(line) or LOOP[where](line)]
    replayed = nstrace("replay", "--json", "-q", "--where", where, file)
    exported = nstrace("export", "--to", "jsonl", "-w", "-", "--where", where, file)
    assert replayed.stderr == exported.stderr == ""
    assert [json.loads(line) for line in replayed.stdout.splitlines()] == wanted
    assert exported.stdout == replayed.stdout
    asked = nstrace("sql", "--json", file, f"select pid from events where {where}")
    found = [json.loads(line)["pid"] for line in asked.stdout.splitlines()]
    assert found == [line["pid"] for line in wanted if not always(line)]
    table = nstrace("export", "--to", "csv", "-w", "-", "--where", where, file).stdout
    assert len(table.splitlines()) == len(wanted) + 1


def test_short_forms(file: Path) -> None:
    def pids(*words: str) -> list[int]:
        lines = map(json.loads, nstrace("replay", "--json", "-q", *words, file).stdout.splitlines())
        return [line["pid"] for line in lines if "pid" in line]

    assert pids("--user", "1000") == [61, 61]
    assert pids("--user", "root", "--comm", "job", "--comm", "bash") == [60, 60]
    assert pids("--comm", "job", "--where", "false or pid = 61") == []
    assert pids("--comm", "x' or 'a' = 'a") == []
    assert pids("--comm", "\udcff") == [61]  # the byte ff, as it comes from the command line
    assert pids("--comm", "job", "--where", "pid > 0 -- and no more") == [60]
    for verb in ("ps", "tree"):
        assert nstrace(verb, "-q", "--from", file, "all").stdout.split() == ["50", "60"]
        assert nstrace(verb, "-q", "--from", file, "--comm", "sh", "all").stdout.split() == ["50"]
        for other in (["--comm", "init"], ["--user", "1000"]):
            assert nstrace(verb, "-q", "--from", file, *other, "all").stdout == ""
    exported = nstrace("export", "--to", "jsonl", "-w", "-", "--comm", "job", file).stdout
    assert exported == nstrace("replay", "--json", "-q", "--comm", "job", file).stdout
    done = nstrace("replay", "--user", "no-such-user", file)
    assert done.returncode == 2 and "this host has no user 'no-such-user'" in done.stderr


@pytest.mark.parametrize("verb", ["replay", "ps --from", "export --to csv -w -"])
def test_an_empty_condition_is_none(verb: str, file: Path) -> None:
    done = nstrace(*verb.split(), file, "--where", "")
    assert done.returncode == 2 and done.stderr.startswith("nstrace: --where: there is no condition\n")


def test_counts_are_of_what_passes(file: Path) -> None:
    done = nstrace("replay", "--where", "event = 'exit'", "--count", "2", file)
    assert done.stderr == "nstrace: 2 events (2 exits) in 2.0 s, 0 lost\n"


def test_a_wrong_condition_is_said_before_anything_is_read(file: Path) -> None:
    verbs = (
        "replay",
        "export --to csv -w -",
        "ps --from",
        "tree --from",
        "follow",
        "record -w /tmp/x.arrows",
        "run --",
    )
    for verb in verbs:
        first, *words = verb.split()
        done = nstrace(first, "--where", "comand = 'x'", *words, "web" if first in ("follow", "record") else "-")
        assert done.returncode == 2, (verb, done.stderr)
        assert done.stderr.startswith("nstrace: --where: there is no column comand, at character 1: comand = 'x'\n")


def test_processes_of_a_list(file: Path) -> None:
    one, other = entry([60, 15], None, WEB), entry([61, 16], comm=b"job", uid=5)
    names = {0: "root", 5: "web"}.__getitem__

    def found(where: str) -> list[int]:
        return [each.numbers[0] for each in ProcessFilter(where).passing([one, other], names)]

    assert found("container = 'web'") == [60] and found("user = 'web'") == [61]
    assert found("ns_pid = 16 and args like '%sleep 1'") == [61]
    assert found("state = 'S' and started > '2023-11-14' and len(pids) = 2") == [60, 61]
    ProcessFilter(" and ".join(f"{name} is null" for name in OF_PROCESSES.names))
    assert ProcessFilter("true").passing([], names) == []
    listed = nstrace("ps", "--from", file, "--json", "--where", "comm = 'init' or pid = 50", "all")
    assert [json.loads(line)["pid"] for line in listed.stdout.splitlines()] == [50]


def test_a_recording_keeps_what_names_sessions() -> None:
    containers, found, rows = Attribution(), EventFilter("false"), golden()
    found.add_run(containers, WALL_NS, "web1")
    for part in containers.split_and_learn(rows):
        sessions = int(of_kind(part.rows, Kind.SESSION).sum())
        assert of_kind(found.passing(part, containers).rows, Kind.SESSION).sum() == 0
        kept = found.kept(part, containers)
        assert of_kind(kept.rows, Kind.SESSION).sum() == sessions
        again = found.passing(kept, containers).rows["kind"].tolist()
        assert again == found.passing(part, containers).rows["kind"].tolist()
