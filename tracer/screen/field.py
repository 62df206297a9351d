"""The line of nstrace top into which is typed: a search, or a filter that shows what it leaves meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from textual import events
from textual.timer import Timer
from textual.widgets import Input

from tracer.screen.filtering import Filter

_TYPING_S = 0.3
_HINTS = {
    "search": "search: a PID of any level, a command, a container",
    "filter": "filter, in SQL: comm = 'sh' and uid <> 0, container = 'web', args like '%-c%', ns_pid < 10, state = 'Z'",
}


class Field(Input):
    """asking: what is being typed, search or filter; "": nothing. filter: what is applied; shows: called when that has
    changed."""

    DEFAULT_CSS = """
    Field { height: 1; border: none; padding: 0; display: none; }
    Field:focus { border: none; }
    Field.asked { display: block; }
    """

    def __init__(self, filter_: Filter, shows: Callable[[], None]) -> None:
        super().__init__(id="ask")
        self.asking = ""
        self._filter, self._shows = filter_, shows
        self._typing: Timer | None = None

    def ask(self, what: str) -> None:
        """Let it be typed, from the next key on."""
        self.asking = what
        self.placeholder = _HINTS[what]
        self.value = self._filter.edit() if what == "filter" else ""
        self.add_class("asked")
        self.screen.set_focus(self)

    async def _on_key(self, event: events.Key) -> None:
        """As textual calls it: keys that edit do so in their turn, among those that are typed. Left to themselves they
        would first go through all that is around the field."""
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            event.stop()
            event.prevent_default()
            await self.app.run_action(binding.action, self)
            return

    def on_input_changed(self, event: Input.Changed) -> None:
        """A filter shows what it leaves as soon as the user looks up."""
        event.stop()
        if self.asking == "filter":
            self._stop_typing()
            self._typing = self.set_timer(_TYPING_S, lambda: self._try(event.value))

    def _stop_typing(self) -> None:
        if self._typing:
            self._typing.stop()

    def _try(self, text: str) -> None:
        self._filter.set(text)
        self._shows()

    async def typed(self) -> str:
        """The text, with all keys that came before."""
        has_come = asyncio.Event()
        if self.call_later(has_come.set):
            await has_come.wait()
        return self.value

    async def submit(self) -> str | None:
        """The text is complete: a search is given back, a filter applied; one that is wrong stays to be mended."""
        text, what = await self.typed(), self.asking
        if what == "filter":
            self._stop_typing()
            self._try(text)
            if self._filter.wrong:
                return None
        self.leave()
        return text if what == "search" else None

    async def give_up(self) -> None:
        """As if nothing had been typed."""
        await self.typed()
        self._stop_typing()
        if self.asking == "filter":
            self._filter.undo()
        self.leave()
        self._shows()

    def leave(self) -> None:
        """Type no more."""
        self.asking = ""
        self.remove_class("asked")
