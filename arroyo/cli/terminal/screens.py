"""Screens that `arroyo top` opens over its table: a text, growing logs, a question."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, Protocol

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, RichLog, Static

from arroyo.errors import ArroyoError

LOOK_S = 0.5
LINES_MAX = 5000
_TITLE_CSS = """
#title { width: 100%; text-style: bold; background: $panel; }
#text { padding: 1 0; }
RichLog, RichLog:focus { background: $background; background-tint: $background 0%; }
"""


class Readable(Protocol):
    """A text that grows."""

    def read(self) -> str:
        """Return what was added since the last call."""
        ...

    def close(self) -> None:
        """Let it go."""
        ...


class TextScreen(Screen[None]):
    """A text to read; `text`: it, or what takes a while to make it, and may raise ArroyoError."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss", "Back")]
    CSS = _TITLE_CSS

    def __init__(self, title: str, text: str | Callable[[], str]) -> None:
        super().__init__()
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        yield Static(f"{self._title}  (escape: back)", id="title", markup=False)
        with VerticalScroll():
            yield Static("one moment ...", id="text", markup=False)
        yield Footer()

    async def on_mount(self) -> None:
        """Get the text."""
        self.query_one(VerticalScroll).focus()
        self.run_worker(self._get())

    async def _get(self) -> None:
        text = self._text
        if not isinstance(text, str):
            try:
                text = await asyncio.to_thread(text)
            except ArroyoError as error:
                text = str(error)
        self.query_one("#text", Static).update(text)


class LogScreen(Screen[None]):
    """Logs as they grow; `opened` opens them, and may raise ArroyoError."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Back"),
        Binding("f", "follow", "Follow"),
    ]
    CSS = _TITLE_CSS

    def __init__(self, name: str, opened: Callable[[], Readable]) -> None:
        super().__init__()
        self._name = name
        self._opened = opened

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        yield Static(f"Logs of {self._name}, last hour  (escape: back)", id="title", markup=False)
        yield RichLog(max_lines=LINES_MAX, min_width=0)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to read."""
        self.query_one(RichLog).focus()
        self.run_worker(self._follow())

    async def _follow(self) -> None:
        log = self.query_one(RichLog)
        try:
            logs = await asyncio.to_thread(self._opened)
        except ArroyoError as error:
            log.write(str(error))
            return
        try:
            while True:
                for line in (await asyncio.to_thread(logs.read)).splitlines():
                    log.write(Text.from_ansi(line))
                await asyncio.sleep(LOOK_S)
        finally:
            logs.close()

    def action_follow(self) -> None:
        """Go on with new lines, or stay where it is."""
        log = self.query_one(RichLog)
        log.auto_scroll = not log.auto_scroll
        if log.auto_scroll:
            log.scroll_end(animate=False)


class Confirm(ModalScreen[bool]):
    """Asks whether a stage or replica is to be restarted."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "Restart"),
        Binding("n,escape,q", "dismiss(False)", "Leave it"),
    ]
    CSS = """
    Confirm { align: center middle; }
    #question { width: auto; max-width: 90%; padding: 1 2; border: round $warning; }
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._asked = name

    def compose(self) -> ComposeResult:
        """Make the question."""
        yield Static(
            f"Restart {self._asked}?\n\nEach process drains and starts again; nothing is lost.\n"
            "A listener ends its run, and begins another one.\n\ny: restart    n: leave it",
            id="question",
            markup=False,
        )
