"""Plots of all measurements in one picture; needs matplotlib.

Only measured cases are drawn: ratios by what happens to the bytes, rates by chain length and by
replicas, latencies.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from arroyo.bench.case import Chain, size_text
from arroyo.bench.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BY_HAND, ARROYO = "tab:gray", "tab:blue"
PANEL_INCHES = (5.6, 4.2)
GROUP_INCHES = 0.9
"""Width of each bar, or pair of bars, with its labels."""
BAR_WIDTH = 0.36


class _Panel(NamedTuple):
    entries: Sequence[Comparison]
    draw: Callable[[Axes, Sequence[Comparison]], None]
    group_inches: float = 0.0

    @property
    def inches(self) -> float:
        """Width of the panel."""
        return max(PANEL_INCHES[0], self.group_inches * len(self.entries))


class _Dimension(NamedTuple):
    """A dimension of cases other than the message size, and its usual value."""

    field: str
    usual: int
    title: str
    axis: str

    def of(self, comparison: Comparison) -> int:
        """Return the value of a measured chain."""
        return int(getattr(comparison.case, self.field))

    def reference(self, comparisons: Sequence[Comparison]) -> int:
        """Return the value of the chains that others are compared with."""
        counts = {self.of(each) for each in comparisons}
        return self.usual if self.usual in counts else min(counts, default=self.usual)

    def at_reference(self, comparisons: Sequence[Comparison]) -> list[Comparison]:
        """Return the chains with that value."""
        count = self.reference(comparisons)
        return [each for each in comparisons if self.of(each) == count]

    def differing(self, comparisons: Sequence[Comparison]) -> list[Comparison]:
        """Return the chains whose messages were measured with another count as well."""
        counts: dict[int, set[int]] = {}
        for each in comparisons:
            counts.setdefault(each.case.payload_bytes, set()).add(self.of(each))
        return [each for each in comparisons if len(counts[each.case.payload_bytes]) > 1]


LENGTH = _Dimension("length", 2, "Rate against chain length", "stages between source and sink")
REPLICAS = _Dimension("replicas", 1, "Rate against replicas", "processes of each stage in between")


def has_matplotlib() -> bool:
    """Whether anything can be drawn."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_plots(comparisons: Sequence[Comparison], machine: str, path: Path) -> bool:
    """Draw everything into a PNG; returns whether there was anything to draw."""
    by_hand = [each for each in comparisons if each.case.reference == "handwritten"]
    flat_out = [each for each in by_hand if not each.case.interval_s]
    passed_on = [each for each in flat_out if each.case.work == "pass"]
    usual_length, usual_replicas = LENGTH.at_reference(passed_on), REPLICAS.at_reference(passed_on)
    panels = [
        _Panel(REPLICAS.at_reference(LENGTH.at_reference(flat_out)), _draw_ratios, GROUP_INCHES),
        _Panel(LENGTH.differing(usual_replicas), functools.partial(_draw_rates, LENGTH)),
        _Panel(REPLICAS.differing(usual_length), functools.partial(_draw_rates, REPLICAS)),
        _Panel([each for each in by_hand if each.case.interval_s], _draw_latencies, GROUP_INCHES),
    ]
    panels = [panel for panel in panels if panel.entries]
    if not panels:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    widths = [panel.inches for panel in panels]
    figure = Figure(figsize=(sum(widths), PANEL_INCHES[1]), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(machine, fontsize="medium")
    all_axes = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)
    for axes, panel in zip(all_axes[0], panels, strict=True):
        panel.draw(axes, panel.entries)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    return True


def _draw_ratios(axes: Axes, comparisons: Sequence[Comparison]) -> None:
    names = [f"{each.case.work}\n{size_text(each.case.payload_bytes)}" for each in comparisons]
    bars = axes.bar(names, [each.headline for each in comparisons], color=ARROYO)
    axes.bar_label(bars, fmt="%.2f", padding=2)
    axes.axhline(1.0, color=BY_HAND, linestyle="--")
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.margins(y=0.15)
    case = comparisons[0].case
    replicas = f", {case.replicas} replicas" if case.replicas > 1 else ""
    axes.set_title(f"Rate over the hand-written chain's, x{case.length}{replicas}")
    axes.set_xlabel("what happens to the bytes, and payload")
    axes.set_ylabel("ratio (dashed: as fast as by hand)")


def _draw_rates(dimension: _Dimension, axes: Axes, comparisons: Sequence[Comparison]) -> None:
    """Draw rates in percent, a color for each payload."""
    for size in dict.fromkeys(each.case.payload_bytes for each in comparisons):
        line = sorted(
            (each for each in comparisons if each.case.payload_bytes == size), key=dimension.of
        )
        counts = [dimension.of(each) for each in line]
        reference = dimension.at_reference(line)[0]
        [drawn] = axes.plot(
            counts,
            _shares(line, reference, "arroyo"),
            marker="o",
            label=f"Arroyo, {size_text(size)}",
        )
        axes.plot(
            counts,
            _shares(line, reference, "handwritten"),
            marker=".",
            ls="--",
            color=drawn.get_color(),
            label=f"by hand, {size_text(size)}",
        )
    axes.set_ylim(bottom=0)
    axes.set_xticks(sorted({dimension.of(each) for each in comparisons}))
    axes.legend(fontsize="small")
    axes.set_title(dimension.title)
    axes.set_xlabel(dimension.axis)
    axes.set_ylabel(f"% of the rate at {dimension.reference(comparisons)}")


def _shares(line: Sequence[Comparison], reference: Comparison, chain: Chain) -> list[float]:
    """Return the rates of a chain in percent of that of the reference."""
    whole = reference.figures[chain].messages_per_s
    return [100 * each.figures[chain].messages_per_s / whole for each in line]


def _draw_latencies(axes: Axes, comparisons: Sequence[Comparison]) -> None:
    names = [
        f"{'half' if each.case.loaded else f'{1 / each.case.interval_s:,.0f}/s'}\n"
        f"x{each.case.length}"
        for each in comparisons
    ]
    sides = (
        (-0.19, BY_HAND, "by hand", [each.figures["handwritten"] for each in comparisons]),
        (0.19, ARROYO, "Arroyo", [each.figures["arroyo"] for each in comparisons]),
    )
    for shift, color, who, measurements in sides:
        places = [index + shift for index in range(len(measurements))]
        medians = [measurement.hop_p50_us or math.nan for measurement in measurements]
        most = [measurement.hop_p99_us or math.nan for measurement in measurements]
        bars = axes.bar(places, medians, BAR_WIDTH, color=color, label=f"{who}, median")
        axes.bar_label(bars, fmt="%.0f", padding=2, fontsize="small")
        left, right = (
            [place + half for place in places] for half in (-BAR_WIDTH / 2, BAR_WIDTH / 2)
        )
        axes.hlines(most, left, right, color=color, linewidth=2, label=f"{who}, 99 % within")
    axes.set_xticks(range(len(names)), names)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.margins(y=0.3)
    axes.legend(fontsize="small", loc="upper left", ncols=2)
    axes.set_title(f"Latency of a hop, {size_text(comparisons[0].case.payload_bytes)}")
    axes.set_xlabel("load: messages/s, or half of the rate; stages between source and sink")
    axes.set_ylabel("us")
