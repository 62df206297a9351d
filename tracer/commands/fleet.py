"""nstrace fleet: many hosts, through a server."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tracer.commands import fleet_ask, fleet_join
from tracer.errors import ExitCode, NstraceError
from tracer.wiring.completing import complete_file
from tracer.wiring.fleet_completing import complete_host
from tracer.wiring.result_options import Result, result_options

if TYPE_CHECKING:
    from tracer.fleet.access import Access
    from tracer.fleet.sink import Sink


@click.group("fleet")
def command() -> None:
    """Many hosts: each publishes its recordings to NATS JetStream, and archivers make Parquet of them.

    \b
    nstrace fleet init --nats nats://HOST --replicas 3
    nstrace fleet publish --nats nats://HOST --from /var/lib/nstrace
    nstrace fleet archive --nats nats://HOST --to s3://BUCKET/nstrace

    It needs pip install 'nstrace[fleet]'.
    """


def _file(name: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(name, metavar="FILE", type=Path, help=text, shell_complete=complete_file)


def server_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options about the server; the function gets them as `access`, which returns an Access."""
    options = (
        _file("--token-file", "A file with the token."),
        _file("--creds", "A credentials file of NATS."),
        _file("--tls-key", "Our key, PEM."),
        _file("--tls-cert", "Our certificate, PEM."),
        _file("--tls-ca", "Certificates to trust, PEM; else the system's."),
        click.option(
            "--nats", "urls", metavar="URL[,URL...]", help="The servers: nats://HOST:PORT or tls://HOST:PORT."
        ),
    )

    @functools.wraps(function)
    def with_access(
        urls: str | None, tls_ca: Path | None, tls_cert: Path | None, tls_key: Path | None,
        creds: Path | None, token_file: Path | None, **others: Any,
    ) -> Any:  # fmt: skip
        def access() -> Access:
            if urls is None:
                raise NstraceError("no server is named", "for example --nats nats://127.0.0.1:4222", ExitCode.USAGE)
            check_library("nats", "fleet")
            from tracer.fleet.access import Files, access_of

            return access_of(urls, Files(tls_ca, tls_cert, tls_key, creds, token_file))

        return function(access=access, **others)

    made: Callable[..., Any] = with_access
    for option in options:
        made = option(made)
    return made


def check_library(library: str, extra: str) -> None:
    """Raises NstraceError where a library of an extra is not installed."""
    from importlib.util import find_spec

    if not find_spec(library):
        raise NstraceError(f"nstrace fleet needs the library {library}", f"pip install 'nstrace[{extra}]'")


def name_of(what: str, name: str) -> str:
    """A name of a cluster or host. Raises NstraceError (usage)."""
    from tracer.fleet.names import is_name

    if not is_name(name):
        hint = "letters, digits, dots, - and _, at most 63"
        raise NstraceError(f"{name!r} cannot be the name of a {what}", hint, ExitCode.USAGE)
    return name


@command.command("init")
@server_options
@click.option("--replicas", type=click.IntRange(1, 5), help="On how many servers. Default of new streams: 1.")
@click.option("--keep", metavar="TIME", help="How long batches are kept. Default of new streams: 7d.")
@click.option("--max-bytes", metavar="SIZE", help="How many bytes of batches are kept, the latest. Default: all.")
def init(access: Callable[[], Access], replicas: int | None, keep: str | None, max_bytes: str | None) -> int:
    """Make the streams on the server that hold what hosts publish, or change them: what no option says stays.

    \b
    nstrace fleet init --nats nats://10.0.0.1 --replicas 3 --keep 7d --max-bytes 200GB
    """
    from tracer.typed.durations import parse_duration
    from tracer.typed.sizes import parse_size

    keep_s = None if keep is None else parse_duration(keep) / 1e9
    size = None if max_bytes is None else parse_size(max_bytes)
    found = access()
    from tracer.fleet.nats_client import Connection
    from tracer.fleet.nats_streams import make_streams
    from tracer.fleet.running import run

    connection = Connection(found, "nstrace init")
    for line in run(make_streams(connection, replicas, keep_s, size), connection):
        click.echo(line)
    return 0


