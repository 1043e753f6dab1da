"""`ChainTable`: the rows of `arroyo top`, of which one is selected."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from arroyo.supervision.live.table import GAP, Mark, Row

_STYLES: dict[Mark, Style] = {
    "": Style.null(),
    "good": Style(color="green"),
    "warn": Style(color="yellow"),
    "bad": Style(color="red", bold=True),
    "busy": Style(color="magenta", bold=True),
    "weak": Style(dim=True),
}
_SELECTED = Style(reverse=True)


class ChainTable(ScrollView, can_focus=True):
    """Rows that are replaced again and again; the selection stays with its stage or replica."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "move(-10)", show=False),
        Binding("pagedown", "move(10)", show=False),
        Binding("home", "move(-100000)", show=False),
        Binding("end", "move(100000)", show=False),
    ]

    class Moved(Message):
        """Another row is selected."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: tuple[Row, ...] = ()
        self._at = 0

    @property
    def selected(self) -> Row | None:
        """The selected row; None: there are no rows."""
        return self._rows[self._at] if self._rows else None

    def show(self, rows: tuple[Row, ...]) -> None:
        """Show these rows."""
        before, self._rows = self._rows, rows
        names = [(row.stage, row.replica) for row in self._rows]
        was = (before[self._at].stage, before[self._at].replica) if before else None
        at = names.index(was) if was in names else min(self._at, max(0, len(names) - 1))
        if len(before) != len(names) or at != self._at:
            self._at = at
            self.virtual_size = Size(self.size.width, len(names))
            self.refresh()
            return
        for index, (row, old) in enumerate(zip(self._rows, before, strict=True)):
            if row != old:
                self.refresh_row(index)

    def refresh_row(self, index: int) -> None:
        """Draw one row anew."""
        self.refresh(Region(0, index - self.scroll_offset.y, self.size.width, 1))

    def action_move(self, by: int) -> None:
        """Select the row so many below."""
        if not self._rows:
            return
        before, self._at = self._at, min(max(0, self._at + by), len(self._rows) - 1)
        self.refresh_row(before)
        self.refresh_row(self._at)
        self.scroll_to_region(Region(0, self._at, 1, 1), animate=False)
        self.post_message(self.Moved())

    def render_line(self, y: int) -> Strip:
        """Return one line of the screen."""
        index = y + self.scroll_offset.y
        if index >= len(self._rows):
            return Strip.blank(self.size.width, self.rich_style)
        is_selected = index == self._at
        base = self.rich_style + (_SELECTED if is_selected else Style.null())
        segments = []
        for cell in self._rows[index].cells:
            style = base if is_selected else base + _STYLES[cell.mark]
            segments += [Segment(cell.text, style), Segment(GAP, base)]
        return Strip(segments).simplify().adjust_cell_length(self.size.width, base)
