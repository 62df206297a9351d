"""What things are called on the wire: subjects, ids of messages, and the streams that hold them. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from urllib.parse import quote, unquote

PREFIX = "nstrace.v1"
EVENTS, ALIVE = "events", "alive"
"""The last token of a subject: batches of events, and what a publisher says of itself now and then."""
STREAMS = {EVENTS: "nstrace-events", ALIVE: "nstrace-alive"}
"""The names of the streams of JetStream, by the last token of their subjects."""
MAX_NAME_BYTES = 128
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)


class Labels:
    """What hosts are called for people: by their names, and with the cluster ahead where several clusters have one of a
    name."""

    def __init__(self) -> None:
        self._clusters: defaultdict[str, set[str]] = defaultdict(set)

    def of(self, cluster: str, host: str) -> str:
        """The label of a host, which is known from now on."""
        clusters = self._clusters[host]
        clusters.add(cluster)
        return host if len(clusters) == 1 else f"{cluster}/{host}"


def is_name(text: str) -> bool:
    """Whether a cluster or a host can be called so: then it is also the name of a file."""
    return bool(_NAME.fullmatch(text))


def token(name: str) -> str:
    """A name of a cluster or host as one token of a subject: what is neither letter, digit, "-" nor "_" becomes %XX."""
    return quote(name, safe="").replace(".", "%2E").replace("~", "%7E")


def name_in(text: str) -> str:
    """The name that `token` has made this of."""
    return unquote(text)


def subject(cluster: str, host: str, what: str = EVENTS) -> str:
    """The subject of a host's messages: nstrace.v1.<cluster>.<host>.events. cluster, host: "*" is any."""
    return ".".join([PREFIX, *(name if name == "*" else token(name) for name in (cluster, host)), what])


def message_id(host: str, boot: str, run: str, sequence: int) -> str:
    """The id of a message: <host>.<boot>.<batch>. The batch is its number in the run, which never changes."""
    return f"{token(host)}.{token(boot)}.{run}-{sequence}"