@command.command("publish")
@server_options
@click.option(
    "--from",
    "folder",
    metavar="FOLDER",
    type=Path,
    required=True,
    shell_complete=complete_file,
    help="The folder that nstrace record or nstrace agent fills.",
)
@click.option("--cluster", default="default", show_default=True, help="The cluster that this host belongs to.")
@click.option("--host", help="The name of this host. Default: the system's.")
@click.option(
    "--state",
    metavar="FILE",
    type=Path,
    shell_complete=complete_file,
    help="Where the place is remembered. Default: FOLDER/publisher.state.",
)
@click.option("--kafka", "brokers", metavar="HOST:PORT[,...]", help="Publish to Kafka, in place of --nats.")
@click.option(
    "--kafka-config",
    metavar="FILE",
    type=Path,
    shell_complete=complete_file,
    help="Settings of librdkafka, name=value in each line: security.protocol, sasl.password, ...",
)
@click.option("--topic", default="nstrace", show_default=True, help="The topic of Kafka.")
@click.option("--rate", metavar="SIZE", help="So many bytes a second at the most, for example 10MB.")
@click.option("-q", "--quiet", is_flag=True, help="No notes on stderr.")
def publish(
    access: Callable[[], Access], folder: Path, cluster: str, host: str | None, state: Path | None,
    brokers: str | None, kafka_config: Path | None, topic: str, rate: str | None, quiet: bool,
) -> int:  # fmt: skip
    """Publish a folder of recordings, while they are written, until a signal ends it.

    Each batch is sent once, in order. Where the server is away, it goes on later where it was, as long as the folder
    still has the recordings; what was dropped before it was sent is published as a gap.

    \b
    nstrace record -w /var/lib/nstrace/all.arrows --rotate-size 100M --max-files 50 all
    nstrace fleet publish --nats tls://nats.example.org --creds host.creds --from /var/lib/nstrace
    """
    from tracer.typed.sizes import parse_size
    from tracer.wiring.open_recordings import sayer
    from tracer.wiring.signals import until_interrupted

    whose = name_of("cluster", cluster), name_of("host", host or os.uname().nodename)
    most = None if rate is None else parse_size(rate)
    if most == 0:
        raise NstraceError("--rate 0 sends nothing", "for example --rate 10MB", ExitCode.USAGE)
    sink = _sink(access, brokers, kafka_config, topic, whose)
    from tracer.fleet.publisher import Whose
    from tracer.fleet.publishing import Publishing
    from tracer.fleet.publishing import publish as publish_folder

    publishing = Publishing(folder, state or folder / "publisher.state", Whose(*whose), most)
    with until_interrupted():
        publish_folder(publishing, sink, sayer(quiet), lambda: True)
    return 0


def _sink(
    access: Callable[[], Access], brokers: str | None, config: Path | None, topic: str, whose: tuple[str, str]
) -> Sink:
    """Where batches go. Raises NstraceError."""
    if brokers is None:
        found = access()
        from tracer.fleet.nats_sink import NatsSink

        return NatsSink(found, *whose)
    check_library("confluent_kafka", "kafka")
    from tracer.fleet.kafka_access import settings_of
    from tracer.fleet.kafka_sink import KafkaSink

    return KafkaSink(settings_of(brokers, config), topic, *whose)


@command.command("archive")
@server_options
@click.option("--to", "where", metavar="DIR|s3://BUCKET/PATH", required=True, help="The archive.")
@fleet_ask.cluster_option
@click.option(
    "--every",
    default="5s",
    show_default=True,
    metavar="TIME",
    help="How long a message waits for others of its host, to share their files.",
)
@click.option(
    "--compact-every",
    default="5m",
    show_default=True,
    metavar="TIME",
    help="How often small files become large ones; 0: never.",
)
@click.option("--target-size", default="128MB", show_default=True, metavar="SIZE", help="How large files become.")
@click.option("--until-done", is_flag=True, help="End when every message is archived.")
@click.option("-q", "--quiet", is_flag=True, help="No notes on stderr.")
def archive(
    access: Callable[[], Access], where: str, cluster: str | None, every: str, compact_every: str, target_size: str,
    until_done: bool, quiet: bool,
) -> int:  # fmt: skip
    """Write what all hosts publish to an archive of Parquet, until a signal ends it.

    Any number of archivers share the work; those with --cluster that of their cluster. A message is acknowledged when
    its files are whole, and is in the archive exactly once, whatever is killed. For S3, credentials are read from the
    environment (AWS_ACCESS_KEY_ID, ...).

    \b
    nstrace fleet archive --nats nats://10.0.0.1 --to /srv/nstrace
    nstrace fleet archive --nats nats://10.0.0.1 --to 's3://traces/nstrace?region=eu-central-1'
    """
    from tracer.typed.durations import parse_duration
    from tracer.wiring.open_recordings import sayer
    from tracer.wiring.signals import until_interrupted

    every_s, compact_s = parse_duration(every) / 1e9, parse_duration(compact_every) / 1e9
    target_bytes = target_of(target_size)
    found = access()
    from tracer.fleet.archiving import archive as archive_messages

    with until_interrupted():
        archive_messages(
            found, where, cluster="*" if cluster is None else name_of("cluster", cluster), every_s=every_s,
            compact_s=compact_s, target_bytes=target_bytes, until_done=until_done, say=sayer(quiet),
        )  # fmt: skip
    return 0


@command.command("compact")
@click.argument("where", metavar="DIR|s3://BUCKET/PATH")
@click.option("--target-size", default="128MB", show_default=True, metavar="SIZE", help="How large files become.")
@click.option("-q", "--quiet", is_flag=True, help="No notes on stderr.")
def compact(where: str, target_size: str, quiet: bool) -> int:
    """Make the small files of an archive large ones, once; archivers do so by themselves now and then.

    It may run beside archivers, and be killed at any moment.
    """
    from tracer.wiring.printing import note

    target_bytes = target_of(target_size)
    check_library("nats", "fleet")
    from tracer.fleet.archive_store import store_of
    from tracer.fleet.archiving import give_up_root
    from tracer.fleet.compaction import compact as compact_archive
    from tracer.text.counted import counted

    give_up_root(where, is_new=False)
    store = store_of(where)
    try:
        made = compact_archive(store, target_bytes)
    except OSError as error:
        why = error.strerror or str(error).partition("\n")[0]
        raise NstraceError(f"{where} cannot be compacted: {why}", "run it as the user who archives") from error
    note(f"nstrace: made {counted(made, 'file')}", quiet)
    return 0


