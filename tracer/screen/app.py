"""nstrace top: the application that draws, in a process of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - asyncio imports it late
import gc
import signal
import time
from typing import ClassVar, Protocol

from rich.console import RenderableType
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from tracer.errors import NstraceError
from tracer.screen.cells import columns
from tracer.screen.field import Field
from tracer.screen.filtering import Condition, Filter
from tracer.screen.lister import ProcessList
from tracer.screen.messages import Channel, Hello, Lines, Message, Played, Request, Said
from tracer.screen.model import SORTS, Model, Proc, Row, match_of
from tracer.screen.pane import BAR, Pane
from tracer.screen.playing import Playing, TimeLine
from tracer.screen.texts import KEYS, foot, head, whole
from tracer.stream.samples import ProcKey, Sample
from tracer.text.escape import safe, safe_text
from tracer.text.width import cut

_TICK_S = 1.0
_FEW_ROWS_S, _SHARE = 0.02, 40
_MANY = 1000
_MAX_EVENTS = 2000
_WHILE_TYPING = ("enter", "escape", "quit")


class Assistant(Protocol):
    """What the screen has others do for it. ended: a descriptor that can be read when whoever began the screen has
    ended; None: nobody did."""

    ended: int | None

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


class Top(App[None]):
    """The screen. channel: to the process that reads; None: messages come by `take` (tests).

    All keys are bound with priority: each has done what it does before the next one is looked at, however fast they
    come. What is typed into the field goes to it.
    """

    CSS = """
    Screen { layout: vertical; }
    .bar, #titles, #head { height: 1; }
    #wrong { height: auto; max-height: 4; color: ansi_red; display: none; }
    #wrong.said { display: block; }
    #time { height: 1; width: 100%; display: none; }
    #time.played { display: block; }
    ProcessList { height: 1fr; scrollbar-size-vertical: 1; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(keys, action, show=False, priority=True)
        for keys, action in {
            "ctrl+c,ctrl+q": "quit",
            "q,f10": "leave",
            "escape": "escape",
            "slash": "ask('search')",
            "F,f4,backslash": "ask('filter')",
            "n": "search_on",
            "t": "tree",
            "s": "sort",
            "a": "all_pids",
            "space": "pause",
            "enter": "enter",
            "e": "events",
            "w": "record",
            "question_mark,h,f1": "help",
            "left": "seek(-1)",
            "right": "seek(1)",
            "0,ctrl+home": "go_to(0)",
            "dollar_sign,ctrl+end": "go_to(1)",
            "full_stop": "ask_reader('step')",
            "plus,equals_sign": "speed(2)",
            "minus": "speed(0.5)",
            "f": "ask_reader('failure')",
            "g": "ask_reader('gap')",
            "G": "ask_reader('gap before')",
        }.items()
    ]

    def __init__(self, channel: Channel[Message] | None, assistant: Assistant) -> None:
        super().__init__(ansi_color=True)
        self.model = Model()
        self.playing = Playing()
        self.error: BaseException | None = None
        self._channel, self._assistant = channel, assistant
        self._sort, self._is_tree, self._is_paused, self._is_over = 0, True, False, False
        self._filter = Filter(assistant.condition)
        self._search = self._said = ""
        self._lines: list[str] = []
        self._rows_due_s = 0.0
        self._shown_changes = -1

    def compose(self) -> ComposeResult:
        """As textual calls it."""
        yield Static(id="head")
        yield TimeLine(self.playing, lambda part: self._ask(self.playing.part_of(part)))
        yield Static(id="titles")
        self.list = ProcessList(lambda: self.model.now_ns)
        yield self.list
        yield Static(id="wrong")
        self.field = Field(self._filter, self._again)
        yield self.field
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
        if self._assistant.ended is not None:
            loop.add_reader(self._assistant.ended, self._is_left_alone)
        self.draw()

    def _is_left_alone(self) -> None:
        """Whoever began us was killed: nobody else will put the terminal right."""
        assert self._assistant.ended is not None
        asyncio.get_running_loop().remove_reader(self._assistant.ended)
        self.exit()

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
            self.model.apply(message)
            self.model.forget(self._assistant.is_unreaped if self.playing.is_live else lambda _proc: False)
            if len(message.born) > _MANY:
                gc.freeze()  # else each look for garbage looks at all of them
            self.draw()
            self._ask(Request("more"))
        elif isinstance(message, Hello):
            self.playing.hello, self.model.wall_offset_ns = message, message.wall_offset_ns
            self.query_one("#time").set_class(not message.is_live, "played")
        elif isinstance(message, Played):
            self.playing.played = message
        elif isinstance(message, Lines):
            self._lines += message.lines
            del self._lines[:-_MAX_EVENTS]
        elif isinstance(message, Said):
            self._say(message.line)

    def _ask(self, request: Request) -> None:
        if self._channel:
            self._channel.send(request)

    def _say(self, line: str) -> None:
        self._said = line
        self.draw()

    def tick(self) -> None:
        """Once a second: states of what is seen."""
        if self.playing.is_live:
            self._look(self.list.seen() + self._filter.to_look_at(list(self.model.procs.values())))
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
        self.query_one("#head", Static).update(
            head(self.model, self.playing.hello.title, self._stands_still, self.size.width)
        )
        self.query_one("#titles", Static).update(Text(self._titles(), BAR, no_wrap=True))
        self.query_one("#foot", Static).update(self._foot())
        wrong = self.query_one("#wrong", Static)
        wrong.update(Text(safe_text(self._filter.wrong)))
        wrong.set_class(bool(self._filter.wrong), "said")
        self.query_one("#time").refresh()

    def _rows(self) -> list[Row]:
        """What the filter leaves; all where it cannot be evaluated, which is said."""
        try:
            return self.model.rows(self._filter.mask, SORTS[self._sort], self._is_tree)
        except NstraceError as error:
            self._filter.fail(error)
            return self.model.rows(None, SORTS[self._sort], self._is_tree)

    @property
    def _stands_still(self) -> bool:
        return self._is_paused or self.playing.played.is_paused

    def _titles(self) -> str:
        titles = columns(self.list.pid_width, self.list.all_pids, self.list.names_container)
        return titles + " " * max(0, self.size.width - len(titles))

    def _foot(self) -> Text:
        if self._said:
            return Text(cut(safe_text(self._said), self.size.width), BAR)
        state = f"filter: {self._filter.text}" if self._filter.text else f"sorted by {SORTS[self._sort]}"
        return Text(foot(self.playing.is_live, safe_text(state), self.size.width), BAR, no_wrap=True)

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

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """As textual calls it: which keys are for the screen, and not for the text over it or for the field; none any
        more where it has been left."""
        if self._is_over:
            return False
        if isinstance(self.screen, Pane):
            return action == "quit"
        return not self.field.asking or action in _WHILE_TYPING

    def action_leave(self) -> None:
        """End."""
        self.exit()

    def exit(self, result: None = None, return_code: int = 0, message: RenderableType | None = None) -> None:
        """As of textual; keys that come after it do nothing."""
        self._is_over = True
        super().exit(result, return_code, message)

    def action_pause(self) -> None:
        """Stand still, or go on."""
        if self.playing.is_live:
            self._is_paused = not self._is_paused
        else:
            self._ask(Request("pause"))
        self._again()

    def action_ask(self, what: str) -> None:
        """Let the user type what to search for, or a filter."""
        self.field.ask(what)

    async def action_enter(self) -> None:
        """What is typed is complete; in the list show one process whole."""
        if not self.field.asking:
            self.action_open()
            return
        if (text := await self.field.submit()) is not None:
            self._search = text
            self.action_search_on()
        if not self.field.asking:
            self.screen.set_focus(self.list)

    async def action_escape(self) -> None:
        """Leave the field as if nothing had been typed; in the list take the filter away."""
        if self.field.asking:
            await self.field.give_up()
            self.screen.set_focus(self.list)
        else:
            self._filter.set("")
            self._again()

    def action_search_on(self) -> None:
        """Go to the next row that is meant."""
        match, rows = match_of(self._search), self.list.rows
        order = [(self.list.cursor + 1 + step) % len(rows) for step in range(len(rows))]
        for at in order if self._search else ():
            proc = rows[at].proc
            if proc and match(proc, rows[at].group):
                self.list.go_to(at)
                return
        self._say(f"nothing matches {self._search!r}" if self._search else "press / to search")

    def on_process_list_went(self) -> None:
        """The cursor is elsewhere: what was said is of before."""
        if self._said:
            self._say("")

    def on_process_list_chosen(self) -> None:
        """A process was clicked twice."""
        self.action_open()

    def action_open(self) -> None:
        """Show one process whole."""
        proc = self.list.chosen
        if proc is None:
            return
        inspected: list[str] = []
        group, offset_ns = self.model.groups.get(proc.lane), self.playing.hello.wall_offset_ns
        title = f"process {proc.pids[0]}: {safe(proc.comm)}"
        pane = Pane(title, lambda: whole(self.model, proc, group, offset_ns, "".join(inspected)))

        async def inspect() -> None:
            inspected.append(await asyncio.to_thread(self._assistant.inspect, proc.pids[0]))
            if pane.is_current:
                pane.renew()

        self.push_screen(pane)
        if self.playing.is_live and proc.ended_ns is None:
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
        if not self.playing.is_live:
            self._say("this is a recording already")
            return

        async def record() -> None:
            self._say(await asyncio.to_thread(self._assistant.record))

        self._say("a moment ...")
        self.run_worker(record())

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(Pane("nstrace top", lambda: Text(KEYS)))

    def action_ask_reader(self, what: str) -> None:
        """Ask the process that plays a recording."""
        if not self.playing.is_live:
            self._ask(Request(what))

    def action_seek(self, way: int) -> None:
        """Back and forth in a recording."""
        if not self.playing.is_live:
            self._ask(self.playing.arrow(way))

    def action_go_to(self, part: float) -> None:
        """To the beginning or the end of a recording."""
        if not self.playing.is_live:
            self._ask(self.playing.part_of(part))

    def action_speed(self, factor: float) -> None:
        """Faster or slower."""
        if not self.playing.is_live:
            self._ask(self.playing.faster(factor))

    def _handle_exception(self, error: Exception) -> None:
        """As textual calls it: end, and leave the report to whoever started us."""
        self.error = error
        self.exit(return_code=1)
