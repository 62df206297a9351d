"""inspect as text and JSON."""

import dataclasses
import json

from builders import PIDNS, SECOND_NS, WEB, entry

from tracer.answers.census import Entry
from tracer.answers.inspection import Details, Inspection
from tracer.answers.translation import Translation
from tracer.commands.inspect import with_masked_args
from tracer.views.inspection import inspection_object, inspection_text
from tracer.views.objects import json_line

SHIM = entry([100], comm=b"shim")
INIT = entry([200, 1], SHIM, WEB, comm=b"init")
WORKER = entry([201, 7], INIT, WEB, uid=100101, args=b"work\0\x1b]0;x\x07\0")
DETAILS = Details(
    cwd=b"/app", root=b"/", threads=3, uids=(100101, 100101, 100101, 100101), gids=(5, 5, 5, 5), ns_uid=101,
    namespaces={"pid": PIDNS, "user": 4026531837}, environ=b"",
)  # fmt: skip
ENV = [b"TOKEN=hunter2", b"A=1", b"URL=x://u:hunter2@h", b"no equals sign", b"E=\x1b[2J"]


def inspection(process: Entry = WORKER, details: Details = DETAILS, env: list[bytes] | None = None) -> Inspection:
    translation = Translation("web/7", False, False, process, (None, WEB))
    return Inspection(translation, 90 * SECOND_NS, details, [INIT, SHIM], ["/docker/x"], frozenset({"user"}), env)


def text(found: Inspection, show_secrets: bool = False) -> str:
    return inspection_text(found, str, show_secrets)


def test_everything_is_there() -> None:
    lines = text(inspection()).splitlines()
    facts = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if not line.startswith(" ")}
    assert facts["command"] == r"work '\x1b]0;x\x07'"
    assert (facts["directory"], facts["cgroup"], facts["state"]) == ("/app", "/docker/x", "sleep, 3 threads")
    assert facts["user"] == "100101; 101 in its user namespace"
    assert facts["container"] == "web docker aaaaaaaaaaaa nginx:1.27"
    assert [line.split() for line in lines if f"pidns:{PIDNS}" in line] == [
        ["7", f"pidns:{PIDNS}", "level", "1", "web"]
    ]
    assert facts["started"].endswith(", 1 min ago")
    assert facts["parents"] == "200>1 init  <- PID 1 of web"
    assert "user 4026531837  the host's" in text(inspection())
    assert "environment" not in text(inspection())
    assert "env" not in inspection_object(inspection(), str, False)
    unreadable = dataclasses.replace(inspection(), env_unreadable=True)
    assert "environment not readable" in text(unreadable)
    assert inspection_object(unreadable, str, False)["env"] is None


def test_secrets_are_masked_unless_asked_for() -> None:
    assert "hunter2" not in text(inspection(env=ENV))
    assert "(2 masked" in text(inspection(env=ENV))
    assert text(inspection(env=ENV), show_secrets=True).count("hunter2") == 2
    told = json.loads(json_line(inspection_object(inspection(env=ENV), str, False)))
    assert told["env"][0] == {"name": "TOKEN", "value": "****", "masked": True}
    assert told["env"][3] == {"name": "no equals sign", "value": "", "masked": False}
    assert "env" not in inspection_object(inspection(), str, False)


def test_secrets_in_arguments_are_masked_unless_asked_for() -> None:
    process = dataclasses.replace(WORKER, args=b"mysql\0-phunter2\0postgres://u:hunter2@h\0")
    masked = with_masked_args(inspection(process))
    assert text(masked).splitlines()[1:3] == [
        f"{'command':<11} mysql '-p****' 'postgres://u:****@h'",
        f"{'':<11} (2 masked as ****: --show-secrets)",
    ]
    told = inspection_object(masked, str, False)
    assert (told["args"], told["args_masked"]) == (["mysql", "-p****", "postgres://u:****@h"], 2)
    assert "args_masked" not in inspection_object(inspection(process), str, True)
    assert with_masked_args(inspection()).masked_args == 0


def test_an_environment_that_was_cut_is_marked() -> None:
    cut = dataclasses.replace(inspection(env=[b"A=1"]), env_truncated=True)
    assert text(cut).splitlines()[-2:] == [f"{'environment':<11} A=1", f"{'':<11} …"]
    assert inspection_object(cut, str, False)["env_truncated"] is True
    assert "env_truncated" not in inspection_object(inspection(env=[b"A=1"]), str, False)


def test_nothing_acts_on_a_terminal() -> None:
    assert all(line.isprintable() for line in text(inspection(env=ENV)).splitlines())


def test_a_zombie_and_a_leader_that_left_its_threads() -> None:
    zombie = dataclasses.replace(WORKER, state="Z")
    alone = dataclasses.replace(DETAILS, threads=1)
    assert "zombie: it has exited, but 200>1 init has not reaped it" in text(inspection(zombie, alone))
    left = inspection(details=dataclasses.replace(DETAILS, main_has_ended=True))
    assert "sleep, its main thread has exited, 2 still run" in text(left)


def test_what_is_not_ours_to_read_says_so() -> None:
    hidden = dataclasses.replace(DETAILS, cwd=b"", namespaces={})
    found = inspection(dataclasses.replace(WORKER, exe=b""), hidden)
    shown = text(dataclasses.replace(found, env_unreadable=True))
    assert shown.count("not readable without more privileges") == 4