def target_of(text: str) -> int:
    """How large files become, in bytes. Raises NstraceError (usage)."""
    from tracer.typed.sizes import parse_size

    size = parse_size(text)
    if size < _LEAST_TARGET:
        raise NstraceError(f"--target-size {text} is too small", "1MB at the least", ExitCode.USAGE)
    return size


_LEAST_TARGET = 1_000_000


_FROM = click.option("--from", "where", metavar="DIR|s3://BUCKET/PATH", help="An archive.")


@command.command("hosts")
@server_options
@_FROM
@fleet_ask.cluster_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object for each host.")
@click.option("--no-header", is_flag=True, help="Leave out the header line.")
def hosts(access: Callable[[], Access], where: str | None, cluster: str | None, as_json: bool, no_header: bool) -> int:
    """List the hosts: who publishes and when it was last heard, or with --from what an archive has of each.

    A host is silent that has not said for 90 s that it lives. GAPS: what its publisher could not send any more since
    it was started; of an archive all gaps, LOST: how many events they report, MISSING: messages that were never
    archived.
    """
    from tracer.wiring.fleet_hosts import archived_table, heard_table

    check_library("nats", "fleet")
    if where is not None:
        archived_table(where, cluster, as_json, no_header)
    else:
        heard_table(access(), cluster, as_json, no_header)
    return 0


@command.command("sql")
@click.option("--from", "where", metavar="DIR|s3://BUCKET/PATH", required=True, help="The archive.")
@click.argument("query")
@result_options
def sql(where: str, query: str, result: Result) -> int:
    """Answer a QUERY in SQL, DuckDB's, about an archive.

    \b
    Tables (docs/fleet.md has their columns):
      events      one row for each event of all hosts
      processes   one row for each process
      batches     one row for each message that was archived
      gaps        events that say where others were lost

    \b
    nstrace fleet sql --from /srv/nstrace "select host, count(*) from events group by host"
    nstrace fleet sql --from /srv/nstrace "from processes where host like 'web%' and exit_code <> 0"
    """
    from tracer.wiring.fleet_hosts import answer

    check_library("nats", "fleet")
    answer(where, query, result)
    return 0


@command.command("follow")
@server_options
@click.argument("targets", nargs=-1, metavar="[HOST[:TARGET]]...", shell_complete=complete_host)
@fleet_ask.cluster_option
@click.option("--events", metavar="LIST", help="Events to show, as in follow.")
@click.option(
    "--delay",
    default="300ms",
    show_default=True,
    metavar="TIME",
    help="How long an event waits for those of other hosts, to be shown in order of time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
@click.option("-q", "--quiet", is_flag=True, help="No notes on stderr.")
def follow(
    access: Callable[[], Access], targets: tuple[str, ...], cluster: str | None, events: str | None, delay: str,
    as_json: bool, quiet: bool,
) -> int:  # fmt: skip
    """Show what hosts publish as it comes, merged by time, until a signal ends it.

    HOST may be a pattern; TARGET is one of nstrace follow. Silent hosts, hosts whose events were lost, and messages
    that are missing are said on stderr.

    \b
    nstrace fleet follow --nats nats://10.0.0.1
    nstrace fleet follow --nats nats://10.0.0.1 'web*:api-*' db1
    """
    from tracer.stream.schema import EVENT_NAMES
    from tracer.typed.durations import parse_duration
    from tracer.wiring.fleet_follow import follow_hosts
    from tracer.wiring.open_recordings import sayer
    from tracer.wiring.signals import until_interrupted
    from tracer.wiring.streaming import kinds_named

    names = EVENT_NAMES if events is None else tuple(name.strip() for name in events.split(","))
    if unknown := [name for name in names if name not in EVENT_NAMES]:
        raise NstraceError(f"there is no event {unknown[0]!r}", f"events are {', '.join(EVENT_NAMES)}", ExitCode.USAGE)
    delay_s = parse_duration(delay) / 1e9
    check_library("nats", "fleet")
    from tracer.fleet.merging import host_target

    wanted = [host_target(text) for text in targets]
    cluster = "*" if cluster is None else name_of("cluster", cluster)
    found = access()
    with until_interrupted():
        follow_hosts(
            found, cluster, wanted, kinds_named(names, False), as_json=as_json, delay_s=delay_s, say=sayer(quiet)
        )
    return 0


for _asking in (fleet_ask.ps, fleet_ask.translate, fleet_ask.why, fleet_ask.summary, fleet_join.join):
    command.add_command(_asking)
