"""A text over the whole screen of nstrace top."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

BAR = Style(reverse=True)
_RENEWED_S = 1.0


class Pane(ModalScreen[None]):
    """It scrolls, and is made anew once a second."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter,space", "leave", show=False, priority=True)]

    def __init__(self, title: str, make: Callable[[], Text], leaving: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._title_text, self._make, self._leaving = title, make, leaving

    def compose(self) -> ComposeResult:
        """As textual calls it."""
        yield Static(Text(self._title_text, BAR), classes="bar")
        with VerticalScroll():
            yield Static(self._make(), id="text")
        yield Static(Text("Esc back", BAR), classes="bar")

    def on_mount(self) -> None:
        """As textual calls it."""
        self.query_one(VerticalScroll).focus()
        self.set_interval(_RENEWED_S, self.renew)

    def renew(self) -> None:
        """Show what there is to say now."""
        self.query_one("#text", Static).update(self._make())

    def action_leave(self) -> None:
        """Go back."""
        self._leaving()
        self.dismiss()
