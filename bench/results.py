"""The results so far, kept in a file, so that a run that was interrupted can continue."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.measure import CannotRun, Result
from bench.report import percentile


class Results:
    """All results so far, in a file with one object a line; what is in the file is not measured again."""

    def __init__(self, path: Path, resume: bool) -> None:
        self._path = path
        self.all: list[Result] = []
        if resume and path.exists():
            self.all = [json.loads(line) for line in path.read_text().splitlines()]
        else:
            path.write_text("")

    def once(self, key: dict[str, Any], measure: Callable[..., Result], *args: Any) -> None:
        """Measure what key names, unless the file has it."""
        if any(all(result.get(name) == value for name, value in key.items()) for result in self.all):
            return
        try:
            result = measure(*args)
        except CannotRun as reason:
            result = {"why_not": str(reason)}
        self.all.append(key | result)
        with self._path.open("a") as file:
            file.write(json.dumps(key | result) + "\n")
        say(f"{' '.join(map(str, key.values()))}: {_brief(result)}")

    def of(self, what: str) -> list[Result]:
        """Results of one kind of measurement."""
        return [result for result in self.all if result["what"] == what]

    def of_storm(self, mode: str) -> list[Result]:
        """Results of one kind of storm."""
        return [result for result in self.of("storm") if result["mode"] == mode]


def _brief(result: Result) -> str:
    if "why_not" in result:
        return str(result["why_not"])
    if "ms" in result:
        return f"p50 {percentile(result['ms'], 0.5):.2f} ms"
    return f"{result['seconds']:.3f} s" if "seconds" in result else ""


def say(line: str) -> None:
    """Print a line for people."""
    print(f"bench: {line}", file=sys.stderr, flush=True)
