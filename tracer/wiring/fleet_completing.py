"""Candidates for HOST and HOST:TARGET of fleet commands, for the shell's completion: what the folders of an archive, or
a server, can say at once. Never an error."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from tracer.wiring.completing import WORD, in_time

_FOLDERS_S, _FILES_S, _SERVER_S, _ANSWER_S = 0.3, 1.0, 1.0, 0.5
_MAX_FILES = 16
_FILES = {"ca": "tls_ca", "cert": "tls_cert", "key": "tls_key", "credentials": "creds", "token": "token_file"}


def complete_host(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The hosts that begin with incomplete; after a colon the containers of a host, from an archive."""
    return _offered(ctx.params, incomplete, "")


def complete_host_and_what(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """As `complete_host`, where something has to follow the host."""
    return _offered(ctx.params, incomplete, ":")


def complete_cluster(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The clusters that a server knows."""
    found: list[str] = []
    with in_time(_SERVER_S):
        found = sorted({cluster for cluster, _host in _heard(ctx.params)})
    return _items(found, incomplete)


def _offered(params: dict[str, Any], incomplete: str, end: str) -> list[CompletionItem[str]]:
    host, colon, _what = incomplete.partition(":")
    where, found = params.get("where"), list[str]()
    if where is None:
        with in_time(_SERVER_S):
            found += [f"{host}{end}" for host in sorted({host for _cluster, host in _heard(params)}) if not colon]
    elif colon:
        with in_time(_FILES_S):
            found += [f"{host}:{name}" for name in ("all", "host", *_containers(where, host))]
    else:
        with in_time(_FOLDERS_S):
            found += [f"{name}{end}" for name in _archived(where)]
    return _items(found, incomplete)


def _items(found: Iterable[str], incomplete: str) -> list[CompletionItem[str]]:
    return [CompletionItem(one) for one in found if one.startswith(incomplete) and WORD.fullmatch(one)]


def _archived(where: str) -> list[str]:
    """The hosts of an archive in a folder."""
    from tracer.fleet.archive_names import BATCHES, host_in

    with os.scandir(os.path.join(where, BATCHES)) as entries:  # noqa: PTH118 - s3:// is no path, and has no folder
        return sorted({host for entry in entries if (host := host_in(f"{BATCHES}/{entry.name}"))})


def _containers(where: str, host: str) -> list[str]:
    """The containers of a host in an archive, of the latest days. What hosts have published is read without root."""
    import pyarrow.parquet as pq

    from tracer.fleet.archive_names import PROCESSES
    from tracer.fleet.archive_store import store_of
    from tracer.fleet.archiving import become_reader
    from tracer.fleet.compaction import files_of

    if "://" in where:
        return []  # that takes longer than anybody waits
    become_reader(where)
    store, found = store_of(where), set[str]()
    for path in sorted(files_of(store, PROCESSES, host), reverse=True)[:_MAX_FILES]:
        with contextlib.suppress(OSError), store.reading(path) as file:
            table = pq.ParquetFile(file).read(columns=["container"], use_threads=False)
            found.update(filter(None, table["container"].unique().to_pylist()))
    return sorted(found)


def _heard(params: dict[str, Any]) -> list[tuple[str, str]]:
    """The clusters and hosts that a server knows."""
    import asyncio

    from tracer.fleet.access import Files, access_of
    from tracer.fleet.hosts import known_hosts
    from tracer.fleet.nats_client import Connection
    from tracer.fleet.running import run

    if not (urls := params.get("urls")):
        return []
    connection = Connection(access_of(urls, Files(**{name: params.get(given) for name, given in _FILES.items()})), "")
    return run(asyncio.wait_for(known_hosts(connection), _ANSWER_S), connection)
