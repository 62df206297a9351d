"""verify's judgement: agreement, every kind of lie, and processes that come and go."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from builders import WEB

from tracer.answers.verification import Finding, Member, Reading, Source, Verdict, findings, judge
from tracer.pidns import ProcId
from tracer.views.verification import finding_object, verification_table

INUM = 4026532180
ALL = {100: 1, 101: 7}


def reading(*, engine: int | None = 100, zombies: tuple[int, ...] = (), **told: Mapping[int, int]) -> Reading:
    """What all say, but for those who are told to say something else."""
    members = {
        tgid: Member(ProcId(tgid, tgid), "web", WEB, tgid in zombies, engine if tgid == 100 else None) for tgid in ALL
    }
    return Reading(INUM, members, {source: told.get(source.name.lower(), ALL) for source in Source})


def problems(*rounds: Reading) -> dict[int, str]:
    return {finding.tgid: finding.problem for finding in judge([findings(one) for one in rounds]).problems}


def test_all_agree() -> None:
    verdict = judge([findings(reading())])
    assert (len(verdict.findings), verdict.problems, verdict.passing) == (2, [], 0)


@pytest.mark.parametrize("source", list(Source))
def test_whoever_lies_is_found(source: Source) -> None:
    lie = reading(**{source.name.lower(): {100: 1, 101: 8}})
    assert list(problems(lie, lie, lie)) == [101]
    assert f"{source}: 8" in problems(lie)[101]


@pytest.mark.parametrize("source", list(Source))
def test_whoever_keeps_silent_is_found(source: Source) -> None:
    silent = reading(**{source.name.lower(): {100: 1}})
    assert f"{source}: nobody" in problems(silent, silent)[101]


def test_a_process_that_one_source_alone_knows() -> None:
    ghost = reading(inside=ALL | {102: 9})
    assert list(problems(ghost, ghost, ghost)) == [102]


def test_the_engine_has_another_first_process() -> None:
    assert problems(reading(engine=4711)) == {100: "the engine has 4711 for it"}
    assert problems(reading(engine=None)) == {}


def test_a_zombie_may_be_forgotten_by_the_table_alone() -> None:
    assert problems(reading(events={100: 1}, zombies=(101,))) == {}
    assert list(problems(reading(events=ALL | {101: 8}, zombies=(101,)))) == [101]
    assert list(problems(reading(inside={100: 1}, zombies=(101,)))) == [101]


def test_what_comes_and_goes_is_no_difference() -> None:
    verdict = judge([findings(reading(inside=ALL | {tgid: 9})) for tgid in (500, 501, 502)])
    assert (len(verdict.findings), verdict.problems, verdict.passing) == (2, [], 1)


def test_a_difference_that_heals_is_none() -> None:
    assert problems(reading(events={100: 1}), reading()) == {}
    assert problems(reading(), reading(events={100: 1})) == {}


def test_text_and_json_say_the_same() -> None:
    verdict: Verdict = judge([findings(reading(inside={100: 1, 101: 8}))])
    sources = [Source.STATUS, Source.INSIDE]
    table = verification_table(verdict, sources, color=True, line_width=None)
    assert table.header.split() == ["CONTAINER", "PIDNS", "ENGINE", "PID", "NSPID", "INSIDE", "RESULT"]
    assert table.lines[0].split() == ["web", str(INUM), "100", "100", "1", "1", "ok"]
    assert "DIFFERS" in table.lines[1] and table.lines[1].startswith("\x1b[1;31m")
    good, bad = (json.loads(json.dumps(finding_object(finding))) for finding in verdict.findings)
    assert (good["ok"], good["engine_pid"], good["inside"], good["container"]["name"]) == (True, 100, 1, "web")
    assert (bad["ok"], bad["nspid"], bad["inside"]) == (False, 7, 8)


def test_one_whom_the_host_does_not_see_has_no_name() -> None:
    finding = Finding(INUM, 9, None, {Source.INSIDE: 3}, "x")
    assert finding_object(finding)["container"] is None
    assert verification_table(Verdict([finding]), [Source.INSIDE], False, None).lines[0].startswith("?")
