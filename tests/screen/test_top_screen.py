"""The screen of nstrace top, by textual's pilot: what it shows of samples, in three sizes, and its keys."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

pytest.importorskip("textual", reason="needs textual: scripts/setup")

from textual import events
from textual.pilot import Pilot

from tracer.ask.process_filter import ProcessFilter
from tracer.screen.app import Top
from tracer.screen.field import Field
from tracer.screen.messages import Hello, Played, Request, Said
from tracer.screen.model import SORTS, Model, Proc
from tracer.screen.pane import Pane
from tracer.screen.texts import _LIVE_KEYS, _PLAY_KEYS
from tracer.stream.metadata import Container
from tracer.stream.pidns import INITIAL_PIDNS
from tracer.stream.samples import (
    Born,
    Brief,
    Ended,
    LaneCounts,
    LaneFacts,
    Loss,
    Moved,
    Over,
    ProcKey,
    Ran,
    Sample,
    Told,
)  # fmt: skip

SECOND_NS = 1_000_000_000
NGINX = Container("a" * 64, "docker", "web", "nginx:1.27")
INSIDE = [(INITIAL_PIDNS.inum, INITIAL_PIDNS.gen), (4026532180, 7)]
WEB, HOST = LaneFacts(0, "web", "web", NGINX, INSIDE, None), LaneFacts(1, "host", "host", None, INSIDE[:1], None)
SIZES = [(80, 24), (120, 40), (200, 50)]


class Assistant:
    """Does nothing, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.zombies: set[int] = set()
        self.condition = ProcessFilter
        self.ended: int | None = None

    def record(self) -> str:
        self.asked.append("record")
        return "recording to web.arrows; w stops it"

    def inspect(self, pid: int) -> str:
        self.asked.append(f"inspect {pid}")
        return f"process {pid}-4700, named make\nPID {pid}\ncwd /srv"

    def states(self, procs: list[Proc]) -> None:
        for proc in procs:
            proc.state = "S"

    def is_unreaped(self, proc: Proc) -> bool:
        proc.reaper = proc.parent[0]
        return proc.pids[0] in self.zombies


class Screen(Top):
    """With what it asked the process that reads."""

    def __init__(self, assistant: Assistant) -> None:
        self.requests: list[Request] = []
        super().__init__(None, assistant)

    def _ask(self, request: Request) -> None:
        self.requests.append(request)

    def wanted(self) -> list[str]:
        return [request.what for request in self.requests if request.what != "more"]

    def lines(self) -> list[str]:
        """What is seen, line by line."""
        return [strip.text.rstrip() for strip in self.screen._compositor.render_strips()]


def born(nr: int, command: str = "sleep 1", parent: int = 1, lane: int = 0, **others: Any) -> Born:
    facts: dict[str, Any] = {
        "uid": 0,
        "comm": command.split()[0].encode(),
        "since_ns": nr * SECOND_NS,
        "was_there": False,
    } | others
    pids = [nr, nr - 4000] if lane == 0 else [nr]
    return Born((nr, nr), pids, lane, (parent, parent), facts["uid"], facts["comm"], b"/bin/" + facts["comm"],
                args_of(command), False, facts["since_ns"], facts["was_there"])  # fmt: skip


def args_of(command: str) -> bytes:
    return b"".join(word.encode() + b"\0" for word in command.split(" "))


def ran(key: ProcKey, ts_ns: int, command: str, errno: int = 0) -> Ran:
    exe, args = (command.encode(), b"") if errno else (b"/bin/" + command.split()[0].encode(), args_of(command))
    return Ran(key, ts_ns, 0, exe.rpartition(b"/")[2], exe, args, False, errno)


def sample(**parts: Any) -> Sample:
    """A sample with these parts."""
    plain: dict[str, Any] = {"now_ns": 5000 * SECOND_NS, "events": 0, "living": 0}
    plain |= {name: [] for name in ("lanes", "born", "ran", "ended", "brief", "acts", "by_lane", "losses", "told")}
    return Sample(**(plain | parts))


