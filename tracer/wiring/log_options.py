"""The options of translate as a filter of logs, by recordings: what a line's time and its members are."""

from __future__ import annotations

from dataclasses import dataclass

import click

from tracer.wiring.amounts import Duration
from tracer.wiring.gathering import gathered

_LAG_S, _MOST_LAG_S = 0.1, 3600


@dataclass(frozen=True)
class Keys:
    """The members of JSON lines that hold a PID (on the host, or with is_inside in a container), the container and the
    time. container: "": it is not in the lines."""

    pid: str
    is_inside: bool
    container: str
    time: str


@dataclass(frozen=True)
class LogOptions:
    """What was typed of them. lag_s: how long after it was written a line gets its time, at the most; None: nothing was
    typed."""

    explain: bool
    lag_s: float | None
    pid_key: str | None
    ns_pid_key: str | None
    container_key: str | None
    time_key: str | None

    @property
    def has_keys(self) -> bool:
        """Whether the lines are JSON."""
        return any((self.pid_key, self.ns_pid_key, self.container_key, self.time_key))

    @property
    def are_given(self) -> bool:
        """Whether any of them was typed."""
        return self.explain or self.lag_s is not None or self.has_keys

    @property
    def lag_ns(self) -> int:
        """The lag, also where none was typed."""
        return round((_LAG_S if self.lag_s is None else self.lag_s) * 1e9)

    def keys(self, where: str | None) -> Keys | None:
        """The keys; None: the lines are text. where: the option --in. Raises UsageError where they do not go
        together."""
        if not self.has_keys:
            return None
        if bool(self.pid_key) == bool(self.ns_pid_key):
            raise click.UsageError("lines of JSON need either --pid-key or --ns-pid-key")
        if not self.time_key:
            raise click.UsageError("lines of JSON need --time-key: PIDs are translated as of the time of their line")
        if self.pid_key and (self.container_key or where):
            raise click.UsageError("--pid-key is a PID of the host: --container-key and --in go with --ns-pid-key")
        if self.ns_pid_key and bool(self.container_key) == bool(where):
            raise click.UsageError("--ns-pid-key needs either --container-key or --in CONTAINER")
        pid = self.pid_key or self.ns_pid_key or ""
        return Keys(pid, bool(self.ns_pid_key), self.container_key or "", self.time_key)


_OPTIONS = (
    click.option("--explain", is_flag=True, help="With - and --from: say of each number that is not translated why."),
    click.option(
        "--lag",
        "lag_s",
        type=Duration(0, _MOST_LAG_S),
        metavar="TIME",
        help="With - and --from: how long after it was written a line gets its time, at the most (default: 100ms).",
    ),
    click.option("--pid-key", metavar="KEY", help="With - and --from: lines are JSON, this member is a host PID."),
    click.option("--ns-pid-key", metavar="KEY", help="The same, but this member is a PID in a container."),
    click.option(
        "--container-key", metavar="KEY", help="With --ns-pid-key: this member is the container's name or ID."
    ),
    click.option("--time-key", metavar="KEY", help="With one of them: this member is the time of the line."),
)


log_options = gathered(_OPTIONS, LogOptions, "log")
"""Adds them to a command, which receives them as one argument, `log`."""
