"""nstrace sql: what it answers is what a plain loop over the JSON gives; it reads the recordings and nothing else."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import PIDNS, SECOND_NS, WEB, batch, cgroup, exits, fork, gap, repair, row
from recordings import record, storm
from test_outputs_agree import golden

from tracer.ask.relations import RELATIONS
from tracer.stream.batch import Batch
from tracer.stream.schema import Flag, Kind, Output, columns_in

ROOT = Path(__file__).parents[2]
T = 20 * SECOND_NS
LIVES = batch(
    cgroup(7, WEB),
    row(Kind.SNAPSHOT, 50, [(PIDNS, 1)], cgroup_id=7, exe=b"/bin/init", args=[b"init"], start_ns=T, ts_ns=T + 10),
    fork(60, [(PIDNS, 15)], cgroup_id=7, start_ns=T + 20, parent_tgid=50, parent_start_ns=T),
    row(Kind.EXEC, 60, [(PIDNS, 15)], cgroup_id=7, exe=b"/bin/a", args=[b"a", b"1"], start_ns=T + 20, ts_ns=T + 30),
    row(Kind.EXEC_FAILED, 60, [(PIDNS, 15)], cgroup_id=7, exe=b"/no", status=2, start_ns=T + 20, ts_ns=T + 35),
    row(Kind.EXEC, 60, [(PIDNS, 15)], cgroup_id=7, exe=b"/bin/b", args=[b"b"], start_ns=T + 20, ts_ns=T + 40, uid=5),
    exits(60, [(PIDNS, 15)], cgroup_id=7, status=3 << 8, start_ns=T + 20, ts_ns=T + 50, parent_tgid=1, uid=5),
    fork(61, [(PIDNS, 16)], cgroup_id=7, start_ns=T + 60, ts_ns=T + 60),
    fork(62, [(PIDNS, 17)], cgroup_id=7, start_ns=T + 61, ts_ns=T + 61),
    gap(4, since_ns=T + 65, until_ns=T + 70),
    exits(62, [(PIDNS, 17)], cgroup_id=7, flags=Flag.INFERRED, start_ns=T + 61, ts_ns=T + 75),
    exits(61, [(PIDNS, 16)], cgroup_id=7, status=9, start_ns=T + 60, ts_ns=T + 80),
)
UNREPAIRED = batch(*(fork(nr, start_ns=T + nr) for nr in (70, 71)), gap(4, since_ns=T + 80, until_ns=T + 90))


def nstrace(*words: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-W", "error::ImportWarning", "-m", "tracer", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=100, cwd=ROOT)


def ask(file: Path, query: str, *options: str) -> list[dict[str, Any]]:
    done = nstrace("sql", "--json", *options, file, query)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return list(map(json.loads, done.stdout.splitlines()))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def write(name: str, *batches: Batch) -> Path:
        path = tmp_path_factory.mktemp("sql") / f"{name}.arrows"
        record(path, batches)
        return path

    return write


@pytest.fixture(scope="module")
def lives(recorded: Callable[..., Path]) -> Path:
    return recorded("lives", LIVES)


def test_a_process_is_one_row_with_all_that_is_known_of_it(lives: Path) -> None:
    found = {line["pid"]: line for line in ask(lives, "select * from processes")}
    assert list(found[60]) == list(RELATIONS["processes"].facts)
    assert set(found) == {50, 60, 61, 62}
    job = found[60]
    assert job["pids"] == [60, 15] and job["container"] == "web" and job["incarnation"] == 1
    assert (job["ppid"], job["uid"]) == (50, 5)  # who forked it; as whom it ran last
    assert job["commands"] == ["a 1", "b"] and (job["exe"], job["args"]) == ("/bin/b", ["b"])
    assert job["failed_execs"] == 1
    assert (job["exit_code"], job["signal"], job["duration_ns"]) == (3, None, 30)
    assert job["began"].endswith("40.000000020Z") and job["ended"].endswith("40.000000050Z")
    assert job["began_sure"] and job["ended_sure"]
    assert found[61]["signal"] == "SIGKILL"


def test_what_is_not_sure_says_so(lives: Path, recorded: Callable[..., Path]) -> None:
    query = "select pid, began_sure, ended, ended_sure from processes order by pid"
    sure = {line["pid"]: (line["began_sure"], line["ended"] is None, line["ended_sure"]) for line in ask(lives, query)}
    assert sure[62] == (True, False, False)  # found to have ended
    assert sure[50] == (False, True, False)  # may have ended in the gap
    repaired = recorded("repaired", UNREPAIRED, batch(repair(T + 95)))
    alive = recorded("alive", UNREPAIRED, batch(row(Kind.EXEC, 70, start_ns=T + 70, ts_ns=T + 99)))
    assert [line["ended_sure"] for line in ask(recorded("gap", UNREPAIRED), query)] == [False, False]
    assert [line["ended_sure"] for line in ask(repaired, query)] == [True, True]
    assert [line["ended_sure"] for line in ask(alive, query)] == [True, False]


def test_containers_and_gaps(lives: Path) -> None:
    (web,) = ask(lives, "from containers")
    assert (web["container"], web["processes"], web["execs"], web["exits"]) == ("web", 4, 2, 3)
    assert (web["failed"], web["killed"]) == (1, 1)
    (lost,) = ask(lives, "from gaps")
    assert (lost["lost"], lost["since"][-4:], lost["time"][-4:]) == (4, "065Z", "070Z")


def flat_lines(file: Path) -> list[dict[str, Any]]:
    """The lines of replay --json, under the names of the table."""
    done = nstrace("replay", "--json", "--threads", "-q", file)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for line in lines:
        found = line.get("container") or {}
        line |= {"container": found.get("name") or found.get("id", "")[:12] or None}
    return lines


WHERE: dict[str, Callable[[dict[str, Any]], bool]] = {
    "event = 'exec' and comm in ('sh', 'bash')": lambda e: e["event"] == "exec" and e.get("comm") in ("sh", "bash"),
    "exit_code <> 0 or signal is not null": lambda e: bool(e.get("exit_code")) or e.get("signal") is not None,
    "ns_pid = 15": lambda e: e.get("ns_pid") == 15,
    "list_contains(pids, 60)": lambda e: 60 in (e.get("pids") or []),
    "duration_ns > 1e9": lambda e: (e.get("duration_ns") or 0) > 1e9,
    "container like 'w%'": lambda e: (e.get("container") or "").startswith("w"),
    "not inferred and level > 0": lambda e: not e.get("inferred") and (e.get("level") or 0) > 0,
    "event in ('gap', 'repair')": lambda e: e["event"] in ("gap", "repair"),
}


@pytest.mark.parametrize("where", WHERE)
def test_rows_are_those_of_a_loop_over_the_json(where: str, lives: Path, recorded: Callable[..., Path]) -> None:
    for file in (lives, recorded("all", golden())):
        wanted = Counter((line["time"], line.get("proc_id")) for line in flat_lines(file) if WHERE[where](line))
        found = ask(file, f"select time, proc_id from events where {where}")
        assert Counter((line["time"], line["proc_id"]) for line in found) == wanted


def test_all_columns_of_exports_are_there(lives: Path) -> None:
    (first, *_rest) = ask(lives, "from events")
    assert list(first) == [column.name for column in columns_in(Output.EXPORT)]


def test_the_tables_that_are_listed_are_those_that_can_be_named(lives: Path) -> None:
    assert [row["name"] for row in ask(lives, "show tables")] == ["containers", "events", "gaps", "processes"]


IN_UTC = "2026-11-29 21:58:12.7"
OFFSETS = {
    "time < '2026-11-29T23:58:12.7+02:00'": IN_UTC, "'2026-11-29 23:58:12.7 +0200' >= time": IN_UTC,
    "time between '2026-11-29' and '2026-11-29T19:58:12.7-02'": IN_UTC,
    "time in ('2026-11-29T21:58', '2026-11-30T00:58+03:00')": "2026-11-29 21:58:00",
    "coalesce(since, time) > '2026-11-29T23:58:12.7+02:00'": IN_UTC,
    "time > '2026-11-29T23:58:12.7+02:00'::timestamp_ns": IN_UTC,
    "time > timestamp '2026-11-29T23:58:12.7+02:00'": IN_UTC, "time < '2026-11-29 23:58:12.7 Europe/Berlin'": "",
    "time > '2026-13-29T23:58:12.7+02:00'": "",
}  # fmt: skip


@pytest.mark.parametrize("where", OFFSETS)
def test_an_offset_is_never_dropped(where: str) -> None:
    for argv in (["sql", "-", f"select time from events where {where}"], ["replay", "--where", where, "-"]):
        done = nstrace(*argv)
        assert done.returncode == 2
        assert re.match(
            "nstrace: (--where: )?a time in SQL has no offset or zone(, at character \\d+: .+)?\n", done.stderr
        )
        same = f": '{OFFSETS[where]}'" if OFFSETS[where] else ""
        assert done.stderr.splitlines()[1:] == [f"  times are in UTC{same}"]


def test_text_that_looks_like_a_time_is_text(lives: Path) -> None:
    day = "2026-11-29T23:58:12"
    texts = (f"args[1] = '{day}+02:00'", f"exe in ('{day} PST')", f"time > '{day}Z'", f"time > '{day}.5+00:00'")
    other = f"time > '{day}+02:00'::timestamptz::timestamp_ns"
    assert ask(lives, f"select count(*) n from events where {' or '.join([*texts, other])}") == [{"n": 0}]


OF_TEXT = {
    "args like 'a 1'": True, "args not ilike 'A%'": False, "args glob 'a *'": True, "args ^@ 'a '": True,
    "regexp_replace(args, '\\d', 'x')": "a x", "regexp_extract_all(args, '[a1]')": ["a", "1"], "lower(args)": "a 1",
    "lcase(args)": "a 1", "reverse(args)": "1 a", "substring(args, 1, 2)": "a ", "left(args, 1)": "a",
    "split_part(args, ' ', 2)": "1", "string_split(args, ' ')": ["a", "1"], "replace(args, ' ', '-')": "a-1",
    "trim(args, 'a')": " 1", "lpad(args, 4, '.')": ".a 1", "translate(args, 'a', 'b')": "b 1",
    "position('1' in args)": 3, "args[2]": "1", "len(args)": 2, "list_contains(args, '1')": True,
    "pids like '60 1%'": True, "replace(pidns_chain, ' ', ',') like '%,%'": True,
}  # fmt: skip


@pytest.mark.parametrize("text", OF_TEXT)
def test_a_list_is_a_line_where_text_is_wanted(text: str, lives: Path) -> None:
    (found,) = ask(lives, f"select {text} as it from events where event = 'exec' and comm = 'a' or args = ['a', '1']")
    assert found == {"it": OF_TEXT[text]}


OWN = {
    "with t as (select array_to_string(args, ' ') as args from events) select * from t where args like 'a _'": "args",
    "select pids from (select upper(comm) as pids from events) where lower(pids) like 'sh' limit 1": "pids",
    "select count(*) n from (select comm commands, args from events) where commands like 's_' and args like 'a _'": "n",
}


@pytest.mark.parametrize("query", OWN)
def test_what_a_query_calls_like_a_list_is_its_own(query: str, lives: Path) -> None:
    (found,) = ask(lives, query)
    assert found == {OWN[query]: {"args": "a 1", "pids": "SH", "n": 1}[OWN[query]]}


TITLES = {
    "select lower(args) from events limit 1": "lower(args)",
    "select e.args like 'x' from events e limit 1": "(e.args ~~ 'x')",
    'select upper("args") || lower(commands) from processes limit 1': "(upper(args) || lower(commands))",
    "select array_to_string(args, ' ') from events limit 1": "array_to_string(args, ' ')",
}


@pytest.mark.parametrize("query", TITLES)
@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_a_title_is_what_was_typed(query: str, form: str, lives: Path) -> None:
    first = nstrace("sql", form, lives, query).stdout.splitlines()[0]
    assert (list(json.loads(first)) if form == "--json" else next(csv.reader([first]))) == [TITLES[query]]


def test_several_files_and_a_window(recorded: Callable[..., Path]) -> None:
    files = [recorded(f"part{nr}", storm(nr * 1000, 100)) for nr in (1, 2)]
    query = "select count(*) n from events"
    done = nstrace("sql", "--json", *files, query)
    assert json.loads(done.stdout) == {"n": 600}
    assert ask(files[0], query, "--since", "+10ms", "--until", "+10ms")[0]["n"] < 60


FORMS: dict[str, Callable[[bytes], Iterable[dict[str, Any]]]] = {
    "jsonl": lambda data: map(json.loads, data.splitlines()),
    "csv": lambda data: csv.DictReader(io.StringIO(data.decode())),
    "parquet": lambda data: pq.read_table(pa.py_buffer(data)).to_pylist(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_result_in_a_file_is_whole_and_private(form: str, lives: Path, tmp_path: Path) -> None:
    out = tmp_path / f"out.{form}"
    lived = "ended - ended + interval 30 minutes as lived"
    query = f"select pid, signal, commands, {lived} from processes where ended_sure order by pid"
    wrote = nstrace("sql", "-w", out, lives, query)
    assert (wrote.returncode, wrote.stdout) == (0, "") and wrote.stderr.startswith(f"nstrace: wrote {out}: 2 rows, ")
    assert out.stat().st_mode & 0o777 == 0o600
    rows = list(FORMS[form](out.read_bytes()))
    assert [int(row["pid"]) for row in rows] == [60, 61]
    assert rows[0]["lived"] == "00:30:00"
    assert rows[1]["signal"] == "SIGKILL" and not rows[0]["signal"]
    assert rows[0]["commands"] in (["a 1", "b"], '["a 1","b"]')
    again = nstrace("sql", "-w", out, lives, query)
    assert again.returncode == 1 and "already exists" in again.stderr
    assert nstrace("sql", "--force", "-q", "-w", out, lives, query).stderr == ""


def test_times_in_parquet_are_of_the_zone_utc(lives: Path, tmp_path: Path) -> None:
    assert nstrace("sql", "-w", tmp_path / "o.parquet", lives, "select time from events").returncode == 0
    assert str(pq.read_schema(tmp_path / "o.parquet").field("time").type) == "timestamp[ns, tz=UTC]"


@pytest.mark.parametrize("what", ["processes", "containers", "gaps"])
def test_export_writes_the_same_tables(what: str, lives: Path) -> None:
    done = nstrace("export", "--what", what, "--to", "jsonl", "-w", "-", lives)
    found = list(map(json.loads, done.stdout.splitlines()))
    order = "began" if what == "processes" else "1"
    assert found == ask(lives, f"from {what} order by {order}") and len(found) > (what == "processes")


def test_columns_on_a_page(lives: Path) -> None:
    done = nstrace("sql", lives, "select pid, comm, signal, '\x1b[31m' as odd from processes where pid > 60 order by 1")
    assert done.stdout.splitlines() == [
        "pid comm signal  odd", " 61 sh   SIGKILL \\x1b[31m", " 62 sh   -       \\x1b[31m",
    ]  # fmt: skip


WRONG = {
    "select comand from events": "there is no column comand, at character 8: comand from events",
    "select pid from processes where commnd is null": "there is no column commnd, at character 33: commnd is null",
    "select * from evnts": "there is no table evnts, at character 15: evnts",
    'select * from events where comm = "sh"': 'there is no column sh, at character 35: "sh"',
    "select é, comand from events": "there is no column é, at character 8: é, comand from events",
    "select lower(pid) from events": "no such function for these types: lower(INTEGER), at character 8: lower(pid)",
    "drop table events": "the query is a DROP statement, not a SELECT",
    "select 1; select 2": "these are 2 queries",
    " ": "there is no query",
    "copy events to 'x.csv'": "the query is a COPY statement, not a SELECT",
    "set enable_external_access = true": "the query is a SET statement, not a SELECT",
    "attach 'x.db'": "the query is a ATTACH statement, not a SELECT",
    "from read_text('/etc/hostname')": "a query reads the recordings alone, at character 6: read_text(",
    "from read_csv('https://example.com/x.csv')": "a query reads the recordings alone, at character 6: read_csv(",
    "from 'other.parquet'": "a query reads the recordings alone",
}


@pytest.mark.parametrize("query", WRONG)
def test_what_is_wrong_is_said_in_a_line_before_anything_is_read(query: str) -> None:
    done = nstrace("sql", "-", query)  # stdin is read by nobody
    assert done.returncode == 2 and not done.stdout
    first, *hints = done.stderr.splitlines()
    assert first.startswith(f"nstrace: {WRONG[query]}") and len(hints) <= 1, done.stderr


@pytest.mark.parametrize("words", [["sql", f"select {'x' * 300}"], ["replay", "x" * 300], ["diff", "x" * 300, "a"]])
def test_what_is_too_long_for_a_path_is_none(words: list[str]) -> None:
    done = nstrace(*words)
    assert done.returncode and "unexpected" not in done.stderr and len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("form", [["--json"], ["-w", "out.parquet"], ["-w", "out.jsonl"]])
def test_no_column_is_lost_where_two_have_one_title(form: list[str], lives: Path, tmp_path: Path) -> None:
    if form[0] == "-w":
        form = ["-w", str(tmp_path / form[1])]
    query = "select e.pid, p.pid from events e join processes p using (proc_id)"
    done = nstrace("sql", *form, lives, query)
    assert done.returncode == 2 and "two columns of the result are called pid\n" in done.stderr
    assert "Traceback" not in done.stderr and not done.stdout and not list(tmp_path.iterdir())
    assert nstrace("sql", "--csv", lives, query).stdout.startswith("pid,pid\n")


def test_what_is_wrong_with_one_row_is_said_too(lives: Path) -> None:
    done = nstrace("sql", lives, "select comm::int from events")
    assert done.returncode == 2 and done.stderr.startswith("nstrace: 'sh' is no number, and no time")


def test_it_is_said_in_a_line_while_more_is_there_to_read(tmp_path: Path) -> None:
    record(tmp_path / "x.arrows", [storm(at, 3000) for at in range(0, 60_000, 3000)])
    done = nstrace("sql", tmp_path / "x.arrows", "select comm::int from events")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


def test_a_pipe_is_read_once(lives: Path) -> None:
    argv = [sys.executable, "-m", "tracer", "sql", "-"]
    for query, code in (("select count(*) from processes", 0), ("from events join events e using (pid)", 2)):
        done = subprocess.run([*argv, query], input=lives.read_bytes(), capture_output=True, timeout=100, cwd=ROOT)
        assert done.returncode == code, done.stderr
    assert b"a pipe can be read once" in done.stderr


def test_a_query_or_a_file_is_missing(lives: Path) -> None:
    for words, missing in (([lives], "query"), ([lives, lives], "query"), (["from events"], "recording")):
        done = nstrace("sql", *words)
        assert done.returncode == 2 and f"the {missing} is missing" in done.stderr


def test_the_query_comes_last(lives: Path) -> None:
    done = nstrace("sql", "select 1", lives)
    assert done.returncode == 2 and f"nstrace sql {lives} 'select 1'" in done.stderr


def test_a_damaged_recording_is_said_and_answered(recorded: Callable[..., Path]) -> None:
    path = recorded("damaged", storm(1, 100), storm(200, 100), storm(400, 100))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    done = nstrace("sql", "--json", path, "select count(*) n, sum(lost) lost from events")
    assert done.returncode == 0 and "is damaged at byte" in done.stderr
    assert json.loads(done.stdout)["lost"] == 300