FIRST = sample(
    is_new=True, lanes=[WEB, HOST], living=4, events=10, by_lane=[LaneCounts(0, 10, 2, 314)], acts=[(4701, 4701, 6)],
    born=[born(4701, "init", was_there=True), born(4711, "make all", 4701), born(4720, "cc -c a.c", 4711),
          born(900, "sshd", lane=1)],
    brief=[Brief(0, b"ls", 312, 3), Brief(0, b"cat", 2, 0)],
)  # fmt: skip


def run(
    script: Callable[[Screen, Pilot[None]], Awaitable[None]],
    size: tuple[int, int] = (80, 24),
    hello: Hello | None = None,
    assistant: Assistant | None = None,
) -> Assistant:
    """Run the screen with this script."""
    assistant = assistant or Assistant()

    async def play() -> None:
        app = Screen(assistant)
        async with app.run_test(size=size) as pilot:
            app.take(hello or Hello("web", 0))
            app.take(FIRST)
            await pilot.pause()
            await script(app, pilot)
        assert app.error is None

    asyncio.run(play())
    return assistant


@pytest.mark.parametrize("size", SIZES)
def test_containers_and_their_trees(size: tuple[int, int]) -> None:
    async def script(app: Screen, _pilot: Pilot[None]) -> None:
        head, titles, *lines = app.lines()
        assert head.startswith("web  4 processes, 1 container, 5.0 events/s, 2 failed")
        assert titles.split() == ["PID", "NSPID", "USER", "S", "AGE", "EV/S", "COMMAND"]
        assert lines[0].startswith("web  nginx:1.27, 3 living")
        assert lines[0].endswith("2 failed")
        assert [line.split()[:2] for line in lines[1:4]] == [["4701", "701"], ["4711", "711"], ["4720", "720"]]
        assert lines[2].index("make all") == lines[1].index("init") + 2
        assert lines[3].index("cc -c") == lines[1].index("init") + 4
        assert "+ 314 short-lived: ls x312, cat x2" in lines[4]
        assert lines[4].endswith("(3 failed)")
        assert lines[5].startswith("host")
        assert all(len(line) <= size[0] for line in lines)
        assert len(app.lines()) == size[1]

    run(script, size)


def test_ended_ones_fade_and_zombies_stay() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        app.take(sample(ended=[Ended((4720, 4720), 4999 * SECOND_NS, 256), Ended((4711, 4711), 4999 * SECOND_NS, 9)]))
        await pilot.pause()
        assert any("cc -c" in line and line.endswith("[exit 1]") for line in app.lines())
        assistant.zombies.add(4711)
        app.take(sample(now_ns=5001 * SECOND_NS))
        await pilot.pause()
        assert not any("cc -c" in line for line in app.lines())
        assert any(
            "make all" in line and "Z" in line and line.endswith("[SIGKILL, not reaped by 4701]")
            for line in app.lines()
        )
        assistant.zombies.clear()
        app.take(sample(now_ns=5001 * SECOND_NS))  # the next look
        await pilot.pause()
        assert not any("make all" in line for line in app.lines())

    assistant = Assistant()
    run(script, (120, 40), assistant=assistant)


def test_losses_are_shown_as_they_happen() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        app.take(sample(losses=[Loss(1234, 1, 2, "")], is_sure=False))
        await pilot.pause()
        assert "1234 events lost, not sure" in app.lines()[0]
        styles = [segment.style for segment in app.query_one("#head").render_line(0) if "lost" in segment.text]
        assert "color(1)" in str(styles[0])  # red, of the terminal's own colors

    run(script)


