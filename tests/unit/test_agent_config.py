"""The agent's configuration: what it takes, and where it says what is wrong."""

from pathlib import Path

import pytest

from tracer.agent.config import Config, Incidents, Metrics, Publish, Record, Trigger, parse_config, problems_in
from tracer.agent.config_reader import VARIABLE, check_host, read_config
from tracer.agent.toml_lines import line_of
from tracer.errors import NstraceError

WHOLE = """
[record]
targets = ["web-*", "host"]
folder = "/srv/nstrace"
rotate_size = "16 MB"
rotate_interval = "10m"
keep = ["2 GB", "12 hours"]
min_free = "500 MB"
buffer_size = "1 MiB"
max_args_bytes = 0
threads = true
redact = true

[[trigger]]
where = "event = 'exit' and oom"
before = "2m"
after = "10s"
run = ["/usr/bin/logger", "{file}"]
user = "daemon"
timeout = "5s"

[[trigger]]
where = "comm = 'sh'"

[incidents]
keep = 7
keep_per_container = 3

[metrics]
listen = "[::1]:9000"
containers = 3

[publish]
cluster = "eu-1"
host = "node_7"
sink = "nats"
url = ["nats://a:4222", "nats://b:4222"]
credentials_file = "/etc/nstrace/nats.creds"
rate = "1 MB"
every = "10s"
"""


def test_all_of_it() -> None:
    config = parse_config(WHOLE, "agent.toml")
    assert config.record == Record(
        ("web-*", "host"), Path("/srv/nstrace"), 16_000_000, 600.0, 2_000_000_000, 43_200.0, 500_000_000, 1 << 20, 0,
        threads=True, redact=True,
    )  # fmt: skip
    assert config.triggers == (
        Trigger("event = 'exit' and oom", 120.0, 10.0, ("/usr/bin/logger", "{file}"), "daemon", 5.0),
        Trigger("comm = 'sh'"),
    )
    assert config.incidents == Incidents(7, 3)
    assert config.metrics == Metrics("::1", 9000, 3)
    assert config.publish == Publish(
        "eu-1", "nats", ("nats://a:4222", "nats://b:4222"), "node_7", Path("/etc/nstrace/nats.creds"),
        rate_bytes_s=1_000_000,
        every_s=10.0,
    )  # fmt: skip


@pytest.mark.parametrize("key", ["every", "rotate_interval", "timeout", "after", "before"])
def test_the_example_of_a_duration_is_valid(key: str) -> None:
    """What is said of one that is not."""
    tables = {"every": "publish", "rotate_interval": "record"}

    def said(value: str) -> str:
        table = tables.get(key)
        lines = f"[{table}]" if table else '[[trigger]]\nwhere = "oom"'
        lines += '\ncluster = "a"\nsink = "nats"\nurl = "nats://a:4222"' if table == "publish" else ""
        return "".join(error.hint or "" for error in problems_in(f'{lines}\n{key} = "{value}"\n', "a.toml"))

    example = said("never").partition('for example "')[2].partition('"')[0]
    assert example and not said(example)


def test_nothing_is_everything_by_default() -> None:
    config = parse_config("", "agent.toml")
    assert config == Config()
    assert config.record.targets == ("host", "all")
    assert (config.metrics, config.publish) == (None, None)
    assert parse_config("[metrics]", "agent.toml").metrics == Metrics()


