"""Plots of a whole run in one picture, for which matplotlib has to be installed.

Only what was measured is drawn: ratios by payload size, rates by chain length, latencies.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .case import size_text
from .pairs import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BY_HAND, ARROYO = "tab:gray", "tab:blue"
USUAL_LENGTH = 2
PANEL_INCHES = (5.6, 4.2)


class _Panel(NamedTuple):
    entries: Sequence[Any]
    draw: Callable[[Axes, Sequence[Any]], None]


def has_matplotlib() -> bool:
    """Whether anything can be drawn."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_plots(comparisons: Sequence[Comparison], machine: str, path: Path) -> bool:
    """Draw everything into a PNG; returns whether there was anything to draw."""
    flat_out = [each for each in comparisons if not each.case.interval_s]
    lengths = {each.case.length for each in flat_out}
    usual = USUAL_LENGTH if USUAL_LENGTH in lengths else min(lengths, default=0)
    panels = [
        _Panel([each for each in flat_out if each.case.length == usual], _draw_ratios),
        _Panel([each for each in flat_out if _has_longer(each, flat_out)], _draw_lengths),
        _Panel([each for each in comparisons if each.case.interval_s], _draw_latencies),
    ]
    panels = [panel for panel in panels if panel.entries]
    if not panels:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = PANEL_INCHES
    figure = Figure(figsize=(width * len(panels), height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(machine, fontsize="medium")
    all_axes = figure.subplots(1, len(panels), squeeze=False)
    for axes, panel in zip(all_axes[0], panels, strict=True):
        panel.draw(axes, panel.entries)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    return True


def _has_longer(each: Comparison, others: Sequence[Comparison]) -> bool:
    """Whether the same chain was measured with another length as well."""
    case = each.case
    return each.case.replicas == 1 and any(
        other.case.payload_bytes == case.payload_bytes
        and other.case.replicas == 1
        and other.case.length != case.length
        for other in others
    )


def _draw_ratios(axes: Axes, comparisons: Sequence[Comparison]) -> None:
    names = [
        size_text(each.case.payload_bytes)
        + (f"\n{each.case.replicas} replicas" if each.case.replicas > 1 else "")
        for each in comparisons
    ]
    bars = axes.bar(names, [each.rate_ratio for each in comparisons], color=ARROYO)
    axes.bar_label(bars, fmt="%.2f", padding=2)
    axes.axhline(1.0, color=BY_HAND, linestyle="--")
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.margins(y=0.15)
    length = comparisons[0].case.length
    axes.set_title(f"Rate over the hand-written chain's, x{length}")
    axes.set_xlabel("payload")
    axes.set_ylabel("ratio (dashed: as fast as by hand)")


def _draw_lengths(axes: Axes, comparisons: Sequence[Comparison]) -> None:
    for size in dict.fromkeys(each.case.payload_bytes for each in comparisons):
        line = sorted(
            (each for each in comparisons if each.case.payload_bytes == size),
            key=lambda each: each.case.length,
        )
        lengths = [each.case.length for each in line]
        reference = next((each for each in line if each.case.length >= USUAL_LENGTH), line[0])
        shares = [
            100 * each.arroyo.messages_per_s / reference.arroyo.messages_per_s for each in line
        ]
        [drawn] = axes.plot(lengths, shares, marker="o", label=f"Arroyo, {size_text(size)}")
        shares = [
            100 * each.handwritten.messages_per_s / reference.handwritten.messages_per_s
            for each in line
        ]
        label = f"by hand, {size_text(size)}"
        axes.plot(lengths, shares, marker=".", ls="--", color=drawn.get_color(), label=label)
    axes.set_ylim(bottom=0)
    axes.set_xticks(sorted({each.case.length for each in comparisons}))
    axes.legend(fontsize="small")
    axes.set_title("Rate against chain length")
    axes.set_xlabel("stages between source and sink")
    axes.set_ylabel(f"% of the rate with {USUAL_LENGTH} stages")


def _draw_latencies(axes: Axes, comparisons: Sequence[Comparison]) -> None:
    names = [
        f"{'half' if each.case.loaded else 'low'}\nx{each.case.length}" for each in comparisons
    ]
    sides = (
        (-0.19, BY_HAND, "by hand", [each.handwritten for each in comparisons]),
        (0.19, ARROYO, "Arroyo", [each.arroyo for each in comparisons]),
    )
    for shift, color, who, outcomes in sides:
        places = [index + shift for index in range(len(outcomes))]
        medians = [outcome.hop_p50_us or math.nan for outcome in outcomes]
        most = [outcome.hop_p99_us or math.nan for outcome in outcomes]
        bars = axes.bar(places, medians, 0.36, color=color, label=f"{who}, median")
        axes.bar_label(bars, fmt="%.0f", padding=2, fontsize="small")
        axes.scatter(places, most, color=color, marker="_", s=300, label=f"{who}, 99 % within")
    axes.set_xticks(range(len(names)), names)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.margins(y=0.3)
    axes.legend(fontsize="small", loc="upper left", ncols=2)
    axes.set_title(f"Latency of a hop, {size_text(comparisons[0].case.payload_bytes)}")
    axes.set_xlabel("load: low, or half of the rate; stages between source and sink")
    axes.set_ylabel("us")
