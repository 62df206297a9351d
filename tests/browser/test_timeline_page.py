"""The page of nstrace timeline in a real browser: what it shows, how it is moved, and that nothing in it runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import PIDNS, SECOND_NS, WEB, Row, batch, cgroup, exits, fork, gap, row
from crowd import crowd
from looking import CHROMIUM, Seen, chromium, page_of

from tracer.stream.batch import Batch
from tracer.stream.metadata import Container
from tracer.stream.schema import Kind

pytest.importorskip("playwright", reason="needs playwright: scripts/setup")

WIDTH, HEAD, ROW = 1280, 22, 16
AXIS_TO_ROW = HEAD + ROW // 2
INNER = Container("b" * 64, "docker", "inner", "alpine:3", {})
MS = 1_000_000
SPAN_NS = 2 * SECOND_NS
OUTER_NS, INNER_NS = PIDNS, PIDNS + 1


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not shutil.which(CHROMIUM):
        pytest.skip(f"needs {CHROMIUM}: apt-get install chromium")
    with chromium() as started:
        yield started


@pytest.fixture
def seen(browser: Any, tmp_path: Path) -> Iterator[Seen]:
    context = browser.new_context(viewport={"width": WIDTH, "height": 720}, offline=True)
    yield Seen(context.new_page(), tmp_path)
    context.close()


def small() -> Batch:
    """Two containers, one in the other; a fork, execs, all kinds of ends, and a gap."""
    web: dict[str, Any] = {"cgroup_id": 7}
    deep = [(OUTER_NS, 20), (INNER_NS, 1)]
    end = 3 * SECOND_NS
    return batch(
        cgroup(7, WEB),
        cgroup(8, INNER),
        row(Kind.SNAPSHOT, 4701, [(OUTER_NS, 1)], exe=b"/bin/init", args=[b"init"], comm=b"init", ts_ns=SECOND_NS,
            start_ns=SECOND_NS // 2, parent_tgid=0, **web),
        fork(4711, [(OUTER_NS, 15)], start_ns=SECOND_NS, parent_tgid=4701, parent_start_ns=SECOND_NS // 2, **web),
        row(Kind.EXEC, 4711, [(OUTER_NS, 15)], exe=b"/bin/make", args=[b"make", b"all"], comm=b"make",
            start_ns=SECOND_NS, ts_ns=SECOND_NS + MS, parent_tgid=4701, parent_start_ns=SECOND_NS // 2, **web),
        fork(4720, deep, start_ns=SECOND_NS + 100 * MS, parent_tgid=4711, parent_start_ns=SECOND_NS, cgroup_id=8),
        exits(4720, deep, start_ns=SECOND_NS + 100 * MS, ts_ns=SECOND_NS + 300 * MS, status=9, cgroup_id=8),
        gap(1234, 2 * SECOND_NS, 2 * SECOND_NS + 200 * MS),
        exits(4711, [(OUTER_NS, 15)], start_ns=SECOND_NS, ts_ns=end, status=2 << 8, comm=b"make", uid=1000, **web),
    )  # fmt: skip


def color_at(page: Any, x: float, y: float, canvas: str = "#lanes") -> tuple[int, ...]:
    read = "(canvas, [x, y]) => [...canvas.getContext('2d').getImageData(x, y, 1, 1).data].slice(0, 3)"
    return tuple(page.locator(canvas).evaluate(read, [x, y]))


def click_row(page: Any, row: int, part: float, below: int = 0) -> None:
    """Click into a row of the first lane, at this part of the width. below: how much lower the rows begin."""
    page.locator("#lanes").click(position={"x": part * WIDTH, "y": AXIS_TO_ROW + ROW * row + below})


def is_red(color: tuple[int, ...]) -> bool:
    return color[0] > 1.1 * max(color[1], color[2])


def test_it_opens_without_an_error_and_asks_no_network(seen: Seen) -> None:
    page = seen.open([small()])
    assert seen.said == []
    assert {url.partition(":")[0] for url in seen.asked} <= {"file", "blob"}
    assert page.title() == "web.arrows - nstrace timeline"
    summary = page.inner_text("#summary")
    assert "3 processes · 2 containers · 2 failed · 1 lived at the end · 1 gap, 1234 events lost" in summary


def test_a_click_shows_the_process_whole(seen: Seen) -> None:
    page = seen.open([small()])
    click_row(page, 1, 0.5)
    facts = seen.facts()
    assert (facts["PID on the host"], facts["PID inside"], facts["container"]) == ("4711", "15", "web")
    assert (facts["command"], facts["file"], facts["uid"], facts["how"]) == ("make all", "/bin/make", "1000", "exit 2")
    assert facts["began"].endswith(":21.000000")
    assert facts["lived"] == "2.0 s"
    assert "4701 > 1 init" in page.inner_text("#details")
    click_row(page, 8, 0.5)  # where nobody is
    assert page.locator("#details").is_hidden()


def test_all_levels_of_a_nested_process_are_shown(seen: Seen) -> None:
    page = seen.open([small()])
    page.fill("#search", "20")
    page.press("#search", "Enter")
    assert page.inner_text("#hits") == "1 found"
    assert seen.facts()["PIDs, host first"] == "4720 > 20 > 1"
    assert seen.facts()["how"] == "SIGKILL"


@pytest.mark.parametrize(
    ("text", "count"),
    [("4711", 1), ("15", 1), ("1", 2), ("make all", 1), ("/bin/make", 1), ("WEB", 2), ("inner", 1), ("alpine", 1),
     ("x9", 0)],
)  # fmt: skip
def test_search_finds_numbers_of_any_level_commands_and_containers(text: str, count: int, seen: Seen) -> None:
    page = seen.open([small()])
    page.fill("#search", text)
    assert page.inner_text("#hits") == (f"{count} found" if count else "none found")


def test_the_wheel_zooms_to_microseconds_and_dragging_moves(seen: Seen) -> None:
    page = seen.open([small()])
    assert seen.window_ns() == (0, SPAN_NS)
    page.mouse.move(640, 400)
    for _turn in range(80):
        page.mouse.wheel(0, -500)
    seen.settle()
    begin, end = seen.window_ns()
    assert end - begin <= 2000
    texts = page.locator("#axis text").all_text_contents()
    assert len(set(texts)) == len(texts) >= 3  # ticks of less than a microsecond have names of their own
    page.mouse.down()
    page.mouse.move(340, 400, steps=4)
    page.mouse.up()
    seen.settle()
    moved = seen.window_ns()
    assert moved[0] - begin == pytest.approx(300 / WIDTH * (end - begin), abs=2)
    assert seen.said == []


def test_the_keyboard_moves_selects_and_shows_the_table(seen: Seen) -> None:
    page = seen.open([small()])
    whole = seen.window_ns()
    page.locator("#lanes").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    seen.settle()
    assert seen.window_ns()[0] > whole[0]
    page.keyboard.press("Home")
    seen.settle()
    assert seen.window_ns() == whole
    page.keyboard.press("n")
    page.keyboard.press("n")
    assert "4711 make" in page.inner_text("#details h2")
    assert "4711>15 make: make all" in page.inner_text("#said")
    page.keyboard.press("p")
    assert "4701 init" in page.inner_text("#details h2")
    page.keyboard.press("Escape")
    page.keyboard.press("Home")
    page.keyboard.press("t")
    seen.settle()
    rows = page.locator("#rows tbody tr").all_inner_texts()
    assert [row.split("\t")[2:4] for row in rows] == [
        ["web", "4701 > 1"],
        ["web", "4711 > 15"],
        ["inner", "4720 > 20 > 1"],
    ]
    assert "1234 lost at" in page.inner_text("#rows caption")


def test_f_shows_the_next_failure_however_brief_it_was(seen: Seen) -> None:
    web, inside = {"cgroup_id": 7}, [(OUTER_NS, 15)]
    brief: list[Row] = []
    for number in range(3):
        born = SECOND_NS + (number + 1) * 600 * SECOND_NS
        for tgid, status in ((5000 + number, 0), (6000 + number, 1 << 8)):
            brief.append(fork(tgid, inside, start_ns=born, ts_ns=born, **web))
            brief.append(exits(tgid, inside, start_ns=born, ts_ns=born + 200_000, status=status, **web))
    page = seen.open([batch(cgroup(7, WEB), fork(4701, [(OUTER_NS, 1)], **web), *brief)])
    page.locator("#lanes").focus()
    for key, tgid in (("f", 6000), ("f", 6001), ("f", 6002), ("F", 6001)):
        page.keyboard.press(key)
        seen.settle()
        assert seen.facts()["PID on the host"] == str(tgid)
        assert seen.facts()["how"] == "exit 1"
        begin, until = seen.window_ns()
        started = (tgid - 6000 + 1) * 600 * SECOND_NS
        assert begin <= started < started + 200_000 <= until
        assert 200_000 / (until - begin) * page.locator("#lanes").evaluate("c => c.clientWidth") >= 8  # pixels
        column = (started + 100_000 - begin) / (until - begin) * page.locator("#lanes").evaluate("c => c.clientWidth")
        colors = [color_at(page, column, HEAD + ROW * at + 5) for at in range(4)]
        assert any(is_red(color) for color in colors)


def test_a_brief_failure_is_not_hidden_by_what_follows_it(seen: Seen) -> None:
    web: dict[str, Any] = {"cgroup_id": 7}
    inside = [(OUTER_NS, 15)]
    born, over = 3 * SECOND_NS, 3 * SECOND_NS + MS
    page = seen.open([batch(
        cgroup(7, WEB),
        fork(4701, inside, **web), exits(4701, inside, ts_ns=born, **web),
        fork(4702, inside, start_ns=born, **web), exits(4702, inside, start_ns=born, ts_ns=over, status=256, **web),
        fork(4703, inside, start_ns=over, **web),
        row(Kind.EXEC, 4703, inside, start_ns=over, ts_ns=over, exe=b"/bin/ls", args=[b"ls"], **web),
        exits(4703, inside, start_ns=over, ts_ns=5 * SECOND_NS, **web),
    )])  # fmt: skip
    begin, until = seen.window_ns()
    column = (born - SECOND_NS - begin) / (until - begin) * WIDTH
    assert any(is_red(color_at(page, column + by, HEAD + 5)) for by in (-1, 0, 1))


def test_g_shows_the_next_gap(seen: Seen) -> None:
    page = seen.open([small()])
    page.locator("#lanes").focus()
    page.keyboard.press("g")
    seen.settle()
    begin, until = seen.window_ns()
    assert begin <= SECOND_NS <= SECOND_NS + 200 * MS <= until <= begin + 900 * MS
    assert page.inner_text("#said").startswith("1 of 1: 1234 lost at")
    assert page.locator("#said").bounding_box()["width"] > 100  # it is seen
    page.keyboard.press("ArrowRight")
    assert page.locator("#said").bounding_box()["width"] <= 1
    page.keyboard.press("Escape")
    page.fill("#search", "init")
    page.locator("#lanes").focus()
    page.keyboard.press("f")
    assert page.inner_text("#said") == "No failure is recorded here"


def test_many_gaps_are_few_places_with_a_label_each(seen: Seen) -> None:
    """As of a ring that overflows: each of two CPUs has its own gaps, which overlap, and many follow each other."""
    gaps = [gap(2 + nr, at * SECOND_NS + nr * 7 * MS, at * SECOND_NS + (nr * 7 + 20) * MS, cpu=nr % 2)
            for at in (2, 5, 8) for nr in range(46)]  # fmt: skip
    page = seen.open([batch(cgroup(7, WEB), fork(4701, [(OUTER_NS, 1)], cgroup_id=7), *gaps,
                            fork(4702, [(OUTER_NS, 2)], start_ns=10 * SECOND_NS, cgroup_id=7))])  # fmt: skip
    lost = sum(2 + nr for nr in range(46))
    page.keyboard.press("t")
    seen.settle()
    caption = page.inner_text("#rows caption")
    assert f"Events were lost: {3 * lost} lost in 138 gaps: {lost} lost in 46 gaps at " in caption
    page.keyboard.press("t")
    page.locator("#lanes").focus()
    shown = []
    for key in "ggggGG":
        page.keyboard.press(key)
        seen.settle()
        said, begin, until = page.inner_text("#said"), *seen.window_ns()
        place = int(said[0])
        assert said.startswith(f"{place} of 3: {lost} lost in 46 gaps at ")
        assert begin <= (3 * place - 2) * SECOND_NS < until
        assert not begin <= (3 * (place % 3 + 1) - 2) * SECOND_NS < until
        shown.append(place)
    assert shown == [1, 2, 3, 1, 3, 2]


def test_the_strip_says_the_peak_of_the_summary(seen: Seen, tmp_path: Path) -> None:
    page = seen.open(crowd(3000, containers=4, span_s=8))
    done = subprocess.run([sys.executable, "-m", "tracer", "summary", "--json", str(tmp_path / "web.arrows")],
                          check=True, capture_output=True, timeout=60)  # fmt: skip
    most = json.loads(done.stdout)["rate"]["most_in_a_second"]
    assert most > 500
    written = "CanvasRenderingContext2D.prototype.fillText"
    noted = "function (text, ...rest) { said.push(text); before.call(this, text, ...rest); }"
    page.evaluate(f"() => {{ window.said = []; const before = {written}; {written} = {noted} }}")
    page.keyboard.press("Home")
    seen.settle()
    assert f"most in one second: {most} events" in page.evaluate("window.said")


def test_a_link_leads_back_to_the_same_view(seen: Seen, browser: Any, tmp_path: Path) -> None:
    page = seen.open([small()])
    page.fill("#search", "make")
    page.press("#search", "Enter")
    page.locator("#lanes").focus()
    page.keyboard.press("+")
    seen.settle()
    link = page.locator("#details > a").evaluate("a => a.href")
    other = Seen(browser.new_page(viewport={"width": WIDTH, "height": 720}), tmp_path)
    other.goto(link)
    assert other.facts() == seen.facts()
    assert other.window_ns() == pytest.approx(seen.window_ns(), abs=2)
    assert other.page.input_value("#search") == "make"
    other.page.close()


@pytest.mark.parametrize(
    "fragment",
    ["#from=1e999&until=NaN&y=-5&process=x", "#process=4711-99999999999999999999", "#%",
     "#search=<img src=x onerror=alert(1)>", "#from=5&until=1", "#__proto__=1&constructor=2", "#y=9999999999999999"],
)  # fmt: skip
def test_a_fragment_may_come_from_anybody(fragment: str, seen: Seen) -> None:
    page = seen.open([small()])
    page.evaluate("hash => { location.hash = hash }", fragment)
    seen.settle()
    begin, end = seen.window_ns()
    assert 0 <= begin < end
    assert seen.said == []


def test_light_and_dark(seen: Seen) -> None:
    page = seen.open([small()])
    assert sum(color_at(page, 1200, 500)) > 700
    page.emulate_media(color_scheme="dark")
    seen.settle()
    assert sum(color_at(page, 1200, 500)) < 100
    page.click("#theme")  # what the user chooses stays
    seen.settle()
    assert sum(color_at(page, 1200, 500)) > 700


def test_colors_say_how_processes_ended_and_gaps_are_shaded(seen: Seen) -> None:
    page = seen.open([small()])
    assert is_red(color_at(page, 700, AXIS_TO_ROW + ROW + 5))  # make failed
    assert not is_red(color_at(page, 300, AXIS_TO_ROW + 5))  # init lives
    lost = 1.1 * SECOND_NS / SPAN_NS * WIDTH
    assert is_red(color_at(page, lost, 400))
    assert is_red(color_at(page, lost, 20, "#minimap"))
    assert color_at(page, lost, 400) != color_at(page, lost - 0.2 * WIDTH, 400)


def test_a_lane_is_closed_and_opened(seen: Seen) -> None:
    page = seen.open([small()])
    page.locator("#lanes").click(position={"x": 300, "y": 10})
    seen.settle()
    click_row(page, 1, 0.5)
    assert "4711" not in page.inner_text("body")
    page.locator("#lanes").click(position={"x": 300, "y": 10})
    click_row(page, 1, 0.5)
    assert seen.facts()["PID on the host"] == "4711"


def test_the_minimap_moves_the_window(seen: Seen) -> None:
    page = seen.open([small()])
    page.locator("#lanes").focus()
    for _press in range(3):
        page.keyboard.press("+")
    page.locator("#minimap").click(position={"x": 0.9 * WIDTH, "y": 20})
    seen.settle()
    begin, end = seen.window_ns()
    assert begin > 0.6 * SPAN_NS
    assert end - begin < 400 * MS


def test_containers_tell_what_happened_to_them(seen: Seen) -> None:
    fact = b'{"action":"oom","container":{"id":"%s","runtime":"docker","name":"web"}}' % (b"a" * 64)
    note = row(Kind.CONTAINER, 0, args=[], ts_ns=5 * SECOND_NS // 2, args_len=len(fact), args_total=len(fact))
    page = seen.open([small(), batch(note._replace(heap=note.heap + fact))])
    assert seen.said == []
    red, green, blue = color_at(page, 0.75 * WIDTH, HEAD + 5)
    assert blue > red > green  # the mark, below the heading of its lane
    click_row(page, 1, 0.5, ROW)
    assert seen.facts()["PID on the host"] == "4711"  # the rows stand below it


HOSTILE = [
    "</script><script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    '"><svg onload=window.pwned=1>',
    "'-window.pwned=1-'",
    "--><script>window.pwned=1</script>",
    "]]><script>window.pwned=1</script>",
    "<!--<script>",
    "${window.pwned=1}",
    "{{constructor.constructor('window.pwned=1')()}}",
    "javascript:window.pwned=1",
    "</title><script>window.pwned=1</script>",
    "@SCRIPT@ @DATA@ @POLICY@ @STYLE@",
    "__proto__",
    "constructor",
    "\u2028\u2029\u202e\u200b\ufeff",
    "\x1b]0;x\x07\x00",
    "&lt;script&gt;",
    "\U0001f600 \u0130 \u00df",
]


def hostile() -> list[Batch]:
    """Each text in every place where a stranger can put one."""
    parts = []
    for number, text in enumerate(HOSTILE):
        raw, inside = text.encode().replace(b"\0", b"0"), [(PIDNS + number, 1)]
        container = Container(f"{number:064x}", text[:40], text, text, {text: text})
        common: dict[str, Any] = {"start_ns": SECOND_NS + number, "cgroup_id": 100 + number, "comm": raw[:15]}
        parts.append(batch(
            cgroup(100 + number, container, path=text),
            fork(900 + number, inside, **common),
            row(Kind.EXEC, 900 + number, inside, exe=raw, args=[raw, raw], ts_ns=SECOND_NS + 100, **common),
            row(Kind.EXEC_FAILED, 900 + number, inside, exe=raw, status=2, ts_ns=SECOND_NS + 150, **common),
            exits(900 + number, inside, ts_ns=SECOND_NS + 200 + number, status=1 << 8, **common),
        ))  # fmt: skip
    return parts


def test_nothing_that_a_stranger_wrote_runs_or_becomes_markup(seen: Seen) -> None:
    page = seen.open(hostile(), name="<img src=x onerror=window.pwned=1>".replace("/", ""), host=HOSTILE[0])
    page.keyboard.press("t")
    for number, text in enumerate(HOSTILE):
        page.fill("#search", str(900 + number))
        page.press("#search", "Enter")
        facts = seen.facts()
        if text.isprintable() and text.isascii():
            assert facts["container"] == text
        assert facts["how"] == "exit 1"
    page.fill("#search", HOSTILE[0])
    seen.settle()
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("document.querySelectorAll('img, iframe, object, embed, link, base').length") == 0
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("document.querySelectorAll('svg').length") == 1
    assert seen.said == []
    assert HOSTILE[0] in page.inner_text("#summary")


@pytest.mark.parametrize("has_policy", [True, False])
def test_the_policy_of_the_page_forbids_other_scripts(has_policy: bool, seen: Seen, tmp_path: Path) -> None:
    file = page_of(tmp_path, [small()])
    text = file.read_text()
    assert text.count("Content-Security-Policy") == 1
    file.write_text(text if has_policy else text.replace("Content-Security-Policy", "x-nothing"))
    page = seen.goto(file.as_uri())
    page.evaluate("const s = document.createElement('script'); s.append('window.pwned = 1'); document.body.append(s)")
    markup = "() => { try { document.body.innerHTML = '<b>x</b>'; return 'set' } catch (error) { return error.name } }"
    assert page.evaluate("window.pwned") == (None if has_policy else 1)
    assert page.evaluate(markup) == ("TypeError" if has_policy else "set")


def test_many_processes(seen: Seen) -> None:
    page = seen.open(crowd(200_000))
    assert "200000 processes · 40 containers · 25000 failed" in page.inner_text("#summary")
    page.fill("#search", "cat /etc")
    assert page.inner_text("#hits") == "50000 found"
    page.press("#search", "Enter")
    assert seen.facts()["command"] == "cat /etc/hosts"
    assert seen.said == []


def test_nobody_at_all(seen: Seen) -> None:
    page = seen.open([batch(gap(5))])
    assert "0 processes" in page.inner_text("#summary")
    for key in ("n", "t", "+", "Enter", "p", "c", "d", "u", "?"):
        page.keyboard.press(key)
    seen.settle()
    assert seen.said == []
