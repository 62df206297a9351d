"""One member more in a line of JSON: all else stays as it was written."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tracer.text.json_lines import member, object_in, with_member

NAMES = st.text(max_size=5)
VALUES = st.recursive(st.none() | st.integers(-9, 9) | NAMES, lambda inner: st.dictionaries(NAMES, inner), max_leaves=4)


@given(st.dictionaries(NAMES, VALUES), st.sampled_from(["\n", "", " \r\n"]))
def test_all_else_stays(before: dict[str, object], end: str) -> None:
    line = (json.dumps(before) + end).encode()
    found = object_in(line)
    assert found == before
    after = with_member(line, found, "process", {"pid": 15})
    assert json.loads(after) == before | {"process": {"pid": 15}}
    assert after.endswith(end.encode())
    if "process" not in before:
        assert after.startswith(line.rstrip()[:-1])


def test_what_is_no_object_is_left_alone() -> None:
    for line in (b"", b"plain 15\n", b"[1]\n", b'{"a":', b'"a"', b"{}" + b"x", b"{" * 100_000, b'{"a":1}{"b":2}'):
        assert object_in(line) is None


def test_members_by_name_and_in_objects() -> None:
    found = {"a": {"b": {"c": 1}}, "a.b": 2, "d": [3]}
    assert (member(found, "a.b.c"), member(found, "a.b"), member(found, "d.x"), member(found, "nope")) == (
        1, 2, None, None,
    )  # fmt: skip
