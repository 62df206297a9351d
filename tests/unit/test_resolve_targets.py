"""Targets as typed -> targets as they are now."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tracer.containers.messages import FoundContainer
from tracer.containers.resolve_targets import NotThere, Resolved, choose, resolve
from tracer.errors import ExitCode, NstraceError
from tracer.typed.targets import Target, TargetKind, parse_target

WEB = FoundContainer("eda3" * 16, "web", "nginx", True)
DB = FoundContainer("eda4" * 16, "db", "postgres", True)
JOB = FoundContainer("0123" * 16, "job", "busybox", False)


class FakeEngine:
    def __init__(self, *containers: FoundContainer) -> None:
        self.containers = list(containers)

    def all(self) -> list[FoundContainer]:
        return self.containers

    def find(self, text: str) -> list[FoundContainer]:
        exact = [item for item in self.containers if text in (item.id, item.name)]
        return exact or [item for item in self.containers if item.id.startswith(text)]


def no_engine() -> FakeEngine:
    raise NotThere("no container engine answers")


def no_process(tgid: int) -> int:
    raise NstraceError(f"there is no process {tgid}", exit_code=ExitCode.NO_TARGET)


def resolved(
    *texts: str,
    engine: Callable[[], FakeEngine] = lambda: FakeEngine(WEB, DB, JOB),
    pidns_of: Callable[[int], int] = no_process,
    waits: bool = False,
) -> Resolved:
    def find(target: Target) -> FoundContainer:
        return choose(target.value, engine().find(target.value), engine().all)

    targets = tuple(parse_target(text) for text in texts)
    return resolve(targets, find, lambda _target: void(engine()), pidns_of, waits=waits)


def void(_engine: FakeEngine) -> None:
    pass


def failure(*texts: str, engine: Callable[[], FakeEngine] = lambda: FakeEngine(WEB, DB, JOB)) -> NstraceError:
    with pytest.raises(NstraceError) as caught:
        resolved(*texts, engine=engine)
    return caught.value


@pytest.mark.parametrize("text", ["web", "/web", "eda3", WEB.id])
def test_a_name_becomes_the_id(text: str) -> None:
    assert resolved(text) == Resolved((Target(TargetKind.ID, WEB.id, text),), (), (WEB.id,))


def test_a_life_keeps_the_name_by_which_it_is_counted() -> None:
    assert resolved("web#2") == Resolved((Target(TargetKind.CALLED, "web", "web#2", life=2),), (), (WEB.id,))
    assert resolved("eda3#2") == Resolved((Target(TargetKind.ID, WEB.id, "eda3#2", life=2),), (), (WEB.id,))
    assert resolved("job#1").not_running == ("job",)


def test_who_waits_follows_the_name_whoever_has_it() -> None:
    assert resolved("web", "eda4", waits=True) == Resolved(
        (Target(TargetKind.CALLED, "web", "web"), Target(TargetKind.ID, DB.id, "eda4")), (), (WEB.id, DB.id)
    )
    assert resolved("job", waits=True).not_running == ("job",)


def test_who_waits_for_an_id_follows_it_where_nobody_has_named_it() -> None:
    nameless = FoundContainer(JOB.id, JOB.id, "", True)
    assert resolved(JOB.id, engine=lambda: FakeEngine(nameless), waits=True).targets == (
        Target(TargetKind.ID, JOB.id, JOB.id),
    )


def test_who_waits_needs_nothing_to_be_there() -> None:
    result = resolved("later", "fade", waits=True)
    assert result.targets == (Target(TargetKind.CALLED, "later", "later"), Target(TargetKind.CALLED, "fade", "fade"))
    assert result.missing == ("no container named 'later'", "no container named 'fade'")
    long = "0123456789ab"
    nobody = resolved(long, "web-*", "later#2", engine=no_engine, waits=True)
    assert nobody.targets == (
        Target(TargetKind.NAME, long, long),  # so much of an id may mean one
        Target(TargetKind.GLOB, "web-*", "web-*"),
        Target(TargetKind.CALLED, "later", "later#2", life=2),
    )
    assert nobody.missing == ("no container engine answers",)


def test_who_waits_does_not_wait_for_what_is_ambiguous() -> None:
    with pytest.raises(NstraceError, match="2 container ids begin with it"):
        resolved("eda", waits=True)
    with pytest.raises(NstraceError, match="there is no process 77"):
        resolved("pid:77", waits=True)


def test_a_stopped_container_is_a_target_and_told_once() -> None:
    result = resolved("job", "web", "0123")
    assert [target.value for target in result.targets] == [JOB.id, WEB.id, JOB.id]
    assert result.not_running == ("job",)


def test_a_pid_becomes_its_namespace_without_an_engine() -> None:
    asked = []

    def pidns_of(tgid: int) -> int:
        asked.append(tgid)
        return 4026532180

    result = resolved("pid:77", engine=no_engine, pidns_of=pidns_of)
    assert result == Resolved((Target(TargetKind.PIDNS, "4026532180", "pid:77"),), ())
    assert asked == [77]


def test_a_process_that_is_not_there() -> None:
    error = failure("pid:77")
    assert (error.message, error.exit_code) == ("there is no process 77", ExitCode.NO_TARGET)


@pytest.mark.parametrize("text", ["all", "host", "pidns:4026532180"])
def test_these_need_no_engine(text: str) -> None:
    assert resolved(text, engine=no_engine) == Resolved((parse_target(text),), ())


@pytest.mark.parametrize("text", ["web-*", "label:tier=front", "image:nginx", "compose:api"])
def test_these_stay_as_they_are_but_need_an_engine(text: str) -> None:
    assert resolved(text) == Resolved((parse_target(text),), ())
    assert failure(text, engine=no_engine).message == "no container engine answers"


def test_a_name_needs_an_engine() -> None:
    assert failure("web", engine=no_engine).message == "no container engine answers"


def test_the_order_is_kept() -> None:
    result = resolved("host", "db", "pid:5", "web-*", pidns_of=lambda _tgid: 9)
    assert [(target.kind, target.text) for target in result.targets] == [
        (TargetKind.HOST, "host"),
        (TargetKind.ID, "db"),
        (TargetKind.PIDNS, "pid:5"),
        (TargetKind.GLOB, "web-*"),
    ]


def test_no_targets() -> None:
    assert resolved(engine=no_engine) == Resolved((), ())


def test_a_wrong_name_gets_near_ones() -> None:
    error = failure("wbe")
    assert error.message == "no container named 'wbe'"
    assert error.hint == "did you mean web? running: db, web"
    assert error.exit_code == ExitCode.NO_TARGET


def test_near_names_may_be_of_stopped_containers() -> None:
    assert failure("jbo").hint == "did you mean job? running: db, web"


def test_a_name_like_no_other() -> None:
    assert failure("zzzz").hint == "running: db, web"
    assert failure("zzzz", engine=lambda: FakeEngine(JOB)).hint == "no container is running"


def test_a_long_list_is_cut() -> None:
    many = [FoundContainer(f"{n:064x}", f"c{n:02}", "x", True) for n in range(20)]
    hint = failure("zzzz", engine=lambda: FakeEngine(*many)).hint
    assert hint == "running: c00, c01, c02, c03, c04, c05, c06, c07 and 12 more"


def test_the_beginning_of_several_ids() -> None:
    error = failure("eda")
    assert error.message == "'eda' is not the name of a container, and 2 container ids begin with it"
    assert error.hint == "give a name or more of the id: web (eda3eda3eda3), db (eda4eda4eda4)"
    assert error.exit_code == ExitCode.NO_TARGET


def test_names_in_hints_have_no_effect_on_a_terminal() -> None:
    hostile = FoundContainer("0" * 64, "worker-front\x1b\u202e\n", "nginx", True)
    error = failure("worker-front", engine=lambda: FakeEngine(hostile))
    assert error.hint == r"did you mean worker-front\x1b\u202e\x0a? running: worker-front\x1b\u202e\x0a"
    twins = [hostile, FoundContainer("0" * 63 + "1", "x\x9b2J", "nginx", True)]
    hint = failure("000", engine=lambda: FakeEngine(*twins)).hint
    assert hint.endswith(r": worker-front\x1b\u202e\x0a (000000000000), x\x9b2J (000000000000)")
