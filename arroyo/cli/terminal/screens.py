"""Screens that `arroyo top` opens over its table: a text, growing logs, questions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, Literal, Protocol, TypeAlias

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, Input, RichLog, Static

from arroyo.errors import ArroyoError

Verb: TypeAlias = Literal["restart", "stop", "start"]
"""An order that is given to what is selected."""
HELP = """\
up, down, j, k   select a stage, or one of its replicas
s                sort: as the graph, by in/s, busy, latency, CPU, RSS
/                show only stages with this in their names; escape: all
p                pause: keep what is shown, or go on
l                follow the logs of what is selected
h                history of it: where its threads are, what it did last
r                restart it in order, without loss
x                stop it in order, and hold it STOPPED
g                go: start what is stopped or has FAILED
n                number of its processes that are to work (scale)
                 these four ask before they do it
q                quit; the chain goes on

in/s, out/s      messages per second, over the last three seconds
busy             share of that time in which the stage's code worked
idle             share in which it had nothing to do
blocked          share in which it could take nothing more: a stage below
                 has no room, or the listener's window is full
p50, p99         latency from the listener: median, 99th percentile
in flight        not finished yet; of a listener with the bound
<                the stage that holds the chain up
> and ~          below a push-pull link, below a pub-sub link
"""
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


_QUESTIONS: dict[Verb, str] = {
    "restart": "Each process drains and starts again; nothing is lost.\n"
    "A listener ends its run, and begins another one.",
    "stop": "It finishes what it has in hand and stays STOPPED. What should go there waits, and\n"
    "slows the source; on pub-sub links it passes by. A listener's run ends.",
    "start": "What is stopped starts again, and what has FAILED is tried again now.",
}
_QUESTION_CSS = """
Confirm, AskNumber { align: center middle; }
#question { width: auto; max-width: 90%; padding: 1 2; border: round $warning; }
#number { width: 20; }
"""


class Confirm(ModalScreen[bool]):
    """Asks whether an order is to be given to a stage or replica."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "Yes"),
        Binding("n,escape,q", "dismiss(False)", "Leave it"),
    ]
    CSS = _QUESTION_CSS

    def __init__(self, verb: Verb, name: str) -> None:
        super().__init__()
        self._question = (
            f"{verb.capitalize()} {name}?\n\n{_QUESTIONS[verb]}\n\ny: {verb}    n: leave it"
        )

    def compose(self) -> ComposeResult:
        """Make the question."""
        yield Static(self._question, id="question", markup=False)


class AskNumber(ModalScreen[int | None]):
    """Asks how many processes of a stage are to work; `most`: that it has."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Leave it")]
    CSS = _QUESTION_CSS

    def __init__(self, stage: str, working: int, most: int) -> None:
        super().__init__()
        self._most = most
        self._question = (
            f"How many of the {most} processes of {stage} are to work? {working} do now.\n\n"
            "The others finish what they have in hand and stop; nothing is lost.\n\n"
            "enter: do it    escape: leave it"
        )

    def compose(self) -> ComposeResult:
        """Make the question, and where to type the number."""
        yield Static(self._question, id="question", markup=False)
        yield Input(id="number", type="integer", placeholder=f"1 to {self._most}")

    def on_input_submitted(self, submitted: Input.Submitted) -> None:
        """Take the number, if it is one that may be."""
        if submitted.value.isdecimal() and 1 <= int(submitted.value) <= self._most:
            self.dismiss(int(submitted.value))
