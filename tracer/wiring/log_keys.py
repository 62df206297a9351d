"""The keys of JSON lines that were typed, and those that the lines have: one that no line has is a mistake."""

from __future__ import annotations

from typing import Any

from tracer.errors import ExitCode, NstraceError
from tracer.text.hints import near, shown
from tracer.text.json_lines import has_member, keys_of
from tracer.wiring.log_options import Keys

_MAX_NAMES = 1000


class SeenKeys:
    """Which of the keys were in a line."""

    def __init__(self, keys: Keys) -> None:
        self._missing = [key for key in (keys.pid, keys.container, keys.time) if key]
        self._others: dict[str, None] = {}  # that the lines have instead
        self._is_json: bool | None = None

    def see(self, found: dict[str, Any] | None) -> None:
        """Note what a line has; None: it is no object."""
        self._is_json = self._is_json or found is not None
        if not self._missing or found is None:
            return
        self._missing = [key for key in self._missing if not has_member(found, key)]
        if len(self._others) < _MAX_NAMES:
            self._others.update(dict.fromkeys(keys_of(found)))

    def check(self) -> None:
        """Raises NstraceError (usage) where lines were seen, and none is an object, or has one of the keys."""
        if self._is_json is False:
            hint = "text needs --to-container, or --to-host and --in CONTAINER, and no keys"
            raise NstraceError("no line of the log is a JSON object", hint, ExitCode.USAGE)
        if self._is_json and self._missing:
            key, others = self._missing[0], list(self._others)
            hint = f"{near(key, others)}their keys: {shown(others)}"
            raise NstraceError(f"no line of the log has the key {key}", hint, ExitCode.USAGE)