def test_one_process_whole() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        app.take(
            sample(
                ran=[
                    ran((4711, 4711), 4800 * SECOND_NS, "make all"),
                    ran((4711, 4711), 4801, "/none", 2),
                ]
            )
        )
        await pilot.press("down", "down", "enter")
        await app.workers.wait_for_complete()
        await pilot.pause()
        text = "\n".join(app.lines())
        assert isinstance(app.screen, Pane)
        for wanted in (
            "PIDs, host first  4711 > 711",
            "container         web",
            "what it ran",
            "failed: ENOENT",
            "4701>701  init",
            "4720>720  cc -c a.c",
            "nstrace inspect",
            "cwd /srv",
        ):
            assert wanted in text
        assert re.findall(r"\b4711-\d+", text) == ["4711-4711"]  # one identity
        await pilot.press("escape")
        assert not isinstance(app.screen, Pane)

    assert run(script, (120, 40)).asked == ["inspect 4711"]


async def type_in(app: Screen, pilot: Pilot[None], text: str, *keys: str) -> None:
    """Put a text into the field, and press these keys."""
    app.query_one(Field).value = text
    await pilot.press(*keys)


def shown(app: Screen) -> list[int]:
    """The PIDs of the rows."""
    return [row.proc.pids[0] for row in app.list.rows if row.proc]


@pytest.mark.parametrize(
    ("where", "pids", "brief"),
    [("container = 'web'", [4701, 4711, 4720], ["ls", "cat"]),
     ("ns_pid = 720 or pid = 900", [4720, 900], []),
     ("comm = 'cat' or args like '%all%'", [4711], ["cat"]),
     ("ppid = 4701 and ns_ppid = 701 and level = 1", [4711], []),
     ("parent_id is null and runtime = 'docker'", [4701], ["ls", "cat"]),
     ("user = 'root' and exe = '/bin/sshd' and pidns = 4026531836", [900], []),
     ("image like 'nginx%' and len(pids) = 2 and len(pidns_chain) = 2", [4701, 4711, 4720], []),
     ("epoch_ns(started) >= 4711 and not args_truncated", [4711, 4720], []),
     ("proc_id = '4711-4711' or container_id is null", [4711, 900], [])],
)  # fmt: skip
def test_a_filter_is_a_condition_in_sql(where: str, pids: list[int], brief: list[str]) -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        app._filter.set(where)
        assert app._filter.wrong == ""
        app._again()
        await pilot.pause()
        assert shown(app) == pids
        assert [one.comm.decode() for row in app.list.rows for one in row.brief] == brief

    run(script)


@pytest.mark.parametrize(
    ("key", "where", "said"),
    [("F", "comn = 'make'", "there is no column comn, at character 1: comn = 'make'; did you mean comm"),
     ("f4", "comm = make", "there is no column make, at character 8"), ("backslash", "uid >", "at its end"),
     ("F", "uid", "true or false"), ("F", "make", "there is no column make")],
)  # fmt: skip
def test_a_wrong_filter_is_said_and_nothing_is_lost(key: str, where: str, said: str) -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        await pilot.press("F", *"pid", "space", "equals_sign", *"4711", "enter")
        await pilot.press(key)
        await type_in(app, pilot, where, "enter")
        assert said.lower() in " ".join(line.strip() for line in app.lines()[-6:-2]).lower()
        assert app.lines()[-2].strip() == where  # it stays, to be mended
        assert shown(app) == [4711]
        await type_in(app, pilot, "pid = 900", "enter")
        assert shown(app) == [900]
        assert not any("column" in line for line in app.lines())
        await pilot.press("F")
        assert app.lines()[-2].strip() == "pid = 900"
        await type_in(app, pilot, "pid = 900 and", "escape")  # as if nothing had been typed
        assert shown(app) == [900]
        await pilot.press("F")
        await type_in(app, pilot, "", "enter")
        assert len(shown(app)) == 4

    run(script)