@pytest.mark.parametrize(
    ("keep", "limits"),
    [('"20 GB"', (20_000_000_000, None)), ('"7 days"', (None, 604_800.0)), ('["1d", "1GiB"]', (1 << 30, 86_400.0))],
)
def test_one_kept_limit_is_the_only_one(keep: str, limits: tuple[int | None, float | None]) -> None:
    record = parse_config(f"[record]\nkeep = {keep}", "a").record
    assert (record.keep_bytes, record.keep_s) == limits


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[record]\nkeep = '20 GB", 2, "not valid TOML"),
        ("[record\n", 1, "not valid TOML"),
        ("# a\n\n[recrod]\n", 3, "no table 'recrod'"),
        ("record = 3", 1, "record is no table"),
        ("[trigger]\nwhere = 'true'", 1, "trigger is no table"),
        ("[record]\nkeep = '7 days'\nkept = 1", 3, "record.kept: there is no such key"),
        ("[record]\nkeep = 20", 2, "record.keep: 20 is not valid"),
        ("[record]\nkeep = '20 G'", 2, "record.keep: '20 G' is not valid"),
        ("[record]\nkeep = ['1 GB', '2 GB']", 2, "record.keep"),
        ("[record]\ntargets = [\n  'web',\n  'a b',\n]", 2, "record.targets: 'a b' is not a valid target"),
        ("[record]\ntargets = ['pid:1']", 2, "record.targets"),
        ("[record]\ntargets = []", 2, "record.targets"),
        ("[record]\nfolder = 'here'", 2, "record.folder"),
        ("[record]\nfolder = '/var/../etc'", 2, "record.folder"),
        ("[record]\nrotate_size = '1 kB'", 2, "record.rotate_size"),
        ("[record]\nthreads = 1", 2, "record.threads"),
        ("[record]\nmax_args_bytes = true", 2, "record.max_args_bytes"),
        ("[[trigger]]\nwhere = '1'\n[[trigger]]\n# no condition\nafter = '1s'", 3, "[[trigger]] has no where"),
        ("[[trigger]]\nwhere = '1'\n\n[[trigger]]\nwhere = '1'\nrun = [3]", 6, "trigger.run"),
        ("[metrics]\nlisten = 'localhost'", 2, "metrics.listen"),
        ("[metrics]\nlisten = '127.0.0.1:99999'", 2, "metrics.listen"),
        ("[metrics]\nlisten = '127.0.0.1:0'", 2, "metrics.listen"),
        ("[metrics]\nlisten = '999.0.0.1:80'", 2, "metrics.listen"),
        ("[incidents]\nkeep = 5\nkeep_per_container = 0", 3, "incidents.keep_per_container"),
        ("[incidents]\nkeep = " + 5000 * "9", 2, "not valid TOML"),
        ("[publish]\ncluster = 'a'\nsink = 'nats'", 1, "[publish] has no url"),
        ("[publish]\ncluster = 'a b'\nsink = 'nats'\nurl = 'nats://a'", 2, "publish.cluster"),
        ("[publish]\ncluster = 'a'\nsink = 'http'\nurl = 'nats://a'", 3, "publish.sink"),
        ("[publish]\ncluster = 'a'\nsink = 'nats'\nurl = 'nats://me:s3cret@a'", 4, "no secret"),
        ("[publish]\ncluster = 'a'\nsink = 'nats'\nurl = 'a'\ntoken_file = 's3cret'", 5, "publish.token_file"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(NstraceError) as wrong:
        parse_config(text, "agent.toml")
    assert wrong.value.message.startswith(f"agent.toml:{line}: ")
    assert words in wrong.value.message
    assert wrong.value.hint and wrong.value.exit_code == 2
    assert "s3cret@" not in wrong.value.message


def test_all_that_is_wrong_is_said_in_order() -> None:
    text = "[publish]\nsink = 1\n[record]\nkeep = 1\n[[trigger]]\nbefore = 'x'\n"
    places = [error.message.split(": ")[0] for error in problems_in(text, "a")]
    assert places == ["a:1", "a:1", "a:2", "a:4", "a:5", "a:6"]


@pytest.mark.parametrize(
    ("place", "line"),
    [(("a",), 2), (("b", "c"), 4), (("b", "d"), 9), (("t", 0, "x"), 14), (("t", 1), 15), (("t", 1, "x"), 16)],
)
def test_lines_of_values(place: tuple[str | int, ...], line: int) -> None:
    text = '\na.x = 1\n[b]\nc = [\n 1,\n 2 ]\n\n# d = 5\nd = """\nd = 6\n"""\n\n[[t]]\nx = 1\n[[t]]\nx = 2\n'
    assert line_of(text, place) == line


def test_lines_of_many_values() -> None:
    tables = [f'[[t]]\nx = [\n 1,\n 2]\ny = """\n{number}\n"""\n\n' for number in range(50)]
    for number in range(50):
        assert line_of("".join(tables), ("t", number, "x")) == 8 * number + 2
        assert line_of("".join(tables), ("t", number, "y")) == 8 * number + 5


@pytest.mark.parametrize("has_library", [True, False])
def test_what_the_host_lacks_is_said_with_its_line(
    has_library: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracer.agent.host_check.find_spec", lambda _name: has_library or None)
    path = tmp_path / "agent.toml"
    path.write_text(
        "[[trigger]]\nwhere = 'oom'\nrun = ['sh']\n[[trigger]]\nwhere = 'oom'\nuser = 'nobody-there'\nrun = ['./sh']\n"
        "[publish]\ncluster = 'a'\nsink = 'nats'\nurl = 'http://a'\ntoken_file = '/none'\n"
    )
    assert [(error.message.split(": ")[:2], error.exit_code) for error in check_host(str(path))] == [
        ([f"{path}:7", "trigger.run"], 2),
        ([f"{path}:6", "trigger.user"], 2),
        *([] if has_library else [([f"{path}:10", "publish.sink"], 2)]),
        ([f"{path}:12", "publish.token_file"], 2),
        ([f"{path}:11", "publish.url"], 2),
    ]
    path.write_text("[record]\nkeep = '1 GB'\n")
    assert check_host(str(path)) == []


def test_a_file_of_others_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("[record]\nkeep = '1 GB'\n")
    monkeypatch.setenv(VARIABLE, str(path))
    assert read_config().record.keep_bytes == 1_000_000_000
    path.chmod(0o666)
    with pytest.raises(NstraceError, match="can be written by everyone"):
        read_config()
    path.unlink()
    with pytest.raises(NstraceError, match="no such file"):
        read_config()
    path.write_bytes(b"[record]\n# \xff\n")
    path.chmod(0o600)
    with pytest.raises(NstraceError, match="not valid UTF-8, at byte 11"):
        read_config()
