"""A `ChainView` as a table: columns, cells and what they mean, for any place that shows text. PURE.

A row per stage, and one below it for each replica where there are several. Columns that would only
have zeros are left out, and then those that matter least until the rest fits into the width.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

from arroyo.config.schema import Link
from arroyo.supervision.decisions.events import State
from arroyo.supervision.reporting.formats import amount, mebibytes, percent, short_time

from .bottleneck import BLOCKED, BUSY
from .chain_view import ChainView, ReplicaView, StageView
from .figures import Figures
from .last_minute import PARTS, sparkline

Mark: TypeAlias = Literal["", "good", "warn", "bad", "busy", "weak"]
"""What a cell means, for its colour; the text says it as well."""
Sort: TypeAlias = Literal["graph", "in/s", "busy", "latency", "CPU", "RSS"]
BOTTLENECK = "<"
"""Stands behind the name of the stage that holds the chain up."""
GAP = "  "
SORTS: tuple[Sort, ...] = get_args(Sort)
_INDENT_MOST = 5


class Cell(NamedTuple):
    """One cell of a row."""

    text: str
    mark: Mark = ""


class Row(NamedTuple):
    """One row, aligned."""

    stage: str
    replica: str | None
    """``STAGE.R``; None: it is the row of a whole stage."""
    cells: tuple[Cell, ...]

    @property
    def text(self) -> str:
        """The whole line."""
        return GAP.join(cell.text for cell in self.cells).rstrip()


class Table(NamedTuple):
    """Titles of the columns, aligned as the rows below them."""

    titles: str
    rows: tuple[Row, ...]


_Show: TypeAlias = Callable[[StageView, ReplicaView | None], Cell]
"""Makes a cell of a stage, or of a replica of it."""


class _Column(NamedTuple):
    title: str
    cell: _Show
    width: int
    matters: int
    """Columns with a higher number are left out first."""
    unless_zero: str = ""
    """Figure that is left out where it is 0 everywhere."""


def lay_out(view: ChainView, width: int | None, *, sort: Sort = "graph", only: str = "") -> Table:
    """Return the table of a chain.

    Parameters
    ----------
    width
        In characters; None: as wide as it gets.
    only
        Part of the names of the stages that are shown.
    """
    subjects = [each for each in _subjects(view, sort) if only in each[0].name]
    names = [_name(view, stage, replica) for stage, replica in subjects]
    states = [_state((replica or stage).state) for stage, replica in subjects]
    name_width = max(map(len, ["name", *names]))
    state_width = max(len(cell.text) for cell in (*states, Cell("state")))
    columns = _fitting(view, width, name_width + len(GAP) + state_width)
    titles = [Cell("name".ljust(name_width)), Cell("state".ljust(state_width))]
    titles += [Cell(column.title.rjust(column.width)) for column in columns]
    rows = []
    for (stage, replica), name, state in zip(subjects, names, states, strict=True):
        is_bottleneck = view.bottleneck is not None and view.bottleneck.stage == stage.name
        first = Cell(name.ljust(name_width), "busy" if is_bottleneck and replica is None else "")
        cells = [first, Cell(state.text.ljust(state_width), state.mark)]
        cells += [_cell(column, stage, replica) for column in columns]
        rows.append(Row(stage.name, None if replica is None else replica.name, tuple(cells)))
    return Table(Row("", None, tuple(titles)).text, tuple(rows))


def _subjects(view: ChainView, sort: Sort) -> Iterator[tuple[StageView, ReplicaView | None]]:
    """Yield what has a row: a stage, or a stage and its replica."""
    stages: Sequence[StageView] = view.stages
    if sort != "graph":
        stages = sorted(
            stages, key=lambda stage: _SORT_KEYS[sort](stage.figures) or 0.0, reverse=True
        )
    for stage in stages:
        yield stage, None
        if len(stage.replicas) > 1:
            yield from ((stage, replica) for replica in stage.replicas)


_SORT_KEYS: dict[Sort, Callable[[Figures], float | None]] = {
    "in/s": lambda figures: figures.received_per_s,
    "busy": lambda figures: figures.busy,
    "latency": lambda figures: figures.latency_s(0.99),
    "CPU": lambda figures: figures.cpu,
    "RSS": lambda figures: figures.rss_bytes,
}


def _name(view: ChainView, stage: StageView, replica: ReplicaView | None) -> str:
    indent = " " * min(stage.depth, _INDENT_MOST)
    if replica is not None:
        return f"{indent}  .{replica.name.rpartition('.')[2]}"
    arrow = ""
    if stage.depth:
        arrow = "> " if any(link == "push-pull" for _, link in stage.inputs) else "~ "
    several = f" x{len(stage.replicas)}" if len(stage.replicas) > 1 else ""
    blamed = f" {BOTTLENECK}" if view.bottleneck and view.bottleneck.stage == stage.name else ""
    return f"{indent}{arrow}{stage.name}{several}{blamed}"


def _state(state: str) -> Cell:
    return Cell(state, mark_of(state))


def mark_of(state: str) -> Mark:
    """Return what a state means."""
    if state == State.READY:
        return "good"
    return "bad" if state in {State.FAILED, State.BACKOFF} else "warn"


def _cell(column: _Column, stage: StageView, replica: ReplicaView | None) -> Cell:
    found = column.cell(stage, replica)
    return Cell(found.text.rjust(column.width), found.mark)


def _fitting(view: ChainView, width: int | None, used: int) -> list[_Column]:
    """Return the columns that are shown, in their order."""
    wanted = [
        column
        for column in _COLUMNS
        if not column.unless_zero
        or any(getattr(stage.figures, column.unless_zero) for stage in view.stages)
    ]
    fitting = set()
    for column in sorted(wanted, key=lambda column: column.matters):
        more = len(GAP) + column.width
        if width is None or used + more <= width:
            used += more
            fitting.add(column.title)
    return [column for column in wanted if column.title in fitting]


def _of(
    figure: Callable[[Figures], float | None],
    words: Callable[[float], str] = amount,
    mark: Mark = "",
    above: float = 0.0,
) -> _Show:
    """Return what shows a figure; it is marked where it is more than `above`."""

    def show(stage: StageView, replica: ReplicaView | None) -> Cell:
        value = figure((replica or stage).figures)
        if value is None:
            return Cell("-", "weak")
        return Cell(words(value), "weak" if not value else mark if value > above else "")

    return show


def _in_flight(stage: StageView, replica: ReplicaView | None) -> Cell:
    """Return the messages in flight, of a listener with their bound: ``12/65.5k``."""
    if stage.role == "program":
        return Cell("-", "weak")
    count = (replica or stage).figures.in_flight
    if stage.in_flight_max is None:
        return Cell(amount(count), "" if count else "weak")
    most = stage.in_flight_max // (1 if replica is None else len(stage.replicas))
    return Cell(f"{amount(count)}/{amount(most)}", "busy" if count >= most else "")


def _minute(stage: StageView, replica: ReplicaView | None) -> Cell:
    return Cell(sparkline(stage.minute) if replica is None else "")


_COLUMNS = (
    _Column("in/s", _of(lambda each: each.received_per_s), 5, 1),
    _Column("out/s", _of(lambda each: each.sent_per_s), 5, 9),
    _Column("MiB/s", _of(lambda each: each.mebibytes_per_s), 5, 8),
    _Column("busy", _of(lambda each: each.busy, percent, "busy", BUSY), 5, 2),
    _Column("idle", _of(lambda each: each.idle, percent), 5, 13),
    _Column("blocked", _of(lambda each: each.blocked, percent, "warn", BLOCKED), 7, 3),
    _Column("p50", _of(lambda each: each.latency_s(0.5), short_time), 7, 11),
    _Column("p99", _of(lambda each: each.latency_s(0.99), short_time), 7, 5),
    _Column("in flight", _in_flight, 9, 4),
    _Column("errors", _of(lambda each: each.errors, mark="warn"), 6, 0, "errors"),
    _Column("rejected", _of(lambda each: each.rejected, mark="warn"), 8, 0, "rejected"),
    _Column("dropped", _of(lambda each: each.dropped, mark="warn"), 7, 0, "dropped"),
    _Column("quarantined", _of(lambda each: each.quarantined, mark="warn"), 11, 0, "quarantined"),
    _Column("lost", _of(lambda each: each.lost, mark="bad"), 5, 0, "lost"),
    _Column("restarts", _of(lambda each: each.restarts, mark="warn"), 8, 0, "restarts"),
    _Column("CPU", _of(lambda each: each.cpu, percent), 5, 6),
    _Column("RSS", _of(lambda each: each.rss_bytes, mebibytes), 9, 10),
    _Column("last minute".ljust(PARTS), _minute, PARTS, 7),
)


def head_of(view: ChainView) -> str:
    """Say in one line how the chain is, and how long its messages take."""
    if not view.runs:
        return f"chain {view.chain}: not running; waiting for it"
    by = f"supervisor {view.supervisor}" if view.supervisor else "no supervisor"
    head = f"chain {view.chain}: {view.state} ({by})"
    if view.latency_p50_s is not None and view.latency_p99_s is not None:
        median, most = short_time(view.latency_p50_s), short_time(view.latency_p99_s)
        head += f", from source to publisher {median}, 99 % within {most}"
    return head


def verdict_of(view: ChainView) -> str:
    """Say in one line what holds the chain up."""
    return view.bottleneck.words if view.bottleneck else "no stage holds the chain up"


def links_of(view: ChainView, name: str) -> str:
    """Say in one line what comes into a stage and where that goes, per second."""
    stage = next(each for each in view.stages if each.name == name)
    above = [_link(source, stage, link) for source, link in stage.inputs]
    below = [
        _link(each.name, each, link, of=name)
        for each in view.stages
        for source, link in each.inputs
        if source == name
    ]
    ends = [", ".join(above), name, ", ".join(below)]
    return f"links: {' -> '.join(filter(None, ends))}"


def _link(end: str, receiver: StageView, link: Link, of: str | None = None) -> str:
    """Name the other end of a link, and what its receiver gets; `of`: its sender, else `end`."""
    rate = receiver.figures.inputs_per_s.get(of or end)
    told = "" if rate is None else f" {amount(rate)}/s"
    return f"{end}{told}" if link == "push-pull" else f"{end}{told} (pub-sub)"


def as_text(view: ChainView, width: int | None) -> list[str]:
    """Return all that a view tells as lines; sentences are wrapped to a width."""
    sentences = [head_of(view), *([verdict_of(view)] if view.runs else ())]
    table = lay_out(view, width)
    rows = [table.titles, *(row.text for row in table.rows)] if view.runs else []
    return [*wrapped(sentences, width), *rows, *wrapped(view.notes, width)]


def wrapped(sentences: Iterable[str], width: int | None) -> list[str]:
    """Return sentences as lines of this width; None: each is one line."""
    if width is None:
        return list(sentences)
    return [line for sentence in sentences for line in textwrap.wrap(sentence, max(10, width))]