def test_a_filter_that_cannot_be_evaluated_for_a_process_shows_all() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        await pilot.press("F")
        await type_in(app, pilot, "comm::int > 5", "enter")
        assert len(shown(app)) == 4
        assert "'init' is no number" in " ".join(app.lines()[-5:-2])
        assert app.lines()[-2].strip() == "comm::int > 5"

    run(script)


def test_a_filter_follows_what_happens() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        await pilot.press("F")
        await type_in(app, pilot, "comm = 'late'", "enter")
        assert shown(app) == []
        app.take(sample(born=[born(4800, "late", 4701)], ran=[ran((4711, 4711), 5, "late again")]))
        await pilot.pause()
        assert shown(app) == [4711, 4800]

    run(script)


def test_a_filter_and_a_search() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        await pilot.press("F")
        await type_in(app, pilot, "comm = 'make'", "enter")
        assert shown(app) == [4711]
        assert "filter: comm = 'make'" in app.lines()[-1]
        await pilot.press("escape")
        assert len(shown(app)) == 4
        assert "filter:" not in app.lines()[-1]
        await pilot.press("slash", *"720", "enter")
        assert app.list.chosen is not None
        assert app.list.chosen.pids == [4720, 720]
        await pilot.press("slash", *"nobody", "enter")
        assert "nothing matches 'nobody'" in app.lines()[-1]

    run(script)


def test_tree_sort_and_pids() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        await pilot.press("t")
        assert app.lines()[1].split()[2] == "CONTAINER"
        await pilot.press("s")
        await pilot.pause()
        assert app.list.rows[0].proc is not None
        assert app.list.rows[0].proc.pids[0] == 4701  # most events
        await pilot.press("a")
        await pilot.pause()
        assert app.lines()[2].split()[0] == "4701>701"

    run(script)


def test_a_pause_changes_what_is_shown_and_not_what_is_known() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        await pilot.press("space")
        app.take(sample(living=5, born=[born(4800, "late", 4701)]))
        await pilot.pause()
        assert "paused" in app.lines()[0]
        assert not any("late" in line for line in app.lines())
        await pilot.press("space")
        await pilot.pause()
        assert any("late" in line for line in app.lines())

    run(script)


def test_events_recording_help_and_what_is_said() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        await pilot.press("down", "e")
        assert app.requests[-1] == Request("events", key=(4701, 4701))
        await pilot.press("escape")
        assert app.requests[-1] == Request("events", key=None)
        await pilot.press("w")
        assert app.lines()[-1].startswith("recording to web.arrows")
        await pilot.press("question_mark")
        assert "one process whole" in "\n".join(app.lines())
        await pilot.press("escape")
        app.take(Said("web is not running; waiting for it to start"))
        app.draw()
        await pilot.pause()
        assert app.lines()[-1].startswith("web is not running")

    assert run(script).asked == ["record"]


def test_a_recording_is_played() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        app.take(Played(5 * SECOND_NS, True, 2.0))
        app.draw()
        await pilot.pause()
        assert "●" in app.lines()[1]
        assert app.lines()[1].rstrip().endswith("x2")
        await pilot.press("space", "full_stop", "plus", "left", "f", "g", "w")
        assert app.wanted() == ["pause", "step", "speed", "seek", "failure", "gap"]
        assert [request.number for request in app.requests if request.what == "speed"] == [4.0]
        await pilot.click("#time", offset=(40, 0))
        assert app.wanted()[-1] == "seek"

    assert run(script, hello=Hello("web.arrows", 0, 0, 10 * SECOND_NS)).asked == []


def test_the_mouse_chooses_and_opens() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        await pilot.click("ProcessList", offset=(5, 2))
        assert app.list.chosen is not None
        assert app.list.chosen.pids[0] == 4711
        await pilot.double_click("ProcessList", offset=(5, 3))
        await pilot.pause()
        assert isinstance(app.screen, Pane)

    run(script)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [0, 1, 500, 20_000])
