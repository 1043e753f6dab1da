"""`TopApp`: the screen of `arroyo top`, by textual.

All that it shows is made by `supervision.live`. What takes time runs in threads, so that keys are
answered at once.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from typing import ClassVar, Protocol

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, Input, Static

from arroyo.errors import ArroyoError
from arroyo.supervision.decisions.events import State
from arroyo.supervision.live.chain_view import ChainView
from arroyo.supervision.live.table import (
    SORTS,
    Sort,
    head_of,
    lay_out,
    links_of,
    verdict_of,
    wrapped,
)

from .screens import HELP, AskNumber, Confirm, LogScreen, Readable, TextScreen, Verb
from .table import ChainTable

EVERY_S = 1.0


class Chain(Protocol):
    """What the screen shows, and what its keys do; all may raise ArroyoError."""

    def look(self) -> ChainView:
        """Return the view of the chain as it is now."""
        ...

    def history(self, name: str) -> str:
        """Return stacks and last transitions of a stage or replica."""
        ...

    def logs(self, name: str) -> Readable:
        """Return the logs of a stage or replica, to be read again and again."""
        ...

    def restart(self, name: str) -> str:
        """Restart a stage or replica in order; return what will be done."""
        ...

    def stop(self, name: str) -> str:
        """Stop a stage or replica in order; return what will be done."""
        ...

    def start(self, name: str) -> str:
        """Start a stage or replica that is stopped or has FAILED; return what will be done."""
        ...

    def scale(self, stage: str, number: int) -> str:
        """Have so many processes of a stage work; return what will be done."""
        ...


class TopApp(App[None]):
    """A chain on the whole terminal; `every_s`: how often it looks."""

    CSS = """
    #head { text-style: bold; }
    #verdict.blames { color: $warning; text-style: bold; }
    #titles { text-style: bold underline; margin-top: 1; text-wrap: nowrap; }
    #links { color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    #notes { color: $warning; max-height: 5; }
    #only { display: none; height: 1; border: none; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "quit", show=False, priority=True),
    ]

    def __init__(self, chain: Chain, every_s: float = EVERY_S) -> None:
        super().__init__()
        self._first = TopScreen(chain, every_s)

    def on_mount(self) -> None:
        """Leave the terminal as it was also when told to end."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit)

    def get_default_screen(self) -> Screen[None]:
        """Return the screen that is shown first."""
        return self._first


class TopScreen(Screen[None]):
    """The table of a chain, with what is said of it above and below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.quit", "Quit"),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("s", "sort", "Sort"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("escape", "clear", show=False),
        Binding("p", "pause", "Pause"),
        Binding("l", "logs", "Logs"),
        Binding("h", "history", "History"),
        Binding("r", "order('restart')", "Restart"),
        Binding("x", "order('stop')", "Stop"),
        Binding("g", "order('start')", "Start"),
        Binding("n", "scale", "Scale"),
    ]

    def __init__(self, chain: Chain, every_s: float) -> None:
        super().__init__()
        self._chain = chain
        self._every_s = every_s
        self._view: ChainView | None = None
        self._trouble = ""
        self._sort: Sort = "graph"
        self._paused = False
        self._table = ChainTable()
        self._only = Input(id="only", placeholder="part of a stage's name")
        names = ("head", "verdict", "titles", "links", "notes")
        self._texts = {name: Static(id=name, markup=False) for name in names}

    def compose(self) -> ComposeResult:
        """Make the widgets, from the top down."""
        texts = self._texts
        yield from (texts["head"], texts["verdict"], texts["titles"])
        yield self._table
        yield from (texts["links"], texts["notes"])
        yield self._only
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self._table.focus()
        self.run_worker(self._look_again_and_again())

    async def _look_again_and_again(self) -> None:
        due_s = time.monotonic()
        while True:
            await self._look()
            self._show()
            now_s = time.monotonic()
            due_s = max(due_s + self._every_s, now_s)
            await asyncio.sleep(due_s - now_s)

    async def _look(self) -> None:
        try:
            view = await asyncio.to_thread(self._chain.look)
        except ArroyoError as error:
            self._trouble = f"{error}; trying again"
        else:
            self._trouble = ""
            if not self._paused:
                self._view = view

    # What is shown

    def _show(self) -> None:
        view = self._view
        if view is None:
            self._write("head", self._trouble)
            return
        self._write("head", "; ".join([head_of(view), *self._settings]))
        self._write("verdict", self._trouble or (verdict_of(view) if view.runs else ""))
        is_bad = bool(self._trouble or view.bottleneck)
        self._texts["verdict"].set_class(is_bad, "blames")
        table = lay_out(view, self.size.width, sort=self._sort, only=self._only.value)
        self._write("titles", table.titles)
        self._table.show(table.rows)
        self._write("notes", *view.notes)
        self._show_links()

    @property
    def _settings(self) -> Iterator[str]:
        if self._sort != "graph":
            yield f"sorted by {self._sort}"
        if self._only.value:
            yield f"only stages with {self._only.value!r}"
        if self._paused:
            yield "PAUSED"

    def _show_links(self) -> None:
        row, view = self._table.selected, self._view
        self._write("links", "" if view is None or row is None else links_of(view, row.stage))

    def _write(self, name: str, *sentences: str) -> None:
        """Write sentences into a widget; the rest is laid out anew only if it must be."""
        text = "\n".join(wrapped(sentences, self.size.width))
        before = str(self._texts[name].content)
        if text != before:
            is_as_high = text.count("\n") == before.count("\n") and bool(text and before)
            self._texts[name].update(text, layout=not is_as_high)

    def on_resize(self) -> None:
        """Lay the table out anew."""
        self._show()

    def on_chain_table_moved(self) -> None:
        """Another row is selected."""
        self._show_links()

    # Keys

    def action_sort(self) -> None:
        """Sort by the next figure."""
        self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        self._show()

    def action_filter(self) -> None:
        """Ask for a part of the names of the stages that are shown."""
        self._only.display = True
        self._only.focus()

    def on_input_changed(self) -> None:
        """Show the stages with this in their names."""
        self._show()

    def on_input_submitted(self) -> None:
        """Go back to the table, which stays as it is."""
        self._only.display = False
        self._table.focus()

    def action_clear(self) -> None:
        """Show all stages."""
        self._only.value = ""
        self.on_input_submitted()

    def action_pause(self) -> None:
        """Keep what is shown, or go on."""
        self._paused = not self._paused
        self._show()

    def action_help(self) -> None:
        """Show the keys."""
        self.app.push_screen(TextScreen("Keys and columns of arroyo top", HELP))

    def action_history(self) -> None:
        """Show the history of what is selected."""
        if name := self._selected:
            text = TextScreen(f"History of {name}", lambda: self._chain.history(name))
            self.app.push_screen(text)

    def action_logs(self) -> None:
        """Follow the logs of what is selected."""
        if name := self._selected:
            self.app.push_screen(LogScreen(name, lambda: self._chain.logs(name)))

    def action_order(self, verb: Verb) -> None:
        """Restart, stop or start what is selected, once that is confirmed."""
        if name := self._selected:
            give = {
                "restart": self._chain.restart,
                "stop": self._chain.stop,
                "start": self._chain.start,
            }[verb]
            self.app.push_screen(Confirm(verb, name), lambda yes: self._give_if(yes, give, name))

    def action_scale(self) -> None:
        """Ask how many processes of the selected stage are to work, and have so many work."""
        row, view = self._table.selected, self._view
        if row is None or view is None:
            return
        stage = next(each for each in view.stages if each.name == row.stage)
        working = sum(replica.state != State.STOPPED for replica in stage.replicas)
        self.app.push_screen(
            AskNumber(stage.name, working, len(stage.replicas)),
            lambda number: self._give_if(number, self._chain.scale, stage.name, number),
        )

    @property
    def _selected(self) -> str:
        """The selected stage, or replica ``STAGE.R``; empty: there is none."""
        row = self._table.selected
        return "" if row is None else row.replica or row.stage

    def _give_if(self, confirmed: object, give: Callable[..., str], *words: object) -> None:
        if confirmed:
            self.run_worker(self._give(give, *words))

    async def _give(self, give: Callable[..., str], *words: object) -> None:
        """Give an order; say what follows from it, or why it is refused."""
        try:
            self.notify(await asyncio.to_thread(give, *words), markup=False)
        except ArroyoError as error:
            self.notify(str(error), severity="error", markup=False)
