"""nstrace top: the application that draws, in a process of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - asyncio imports it late
import gc
import signal
import time
from collections.abc import Callable
from typing import ClassVar, Protocol

from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Static

from tracer.errors import NstraceError
from tracer.screen.cells import columns, rate_text
from tracer.screen.filtering import Condition, Filter
from tracer.screen.lister import ProcessList
from tracer.screen.messages import Channel, Hello, Lines, Message, Played, Request, Said
from tracer.screen.model import SORTS, Model, Proc, Row, match_of
from tracer.screen.texts import KEYS, whole
from tracer.stream.sampling import ProcKey, Sample
from tracer.text.counted import counted
from tracer.text.escape import safe, safe_text
from tracer.text.times import precise
from tracer.text.width import cut, width

_LOST, _BAR = Style(color="red", bold=True, reverse=True), Style(reverse=True)
_TICK_S = 1.0
_ARROW_NS = 5_000_000_000
_FEW_ROWS_S, _SHARE = 0.02, 40
_MANY = 1000
_MAX_EVENTS = 2000
_TYPING_S = 0.3
_HINTS = {
    "search": "search: a PID of any level, a command, a container",
    "filter": "filter, in SQL: comm = 'sh' and uid <> 0, container = 'web', args like '%-c%', ns_pid < 10, state = 'Z'",
}


class Assistant(Protocol):
    """What the screen has others do for it."""

    def record(self) -> str:
        """Start a recording of what happens now, or stop the one that runs. Gives what to say."""

    def inspect(self, pid: int) -> str:
        """What nstrace inspect says of a process."""

    def condition(self, text: str) -> Condition:
        """A condition on processes, as it was typed. Raises NstraceError where it is wrong."""

    def states(self, procs: list[Proc]) -> None:
        """Set the states of these processes."""

    def is_unreaped(self, proc: Proc) -> bool:
        """Whether it has ended and still has its PID."""


class Pane(ModalScreen[None]):
    """A text over the whole screen, which scrolls; it is made anew once a second."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter,space", "leave", show=False)]

    def __init__(self, title: str, make: Callable[[], Text], leaving: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._title_text, self._make, self._leaving = title, make, leaving

    def compose(self) -> ComposeResult:
        """As textual calls it."""
        yield Static(Text(self._title_text, _BAR), classes="bar")
        with VerticalScroll():
            yield Static(self._make(), id="text")
        yield Static(Text("Esc back", _BAR), classes="bar")

    def on_mount(self) -> None:
        """As textual calls it."""
        self.query_one(VerticalScroll).focus()
        self.set_interval(_TICK_S, self.renew)

    def renew(self) -> None:
        """Show what there is to say now."""
        self.query_one("#text", Static).update(self._make())

    def action_leave(self) -> None:
        """Go back."""
        self._leaving()
        self.dismiss()


class TimeLine(Widget):
    """How far a recording has been played."""

    def __init__(self, go: Callable[[float], None]) -> None:
        super().__init__(id="time")
        self._go, self.part, self.label = go, 0.0, ""

    def render(self) -> Text:
        """As textual calls it."""
        cells = max(1, self.size.width - len(self.label) - 1)
        at = min(cells - 1, int(self.part * cells))
        return Text(f"{'━' * at}●{'─' * (cells - at - 1)} {self.label}", no_wrap=True)

    def on_click(self, event: events.Click) -> None:
        """Go there."""
        self._go(event.x / max(1, self.size.width - len(self.label) - 1))


class Top(App[None]):
    """The screen. channel: to the process that reads; None: messages come by `take` (tests)."""

    CSS = """
    Screen { layout: vertical; }
    .bar, #titles, #head { height: 1; }
    #ask { height: 1; border: none; padding: 0; display: none; }
    #ask.asked { display: block; }
    #wrong { height: auto; max-height: 4; color: ansi_red; display: none; }
    #wrong.said { display: block; }
    #time { height: 1; width: 100%; display: none; }
    #time.played { display: block; }
    ProcessList { height: 1fr; scrollbar-size-vertical: 1; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,f10,ctrl+c,ctrl+q", "quit", priority=False),
        Binding("slash", "ask('search')"),
        Binding("F,f4,backslash", "ask('filter')"),
        Binding("n", "search_on"),
        Binding("t", "tree"),
        Binding("s", "sort"),
        Binding("a", "all_pids"),
        Binding("space", "pause"),
        Binding("enter", "open"),
        Binding("e", "events"),
        Binding("w", "record"),
        Binding("question_mark,h,f1", "help"),
        Binding("left", "seek(-1)"),
        Binding("right", "seek(1)"),
        Binding("full_stop", "ask_reader('step')"),
        Binding("plus,equals_sign", "speed(2)"),
        Binding("minus", "speed(0.5)"),
        Binding("f", "ask_reader('failure')"),
        Binding("g", "ask_reader('gap')"),
    ]

    def __init__(self, channel: Channel[Message] | None, assistant: Assistant) -> None:
        super().__init__(ansi_color=True)
        self.model = Model()
        self.hello = Hello("", 0)
        self.error: BaseException | None = None
        self._channel, self._assistant = channel, assistant
        self._played = Played(0, False, 1.0)
        self._sort, self._is_tree, self._is_paused = 0, True, False
        self._filter = Filter(assistant.condition)
        self._typing: Timer | None = None
        self._search = self._asking = self._said = ""
        self._lines: list[str] = []
        self._rows_due_s = 0.0
        self._shown_changes = -1

    def compose(self) -> ComposeResult:
        """As textual calls it."""
        yield Static(id="head")
        yield TimeLine(self._go_to_part)
        yield Static(id="titles")
        self.list = ProcessList(lambda: (self.model.now_ns, time.monotonic()))
        yield self.list
        yield Static(id="wrong")
        yield Input(id="ask")
        yield Static(id="foot", classes="bar")

    def on_mount(self) -> None:
        """As textual calls it."""
        self.list.focus()
        self.set_interval(_TICK_S, self.tick)
        loop = asyncio.get_running_loop()
        if self._channel:
            loop.add_reader(self._channel.fileno(), self._receive)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                loop.add_signal_handler(number, self.exit)
        self.draw()

    def _receive(self) -> None:
        assert self._channel
        for message in self._channel.receive():
            self.take(message)
        if not self._channel.is_open:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self.exit()

    def take(self, message: Message) -> None:
        """A message of the process that reads."""
        if isinstance(message, Sample):
            self.model.apply(message, time.monotonic())
            if len(message.born) > _MANY:
                gc.freeze()  # else each look for garbage looks at all of them
            self.draw()
            self._ask(Request("more"))
        elif isinstance(message, Hello):
            self.hello, self.model.wall_offset_ns = message, message.wall_offset_ns
            self.query_one("#time").set_class(not message.is_live, "played")
        elif isinstance(message, Played):
            self._played = message
        elif isinstance(message, Lines):
            self._lines += message.lines
            del self._lines[:-_MAX_EVENTS]
        elif isinstance(message, Said):
            self._said = message.line

    def _ask(self, request: Request) -> None:
        if self._channel:
            self._channel.send(request)

    def tick(self) -> None:
        """Once a second: states of what is seen, and what has ended is forgotten."""
        if self.hello.is_live:
            self._look(self.list.seen() + self._filter.to_look_at(list(self.model.procs.values())))
        is_unreaped = self._assistant.is_unreaped if self.hello.is_live else lambda _proc: False
        self.model.forget(time.monotonic(), is_unreaped)
        self.draw()

    def _look(self, procs: list[Proc]) -> None:
        """Note what these are now, and whether a filter may leave others then."""
        before = self._filter.asked_of(procs)
        self._assistant.states(procs)
        self.model.changes += before != self._filter.asked_of(procs)

    def draw(self) -> None:
        """Show what is known. Where working out the rows takes long, that is done less often."""
        now_s = time.monotonic()
        is_old = self._shown_changes != self.model.changes or SORTS[self._sort] == "events"
        if is_old and now_s >= self._rows_due_s and not self._is_paused:
            self._shown_changes = self.model.changes
            self.list.show(self._rows())
            took_s = time.monotonic() - now_s
            self._rows_due_s = time.monotonic() + (took_s * _SHARE if took_s > _FEW_ROWS_S else 0.0)
        self.list.names_container = not self._is_tree
        if not self._is_paused:
            self.list.refresh()
        self.query_one("#head", Static).update(self._head())
        self.query_one("#titles", Static).update(Text(self._titles(), _BAR, no_wrap=True))
        self.query_one("#foot", Static).update(self._foot())
        wrong = self.query_one("#wrong", Static)
        wrong.update(Text(safe_text(self._filter.wrong)))
        wrong.set_class(bool(self._filter.wrong), "said")
        self._draw_time()

    def _rows(self) -> list[Row]:
        """What the filter leaves; all where it cannot be evaluated, which is said."""
        try:
            return self.model.rows(self._filter.mask, SORTS[self._sort], self._is_tree)
        except NstraceError as error:
            self._filter.fail(error)
            return self.model.rows(None, SORTS[self._sort], self._is_tree)

    def _head(self) -> Text:
        model = self.model
        living = [group.facts.container for group in model.groups.values() if group.living]
        containers = {(container.id, container.incarnation) for container in living if container}
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{safe_text(self.hello.title)}  ", Style(bold=True))
        if model.lost:
            text.append(f" {model.lost} events lost{'' if model.is_sure else ', not sure'} ", _LOST)
            text.append("  ")
        many = f"{counted(model.living, 'process', 'es')}, {counted(len(containers), 'container')}"
        text.append(f"{many}, {rate_text(model.rate) or '0'} events/s")
        if model.failed:
            text.append(f", {model.failed} failed", Style(color="red"))
        if self._is_paused or self._played.is_paused:
            text.append("  paused", Style(bold=True))
        return text

    def _titles(self) -> str:
        titles = columns(self.list.pid_width, self.list.all_pids, self.list.names_container)
        return titles + " " * max(0, self.size.width - len(titles))

    def _foot(self) -> Text:
        if self._said:
            return Text(cut(safe_text(self._said), self.size.width), _BAR)
        keys = (
            "Enter whole  e events  / search  F filter  t tree  s sort  a PIDs  space pause  w record  ? help  q quit"
        )
        state = f"sorted by {SORTS[self._sort]}"
        if self._filter.text:
            state = cut(safe_text(f"filter: {self._filter.text}"), self.size.width * 2 // 3)
        room = self.size.width - width(state) - 2
        return Text(f"{cut(keys, room):<{max(0, room)}}  {state}", _BAR, no_wrap=True)

    def _draw_time(self) -> None:
        if self.hello.is_live:
            return
        line = self.query_one("#time", TimeLine)
        now_ns = self._played.now_ns or self.hello.begin_ns
        line.part = (now_ns - self.hello.begin_ns) / (self.hello.end_ns - self.hello.begin_ns)
        line.label = f"{precise(now_ns + self.hello.wall_offset_ns)[11:]} x{self._played.speed:g}"
        line.refresh()

    def _again(self) -> None:
        self._rows_due_s, self._shown_changes, self._said = 0.0, -1, ""
        self.draw()

    def action_tree(self) -> None:
        """A tree, or a flat list."""
        self._is_tree = not self._is_tree
        self._again()

    def action_sort(self) -> None:
        """The next order."""
        self._sort = (self._sort + 1) % len(SORTS)
        self._again()

    def action_all_pids(self) -> None:
        """PIDs of all levels."""
        self.list.all_pids = not self.list.all_pids
        self._again()

    def action_pause(self) -> None:
        """Stand still, or go on."""
        if self.hello.is_live:
            self._is_paused = not self._is_paused
        else:
            self._ask(Request("pause"))
        self._again()

    def action_ask(self, what: str) -> None:
        """Let the user type what to search for, or a filter."""
        self._asking = what
        field = self.query_one("#ask", Input)
        field.placeholder = _HINTS[what]
        field.value = self._filter.edit() if what == "filter" else ""
        field.add_class("asked")
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """A filter shows what it leaves as soon as the user looks up."""
        if self._asking == "filter":
            self._stop_typing()
            self._typing = self.set_timer(_TYPING_S, lambda: self._try_filter(event.value))

    def _stop_typing(self) -> None:
        if self._typing:
            self._typing.stop()

    def _try_filter(self, text: str) -> None:
        self._filter.set(text)
        self._again()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The text is complete; a filter that is wrong stays to be mended."""
        if self._asking == "search":
            self._search = event.value
            self.action_search_on()
        elif self._asking == "filter":
            self._stop_typing()
            self._try_filter(event.value)
            if self._filter.wrong:
                return
        self._leave_field()

    def on_key(self, event: events.Key) -> None:
        """Esc leaves the field as if nothing had been typed; in the list it takes the filter away."""
        if event.key == "escape":
            self._stop_typing()
            if self._asking == "filter":
                self._filter.undo()
            elif not self._asking:
                self._filter.set("")
            self._again()
            self._leave_field()

    def _leave_field(self) -> None:
        self._asking = ""
        self.query_one("#ask", Input).remove_class("asked")
        self.list.focus()

    def action_search_on(self) -> None:
        """Go to the next row that is meant."""
        match, rows = match_of(self._search), self.list.rows
        order = [(self.list.cursor + 1 + step) % len(rows) for step in range(len(rows))]
        for at in order if self._search else ():
            proc = rows[at].proc
            if proc and match(proc, rows[at].group):
                self._said = ""
                self.list.go_to(at)
                return
        self._said = f"nothing matches {self._search!r}" if self._search else "press / to search"
        self.draw()

    def on_process_list_chosen(self) -> None:
        """A process was clicked twice."""
        self.action_open()

    def action_open(self) -> None:
        """Show one process whole."""
        proc = self.list.chosen
        if proc is None:
            return
        inspected: list[str] = []
        group, offset_ns = self.model.groups.get(proc.lane), self.hello.wall_offset_ns
        title = f"process {proc.pids[0]}: {safe(proc.comm)}"
        pane = Pane(title, lambda: whole(self.model, proc, group, offset_ns, "".join(inspected)))

        async def inspect() -> None:
            inspected.append(await asyncio.to_thread(self._assistant.inspect, proc.pids[0]))
            if pane.is_current:
                pane.renew()

        self.push_screen(pane)
        if self.hello.is_live and proc.gone_s is None:
            self.run_worker(inspect())

    def action_events(self) -> None:
        """Show the events of one process from now on."""
        proc = self.list.chosen
        if proc is None:
            return
        self._lines = []
        self._ask_events(proc.key)
        pane = Pane(
            f"events of process {proc.pids[0]} and its children, from now on",
            lambda: Text("\n".join(map(safe_text, self._lines)) or "none yet"),
            lambda: self._ask_events(None),
        )
        self.push_screen(pane)

    def _ask_events(self, key: ProcKey | None) -> None:
        self._ask(Request("events", key=key))

    def action_record(self) -> None:
        """Start or stop a recording."""
        self._said = self._assistant.record() if self.hello.is_live else "this is a recording already"
        self.draw()

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(Pane("nstrace top", lambda: Text(KEYS)))

    def action_ask_reader(self, what: str) -> None:
        """Ask the process that plays a recording."""
        if not self.hello.is_live:
            self._ask(Request(what))

    def action_seek(self, way: int) -> None:
        """Back and forth in a recording."""
        if not self.hello.is_live:
            self._ask(Request("seek", self._played.now_ns - self.hello.begin_ns + way * _ARROW_NS))

    def _go_to_part(self, part: float) -> None:
        self._ask(Request("seek", part * (self.hello.end_ns - self.hello.begin_ns)))

    def action_speed(self, factor: float) -> None:
        """Faster or slower."""
        if not self.hello.is_live:
            self._ask(Request("speed", self._played.speed * factor))

    def _handle_exception(self, error: Exception) -> None:
        """As textual calls it: end, and leave the report to whoever started us."""
        self.error = error
        self.exit(return_code=1)
