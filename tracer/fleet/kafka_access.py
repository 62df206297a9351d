"""How to get to Kafka: brokers, and settings of librdkafka in a file."""

from __future__ import annotations

import re
from pathlib import Path

from tracer.errors import ExitCode, NstraceError
from tracer.fleet.access import secret_in

_BROKER = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?|\[[0-9A-Fa-f:]+\](:\d{1,5})?")
_LINE = re.compile(r"([a-z0-9.]+)\s*=\s*(.*)")


def settings_of(brokers: str, file: Path | None) -> dict[str, str]:
    """The settings of librdkafka. Raises NstraceError."""
    names = [name.strip() for name in brokers.split(",") if name.strip()]
    for name in names:
        if not _BROKER.fullmatch(name):
            raise NstraceError(f"{name!r} is not the address of a broker", "HOST:PORT", ExitCode.USAGE)
    if not names:
        raise NstraceError("no broker is named", "for example --kafka 127.0.0.1:9092", ExitCode.USAGE)
    return {**(_read(file) if file else {}), "bootstrap.servers": ",".join(names)}


def _read(file: Path) -> dict[str, str]:
    found = {}
    for number, line in enumerate(secret_in(file).splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if not match:
            raise NstraceError(f"{file}, line {number}: no setting", "name=value, as librdkafka names them")
        found[match[1]] = match[2]
    return found
