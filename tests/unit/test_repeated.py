"""An option that is typed twice: no condition, time or file of it is dropped unsaid."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from tracer.cli import nstrace
from tracer.errors import NstraceError


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("replay --events exec --events exit x.arrows", "--events"),
        ("replay --fields pid --fields comm x.arrows", "--fields"),
        ("replay --from 1s --since 2s x.arrows", "--since"),
        ("ps --from a.arrows --from b.arrows", "--from"),
        ("translate --from a.arrows --at 1s --at 2s 15", "--at"),
        ("follow -w a.arrows --write b.arrows web", "--write"),
        ("join l.csv --from a --on pid --on ns_pid --time-column t", "--on"),
    ],
)
def test_the_second_value_is_refused(words: str, name: str) -> None:
    done = CliRunner().invoke(nstrace, words.split())
    assert isinstance(done.exception, NstraceError)
    assert (done.exception.message, done.exception.exit_code) == (f"{name} is given twice", 2)
    assert done.exception.hint


@pytest.mark.parametrize(
    "words", ["--color never --color always", "--time utc --time local", "-o json -o text", "-q -q"]
)
def test_of_preferences_the_last_one_counts(words: str) -> None:
    done = CliRunner().invoke(nstrace, ["replay", *words.split(), "none.arrows"])
    assert isinstance(done.exception, NstraceError) and "no such file" in done.exception.message