def test_how_many_there_are(count: int, size: tuple[int, int]) -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        many = [born(5000 + nr, f"job {nr}", 4701) for nr in range(count)]
        app.take(sample(is_new=True, lanes=[WEB], living=count, born=many))
        await pilot.pause()
        assert app.lines()[0].startswith(f"web  {count} process")
        assert len(app.list.rows) == (count + 1 if count else 0)
        await pilot.press("end")
        await pilot.pause()
        if count:
            assert any(f"job {count - 1}" in line for line in app.lines())

    run(script, size)


def test_a_scrollbar_hides_nothing() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        many = [born(5000 + nr, f"job {nr}", 4701) for nr in range(40)]
        over = [Ended(one.key, 4999 * SECOND_NS, 256) for one in many]
        app.take(sample(is_new=True, lanes=[WEB], living=40, born=many, ended=over))
        await pilot.pause()
        app.draw()
        await pilot.pause()
        rows = [line for line in app.lines() if " job " in line]
        assert rows
        assert all("[exit 1]" in line for line in rows)

    run(script)


def test_a_terminal_that_changes_its_size() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        for width, height in ((60, 12), (150, 40), (80, 24)):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            assert len(app.lines()) == height
            assert app.list.virtual_size.width == app.list.scrollable_content_region.width
            assert any(line.endswith("(3 failed)") and len(line) == width for line in app.lines())

    run(script)


def test_text_of_a_hostile_reader_has_no_effect() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        evil = "\x1b[2J[bold]\u202e"
        lane = LaneFacts(0, evil, evil, Container("a" * 64, "docker", evil, evil), INSIDE, None)
        brief = [Brief(0, evil.encode(), 1, 0)]
        app.take(sample(is_new=True, lanes=[lane], born=[born(4711, evil + " x")], brief=brief))
        app.take(Hello(evil, 0))
        app.draw()
        await pilot.press("down", "enter")
        await pilot.pause()
        for text in ("\n".join(app.lines()),):
            assert "\x1b" not in text
            assert "\u202e" not in text
        assert "[bold]" in text

    run(script)


def test_rows_are_those_of_a_model_that_places_all_anew() -> None:
    """What is kept of rows that have been placed is as good as new, whatever comes."""
    kept, random = Model(), Random(7)
    lanes = [WEB, HOST, LaneFacts(2, "inner", "inner", None, [*INSIDE, (5, 5)], 0)]
    living: dict[int, Born] = {}
    kept.apply(sample(is_new=True, lanes=lanes))
    for turn in range(200):
        first, count = 4701 + 20 * turn, random.randrange(3)
        fresh = [
            born(nr, f"job {random.random()}", random.choice([1, *living]), random.choice((0, 1)))
            for nr in range(first, first + count)
        ]
        over = [nr for nr in living if random.random() < 0.1]
        runs = [ran((nr, nr), turn, f"late {random.random()}") for nr in living if random.random() < 0.05]
        living |= {one.pids[0]: one for one in fresh}
        ends = [Ended((nr, nr), turn * SECOND_NS + nr, 0) for nr in over]
        brief = [Brief(1, b"ls", 2, 0)] * (turn % 2)
        acts = [(nr, nr, 3) for nr in living if random.random() < 0.2]
        moved = [Moved((nr, nr), random.choice((0, 1, 2))) for nr in living if random.random() < 0.05]
        kept.apply(
            sample(now_ns=turn * SECOND_NS, born=fresh, ended=ends, ran=runs, brief=brief, acts=acts, moved=moved)
        )
        kept.forget(lambda proc: proc.pids[0] % 7 == 0 and random.random() < 0.9)
        for nr in over:
            del living[nr]
        for sort in SORTS:
            now = kept.rows(None, sort, is_tree=True)
            for group in kept.groups.values():
                group.placed = (None, [])
            assert now == kept.rows(None, sort, is_tree=True)
            assert {row.proc.key for row in now if row.proc} == set(kept.procs)
        assert sum(group.living for group in kept.groups.values()) == len(living)
        assert all(proc.rate > 0 for proc in kept._rated.values())
        assert {key for key, proc in kept.procs.items() if proc.rate} == set(kept._rated) & set(kept.procs)


