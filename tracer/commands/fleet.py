"""nstrace fleet: many hosts, through a server."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tracer.errors import ExitCode, NstraceError
from tracer.wiring.completing import complete_file

if TYPE_CHECKING:
    from tracer.fleet.access import Access

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)


@click.group("fleet")
def command() -> None:
    """Many hosts: each publishes its recordings to NATS JetStream.

    \b
    nstrace fleet init --nats nats://HOST --replicas 3
    nstrace fleet publish --nats nats://HOST --from /var/lib/nstrace

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
    if not _NAME.fullmatch(name):
        hint = "letters, digits, dots, - and _, at most 63"
        raise NstraceError(f"{name!r} cannot be the name of a {what}", hint, ExitCode.USAGE)
    return name


@command.command("init")
@server_options
@click.option("--replicas", type=click.IntRange(1, 5), default=1, show_default=True, help="On how many servers.")
@click.option("--keep", default="7d", show_default=True, metavar="TIME", help="How long batches are kept.")
@click.option("--max-bytes", metavar="SIZE", help="How many bytes of batches are kept, the latest. Default: all.")
def init(access: Callable[[], Access], replicas: int, keep: str, max_bytes: str | None) -> int:
    """Make the streams on the server that hold what hosts publish, or change them.

    \b
    nstrace fleet init --nats nats://10.0.0.1 --replicas 3 --keep 7d --max-bytes 200GB
    """
    from tracer.typed.durations import parse_duration
    from tracer.typed.sizes import parse_size

    keep_s = parse_duration(keep) / 1e9
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
@click.option("--rate", metavar="SIZE", help="So many bytes a second at the most, for example 10MB.")
@click.option("-q", "--quiet", is_flag=True, help="No notes on stderr.")
def publish(
    access: Callable[[], Access], folder: Path, cluster: str, host: str | None, state: Path | None, rate: str | None,
    quiet: bool,
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
    from tracer.wiring.whole_file import interrupt_at_signals

    whose = name_of("cluster", cluster), name_of("host", host or os.uname().nodename)
    most = None if rate is None else parse_size(rate)
    if most == 0:
        raise NstraceError("--rate 0 sends nothing", "for example --rate 10MB", ExitCode.USAGE)
    found = access()
    from tracer.fleet.nats_sink import NatsSink
    from tracer.fleet.publisher import Whose
    from tracer.fleet.publishing import Publishing
    from tracer.fleet.publishing import publish as publish_folder

    interrupt_at_signals()
    publishing = Publishing(folder, state or folder / "publisher.state", Whose(*whose), most)
    try:
        publish_folder(publishing, NatsSink(found, *whose), sayer(quiet), lambda: True)
    except KeyboardInterrupt:
        return 0
    return 0
