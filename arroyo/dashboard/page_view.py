"""`PageView`: a `ChainView` as the page shows it. PURE.

Figures come to the page as text, so that it shows what `arroyo top` does; only what it draws comes
as numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from arroyo.config.schema import Link
from arroyo.supervision.live.bottleneck import BLOCKED, BUSY
from arroyo.supervision.live.chain_view import ChainView, ReplicaView, StageView
from arroyo.supervision.live.figures import Figures, together
from arroyo.supervision.live.table import Mark, head_of, mark_of, verdict_of
from arroyo.supervision.reporting.formats import amount, mebibytes, percent, short_time


class Figure(NamedTuple):
    """One figure: what it is of, its value, and what it means for its colour."""

    name: str
    value: str
    mark: Mark = ""


class LinkView(msgspec.Struct, frozen=True):
    """A link, at the stage that it leads to."""

    above: str
    link: Link
    rate: str
    """Messages per second that come by it; empty: not known."""


class ReplicaRow(msgspec.Struct, frozen=True):
    """One replica."""

    name: str
    state: str
    mark: Mark
    figures: tuple[Figure, ...]


class StageBox(msgspec.Struct, frozen=True):
    """One stage, as a box of the graph."""

    name: str
    role: str
    state: str
    mark: Mark
    is_bottleneck: bool
    column: int
    """Number of links on the longest way from a listener."""
    links: tuple[LinkView, ...]
    shares: tuple[tuple[str, float], ...]
    """Shares of the time in which it was busy, idle and blocked; without those not known."""
    fill: float | None
    """Messages in flight against their bound, of 1; None: there is no bound."""
    figures: tuple[Figure, ...]
    minute: tuple[float | None, ...]
    """As in `StageView`."""
    replicas: tuple[ReplicaRow, ...]


class PageView(msgspec.Struct, frozen=True):
    """All that a chain shows once a second."""

    chain: str
    head: str
    runs: bool
    verdict: str
    """What holds the chain up, in words."""
    blames: bool
    """Whether anything does."""
    totals: tuple[Figure, ...]
    stages: tuple[StageBox, ...]
    in_quarantine: int
    notes: tuple[str, ...]
    takes_orders: bool
    """Whether the chain can be changed from the page."""


def page_of(view: ChainView, *, takes_orders: bool = False) -> PageView:
    """Return what the page shows of a chain."""
    return PageView(
        view.chain,
        head_of(view),
        view.runs,
        verdict_of(view) if view.runs else "",
        view.bottleneck is not None,
        tuple(_totals(view)),
        tuple(_boxes(view)),
        view.in_quarantine,
        view.notes,
        takes_orders,
    )


def _totals(view: ChainView) -> Iterator[Figure]:
    """Yield figures of the chain as a whole."""
    sources = together([each.figures for each in view.stages if each.role == "listener"])
    sinks = together([each.figures for each in view.stages if each.role == "publisher"])
    yield Figure("received", amount(sources.received))
    yield Figure("published", amount(sinks.sent))
    yield from _rates(together([sources]), ("received_per_s", "in/s"), ("mebibytes_per_s", "MiB/s"))
    yield from _rates(together([sinks]), ("sent_per_s", "out/s"))
    yield Figure("in flight", amount(sources.in_flight))
    everything = together([stage.figures for stage in view.stages])
    yield from _troubles(everything)
    yield from _usage(everything)


def _boxes(view: ChainView) -> Iterator[StageBox]:
    columns = _columns(view.stages)
    bottleneck = view.bottleneck.stage if view.bottleneck else None
    for stage in view.stages:
        yield _box(stage, columns[stage.name], is_bottleneck=stage.name == bottleneck)


def _columns(stages: Iterable[StageView]) -> Mapping[str, int]:
    """Return the columns of all stages, so that each link leads to the right."""
    by_name = {stage.name: stage for stage in stages}
    columns: dict[str, int] = {}

    def column(name: str) -> int:
        if name not in columns:
            above = [column(source) for source, _ in by_name[name].inputs]
            columns[name] = max(above, default=-1) + 1
        return columns[name]

    return {name: column(name) for name in by_name}


def _box(stage: StageView, column: int, *, is_bottleneck: bool) -> StageBox:
    figures = stage.figures
    shares = (("busy", figures.busy), ("idle", figures.idle), ("blocked", figures.blocked))
    return StageBox(
        stage.name,
        stage.role,
        stage.state,
        mark_of(stage.state),
        is_bottleneck,
        column,
        tuple(_link(stage, above, link) for above, link in stage.inputs),
        tuple((name, round(share, 3)) for name, share in shares if share is not None),
        stage.in_flight_max and min(1.0, figures.in_flight / stage.in_flight_max),
        tuple(_of_stage(stage)),
        stage.minute,
        tuple(_row(replica) for replica in stage.replicas),
    )


def _link(stage: StageView, above: str, link: Link) -> LinkView:
    rate = stage.figures.inputs_per_s.get(above)
    return LinkView(above, link, "" if rate is None else f"{amount(rate)}/s")


def _of_stage(stage: StageView) -> Iterator[Figure]:
    figures = stage.figures
    yield from _rates(
        figures,
        *(("received_per_s", "in/s"), ("sent_per_s", "out/s"), ("mebibytes_per_s", "MiB/s")),
    )
    yield from _shares(figures)
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        if (latency_s := figures.latency_s(share)) is not None:
            yield Figure(name, short_time(latency_s))
    yield _in_flight(stage)
    yield from _troubles(figures)


def _rates(figures: Figures, *named: tuple[str, str]) -> Iterator[Figure]:
    for key, name in named:
        rate = getattr(figures, key)
        yield Figure(name, "-" if rate is None else amount(rate), "weak" if not rate else "")


def _shares(figures: Figures) -> Iterator[Figure]:
    if figures.busy is not None:
        yield Figure("busy", percent(figures.busy), "busy" if figures.busy > BUSY else "")
    if figures.blocked is not None:
        yield Figure(
            "blocked", percent(figures.blocked), "warn" if figures.blocked > BLOCKED else ""
        )


def _in_flight(stage: StageView) -> Figure:
    count, most = stage.figures.in_flight, stage.in_flight_max
    if most is None:
        return Figure("in flight", amount(count))
    return Figure("in flight", f"{amount(count)}/{amount(most)}", "busy" if count >= most else "")


_TROUBLES: tuple[tuple[str, Mark], ...] = (
    *(("errors", "warn"), ("rejected", "warn"), ("dropped", "warn"), ("quarantined", "warn")),
    *(("lost", "bad"), ("restarts", "warn")),
)


def _troubles(figures: Figures) -> Iterator[Figure]:
    """Yield counts of what should not happen, where it has."""
    for name, mark in _TROUBLES:
        if count := getattr(figures, name):
            yield Figure(name, amount(count), mark)


_USAGE: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("CPU", "cpu", percent),
    ("RSS", "rss_bytes", mebibytes),
)


def _usage(figures: Figures) -> Iterator[Figure]:
    for name, key, words in _USAGE:
        if (value := getattr(figures, key)) is not None:
            yield Figure(name, words(value))


def _row(replica: ReplicaView) -> ReplicaRow:
    figures = replica.figures
    shown = [] if replica.pid is None else [Figure("pid", str(replica.pid))]
    shown += [*_shares(figures), *_troubles(figures), *_usage(figures)]
    return ReplicaRow(replica.name, replica.state, mark_of(replica.state), tuple(shown))