def test_a_filter_follows_what_proc_says() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        app._filter.set("state = 'S'")
        app._again()
        await pilot.pause()
        assert shown(app) == []  # nobody has looked
        app.tick()
        await pilot.pause()
        assert shown(app) == [4701, 4711, 4720, 900]

    run(script)


def test_a_zombie_that_was_too_brief_to_be_seen() -> None:
    over = [Over(born(4730, "true", 4711), Ended((4730, 4730), 4999 * SECOND_NS, 0)),
            Over(born(4731, "false", 4711), Ended((4731, 4731), 4999 * SECOND_NS, 256))]  # fmt: skip

    async def script(app: Screen, pilot: Pilot[None]) -> None:
        app.take(sample(brief=[Brief(0, b"true", 1, 0), Brief(0, b"false", 1, 1)], over=over))
        assert 4730 not in shown(app)
        app.take(sample(now_ns=5001 * SECOND_NS))
        await pilot.pause()
        assert shown(app) == [4701, 4711, 4720, 4730, 900]
        assert any("true" in line and line.endswith("[exit 0, not reaped by 4711]") for line in app.lines())

    assistant = Assistant()
    assistant.zombies = {4730}
    run(script, (120, 40), assistant=assistant)


async def at_once(app: Screen, pilot: Pilot[None], *keys: str) -> None:
    """All these keys, faster than the screen is: as of a paste, or of a terminal that was slow."""
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else CHARACTERS.get(key)))
    await pilot.pause()
    await pilot.pause()


CHARACTERS = {"space": " ", "slash": "/", "equals_sign": "=", "dollar_sign": "$", "apostrophe": "'"}


@pytest.mark.parametrize(
    ("keys", "pids", "search"),
    [(["F", *"pid", "equals_sign", *"4711", "enter", "slash", *"47", "enter", "n"], [4711], "47"),
     (["slash", *"720", "enter", "s", "s", "F", *"uid", "escape", "a"], [4701, 4711, 4720, 900], "720"),
     (["F", *"comn", "left", "backspace", "x", "ctrl+u", "delete", *"pid", "equals_sign", *"472", "backspace", *"20",
       "home", *"not", "space", "enter"], [4701, 4711, 900], ""),
     (["F", *"nd", "escape", "F", *"comm", "equals_sign", "apostrophe", *"cc", "apostrophe", "enter"], [4720], "")],
)  # fmt: skip
def test_keys_may_come_as_fast_as_they_like(keys: list[str], pids: list[int], search: str) -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        await at_once(app, pilot, *keys)
        assert shown(app) == pids
        assert app._search == search
        assert app._filter.wrong == ""
        assert not app.field.asking

    run(script)


def test_moves_and_panes_come_in_the_order_of_their_keys() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        await at_once(app, pilot, "down", "down", "enter", "q", "down", "e", "escape", "t", "down")
        assert app.requests[-2:] == [Request("events", key=(4720, 4720)), Request("events", key=None)]
        assert not isinstance(app.screen, Pane)
        assert not app._is_tree
        await at_once(app, pilot, "question_mark", "t", "s", "escape")  # those are the pane's
        assert not app._is_tree
        assert app._sort == 0
        await at_once(app, pilot, "question_mark", "ctrl+c")
        assert app._exit

    assert run(script).asked == ["inspect 4711"]


def test_keys_that_come_after_the_end_do_nothing() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        before = app.wanted()
        await at_once(app, pilot, "q", "question_mark", "e", "enter", "F", "w")
        assert app._exit
        assert app.wanted() == before

    assert run(script).asked == []


