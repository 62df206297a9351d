"""verify's judgement: agreement, every kind of lie, and processes that come and go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from builders import WEB

from tracer.answers.verification import (
    ENGINE,
    Compared,
    Finding,
    Reading,
    Round,
    Unanswered,
    Verdict,
    Witness,
    findings,
    judge,
)
from tracer.errors import ExitCode, NstraceError
from tracer.stream.pidns import ProcId
from tracer.views.verification import finding_object, unanswered_lines, verification_table

INUM = 4026532180
ALL = {100: 1, 101: 7}


def reading(*, engine: int | None = 100, zombies: tuple[int, ...] = (), **told: Mapping[int, int]) -> Reading:
    """What all say, but for those who are told to say something else."""
    members = {
        tgid: Compared(ProcId(tgid, tgid), "web", WEB, tgid in zombies, engine if tgid == 100 else None) for tgid in ALL
    }
    return Reading(INUM, members, {source: told.get(source.name.lower(), ALL) for source in Witness})


def problems(*rounds: Reading) -> dict[int, str]:
    return {finding.tgid: finding.problem for finding in judged(*rounds).problems}


def judged(*rounds: Reading) -> Verdict:
    return judge([Round(findings(one)) for one in rounds])


def test_all_agree() -> None:
    verdict = judged(reading())
    assert (len(verdict.findings), verdict.problems, verdict.passing) == (2, [], 0)


@pytest.mark.parametrize("source", list(Witness))
def test_whoever_lies_is_found(source: Witness) -> None:
    told: dict[str, Any] = {source.name.lower(): {100: 1, 101: 8}}
    lie = reading(**told)
    assert list(problems(lie, lie, lie)) == [101]
    assert f"{source}: 8" in problems(lie)[101]


@pytest.mark.parametrize("source", list(Witness))
def test_whoever_keeps_silent_is_found(source: Witness) -> None:
    told: dict[str, Any] = {source.name.lower(): {100: 1}}
    silent = reading(**told)
    assert f"{source}: nobody" in problems(silent, silent)[101]


def test_a_process_that_one_source_alone_knows() -> None:
    ghost = reading(inside=ALL | {102: 9})
    assert list(problems(ghost, ghost, ghost)) == [102]


def test_the_engine_has_another_first_process() -> None:
    assert problems(reading(engine=4711)) == {100: "the engine has 4711 for it"}
    assert problems(reading(engine=None)) == {}


def test_what_the_kernel_says_of_it_is_named() -> None:
    member = Compared(ProcId(100, 100), "web", WEB, engine_tgid=4711, engine_whose=", a process in the cgroup of db")
    (finding,) = findings(Reading(INUM, {100: member}, {Witness.STATUS: {100: 1}}))
    assert finding.problem == "the engine has 4711 for it, a process in the cgroup of db"


def test_a_zombie_may_be_forgotten_by_the_table_alone() -> None:
    assert problems(reading(events={100: 1}, zombies=(101,))) == {}
    assert list(problems(reading(events=ALL | {101: 8}, zombies=(101,)))) == [101]
    assert list(problems(reading(inside={100: 1}, zombies=(101,)))) == [101]


def test_what_comes_and_goes_is_no_difference() -> None:
    verdict = judged(*(reading(inside=ALL | {tgid: 9}) for tgid in (500, 501, 502)))
    assert (len(verdict.findings), verdict.problems, verdict.passing) == (2, [], 1)


def test_a_difference_that_heals_is_none() -> None:
    assert problems(reading(events={100: 1}), reading()) == {}
    assert problems(reading(), reading(events={100: 1})) == {}


def test_text_and_json_say_the_same() -> None:
    verdict: Verdict = judged(reading(inside={100: 1, 101: 8}))
    sources = [Witness.STATUS, Witness.INSIDE]
    table = verification_table(verdict, sources, color=True, line_width=None)
    assert table.header.split() == ["CONTAINER", "PIDNS", "ENGINE", "PID", "NSPID", "INSIDE", "RESULT"]
    assert table.lines[0].split() == ["web", str(INUM), "100", "100", "1", "1", "ok"]
    assert "DIFFERS" in table.lines[1] and table.lines[1].startswith("\x1b[1;31m")
    good, bad = (json.loads(json.dumps(finding_object(finding))) for finding in verdict.findings)
    assert (good["ok"], good["engine_pid"], good["inside"], good["container"]["name"]) == (True, 100, 1, "web")
    assert (bad["ok"], bad["nspid"], bad["inside"]) == (False, 7, 8)


def test_one_whom_the_host_does_not_see_has_no_name() -> None:
    finding = Finding(INUM, 9, None, {Witness.INSIDE: 3}, "x")
    assert finding_object(finding)["container"] is None
    assert verification_table(Verdict([finding]), [Witness.INSIDE], False, None).lines[0].startswith("?")


KILLED = NstraceError("it was killed")
REFUSED = NstraceError("not permitted", "be root", ExitCode.NOT_PERMITTED)


def without(*sources: Witness) -> list[Finding]:
    """What the others say where these gave no answer."""
    told = {source: ALL for source in Witness if source not in sources}
    return findings(Reading(INUM, reading(engine=None).members, told, frozenset(sources)))


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([], 0),
        ([KILLED], ExitCode.FAILURE),
        ([REFUSED], ExitCode.NOT_PERMITTED),
        ([REFUSED, KILLED], ExitCode.FAILURE),
    ],
)
def test_no_answer_is_no_agreement(errors: list[NstraceError], code: int) -> None:
    unanswered = [Unanswered(Witness.INSIDE, "web", error) for error in errors]
    verdict = judge([Round(without(Witness.INSIDE), unanswered)])
    assert (verdict.problems, verdict.exit_code) == ([], code)


def test_a_difference_counts_more_than_what_we_may_not_ask() -> None:
    differ = findings(reading(inside={}))
    assert judge([Round(differ, [Unanswered(ENGINE, "web", REFUSED)])]).exit_code == ExitCode.FAILURE


def test_the_last_reading_decides_who_gave_no_answer() -> None:
    first = Round(without(Witness.INSIDE), [Unanswered(Witness.INSIDE, "web", KILLED)])
    assert judge([first, Round(without())]).exit_code == 0


def test_one_source_alone_cannot_agree() -> None:
    (alone, _other) = without(Witness.IOCTL, Witness.INSIDE, Witness.EVENTS)
    assert not alone.is_compared
    assert finding_object(alone)["ok"] is None
    table = verification_table(Verdict([alone]), list(Witness), False, None)
    assert table.lines[0].split()[3:] == ["1", "?", "?", "?", "not", "compared"]


def test_an_engine_that_gives_no_answer() -> None:
    member = Compared(ProcId(100, 100), "web", WEB, engine_failed=True)
    (finding,) = findings(Reading(INUM, {100: member}, {source: {100: 1} for source in Witness}))
    assert verification_table(Verdict([finding]), [], False, None).lines[0].split() == [
        "web",
        str(INUM),
        "?",
        "100",
        "ok",
    ]
    assert (finding_object(finding)["engine_pid"], finding_object(finding)["not_known"]) == (None, ["engine_pid"])


def test_a_reason_is_said_once() -> None:
    unanswered = [Unanswered(Witness.INSIDE, name, error) for name in ("web", "db") for error in (KILLED, REFUSED)]
    assert unanswered_lines(unanswered) == [
        "INSIDE of web, db is not known: it was killed",
        "INSIDE of web, db is not known: not permitted (be root)",
    ]
