"""What a configuration needs of the host that it is for: users, programs, libraries, files. Asked by --check and by
install alone: an agent that runs records also where a trigger's program is missing."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from tracer.agent.command import PATH
from tracer.agent.config import Config, Publish, Trigger
from tracer.agent.toml_lines import Place
from tracer.errors import NstraceError

_LIBRARIES = {"nats": ("nats", "fleet"), "kafka": ("confluent_kafka", "kafka")}
_FILES = ("credentials_file", "token_file", "ca_file", "certificate_file", "key_file", "settings_file")


def missing(config: Config) -> Iterator[tuple[Place, NstraceError]]:
    """What is missing, with the key that needs it."""
    for number, trigger in enumerate(config.triggers):
        if trigger.run:
            yield from _missing_of(trigger, number)
    if config.metrics and not find_spec("prometheus_client"):
        yield ("metrics",), _library("prometheus-client", "metrics")
    if config.publish:
        yield from _missing_to_publish(config.publish)


def _missing_of(trigger: Trigger, number: int) -> Iterator[tuple[Place, NstraceError]]:
    program = trigger.run[0]
    is_there = program.startswith("/") or "/" not in program
    if not is_there or not shutil.which(program, path=PATH):
        hint = "it is run without a shell, with no folder of its own: give the whole path"
        yield ("trigger", number, "run"), NstraceError(f"there is no program {program}", hint)
    try:
        pwd.getpwnam(trigger.user)
    except KeyError:
        hint = "name another user: the command does not run as root"
        yield ("trigger", number, "user"), NstraceError(f"this host has no user {trigger.user!r}", hint)


def _missing_to_publish(publish: Publish) -> Iterator[tuple[Place, NstraceError]]:
    module, extra = _LIBRARIES[publish.sink]
    if not find_spec(module):
        yield ("publish", "sink"), _library(module, extra)
    for name in _FILES:
        path: Path | None = getattr(publish, name)
        if path and not os.access(path, os.R_OK):
            yield ("publish", name), NstraceError(f"{path} cannot be read", "name a file that is there")
    if publish.sink == "nats":
        from tracer.fleet.access import Files, access_of

        try:
            access_of(",".join(publish.urls), Files())
        except NstraceError as error:
            yield ("publish", "url"), error


def _library(name: str, extra: str) -> NstraceError:
    return NstraceError(f"the library {name} is not installed", f"pip install 'nstrace[{extra}]'")