@pytest.mark.parametrize("size", SIZES)
def test_the_first_line_has_whole_words_and_what_matters_most(size: tuple[int, int]) -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        app.take(sample(losses=[Loss(165612, 1, 2, "")], is_sure=False, living=20_000,
                        by_lane=[LaneCounts(0, 2642, 179, 0)]))  # fmt: skip
        app.action_pause()
        await pilot.pause()
        line = app.lines()[0]
        assert line.startswith("web   165612 events lost, not sure   20000 processes")
        assert line.endswith(", paused")
        wanted = ["1 container", "1321 events/s", "181 failed"]
        assert [one in line for one in wanted] == ([False, False, True] if size[0] == 80 else [True] * 3)

    run(script, size)


def test_what_was_said_goes_with_what_it_was_about() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        await pilot.press("F", *"pid", "equals_sign", *"4711", "enter", "slash", *"sshd", "enter")
        assert "nothing matches 'sshd'" in app.lines()[-1]
        await pilot.press("escape")
        assert "nothing matches" not in app.lines()[-1]
        await pilot.press("slash", *"zzz", "enter")
        assert "nothing matches 'zzz'" in app.lines()[-1]
        await pilot.press("down")
        assert "nothing matches" not in app.lines()[-1]

    run(script)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("hello", [Hello("web", 0), Hello("web.arrows", 0, 0, 10 * SECOND_NS)])
def test_the_last_line_has_help_and_quit_and_no_half_a_key(hello: Hello, size: tuple[int, int]) -> None:
    async def script(app: Screen, _pilot: Pilot[None]) -> None:
        line = app.lines()[-1]
        assert line.startswith("? help  q quit")
        assert line.endswith("sorted by start")
        keys = line.removesuffix("sorted by start").split("  ")
        assert {key for key in keys if key.strip()} <= {*_LIVE_KEYS, *_PLAY_KEYS}

    run(script, size, hello)


def test_the_beginning_and_the_end_of_a_recording() -> None:
    async def script(app: Screen, pilot: Pilot[None]) -> None:
        app.take(Played(5 * SECOND_NS, True, 1.0))
        await pilot.press("0", "dollar_sign", "right", "g", "G")
        asked = [(request.what, request.number) for request in app.requests if request.what != "more"]
        assert asked == [("seek", 0), ("seek", 10 * SECOND_NS), ("seek", 10 * SECOND_NS), ("gap", 0), ("gap before", 0)]

    run(script, hello=Hello("web.arrows", 0, 0, 10 * SECOND_NS))


def test_a_renamed_container_and_what_was_said_of_one_to_come() -> None:
    api = NGINX.__class__(NGINX.id, "docker", "api", NGINX.image, earlier=["web"])
    nested = LaneFacts(2, "api", "api pidns:5 (level 2)", api, [*INSIDE, (5, 5)], 0)

    async def script(app: Screen, pilot: Pilot[None]) -> None:
        told = [Told(1, "api", "container renamed"), Told(2, "web#2", "container created")]
        app.take(sample(lanes=[LaneFacts(0, "api", "api", api, INSIDE, None), nested], told=told,
                        born=[born(4800, "deep", lane=2)]))  # fmt: skip
        await pilot.pause()
        assert app.lines()[2].startswith("api  nginx:1.27, 3 living")
        assert "container renamed" in app.lines()[2]
        assert any(line.startswith("  api pidns:5 (level 2)") for line in app.lines())
        assert not any("container created" in line for line in app.lines())
        anew = NGINX.__class__("c" * 64, "docker", "web", None, incarnation=2)
        app.take(sample(lanes=[LaneFacts(3, "web#2", "web#2", anew, [INSIDE[0], (6, 6)], None)],
                        born=[born(4900, "anew", lane=3)]))  # fmt: skip
        await pilot.pause()
        assert any(line.startswith("web#2 ") and "container created" in line for line in app.lines())

    run(script, (120, 40))
