"""Tables for people. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from arroyo.bench.case import Case, Chain, Measurement
from arroyo.bench.comparison import Comparison, Ratios
from arroyo.bench.restart_times import Idle, Restarts, Start

NAMES: Mapping[Chain, str] = {
    "handwritten": "by hand",
    "typed": "typed by hand",
    "pool": "Pool",
    "limit": "the limit",
}
"""What people read; other chains have their own names."""

_WORKING: tuple[Chain, Chain] = ("limit", "arroyo")


def comparison_table(comparisons: Sequence[Comparison], ours: str = "arroyo") -> str:
    """Return one line per case: rates or latencies of all chains, their ratios, CPU per message.

    The rate of the limit is left out, since nothing has run: only the share of it is of interest.
    """
    present = {chain for each in comparisons for chain in each.ratios}
    others = [chain for chain in get_args(Chain) if chain in present]
    rivals = [chain for chain in others if chain != "limit"]
    names = [NAMES.get(chain, chain) for chain in rivals]
    head = (
        "chain",
        *names,
        ours,
        *(f"of {NAMES.get(chain, chain)}" for chain in others),
        *(f"CPU {name}" for name in (*names, ours)),
    )
    return table([head, *(_row(comparison, others, rivals) for comparison in comparisons)])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns, the first to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _row(
    comparison: Comparison, others: Sequence[Chain], rivals: Sequence[Chain]
) -> tuple[str, ...]:
    shown: list[Chain] = [*rivals, "arroyo"]
    figures = [comparison.figures.get(chain) for chain in shown]
    return (
        comparison.case.label,
        *(_speed(comparison.case, figure) for figure in figures),
        *(_ratio(comparison.ratios.get(chain)) for chain in others),
        *("-" if each is None else f"{each.cpu_us_per_message:,.1f} us" for each in figures),
    )


def _speed(case: Case, figure: Measurement | None) -> str:
    if figure is None:
        return "-"
    if figure.hop_p50_us is not None:
        return f"{figure.hop_p50_us:.0f} / {figure.hop_p99_us:.0f} us"
    if case.frames and case.work != "integrate":
        return f"{figure.mib_per_s:,.0f} MiB/s"
    return f"{figure.messages_per_s:,.0f} /s"


def _ratio(ratios: Ratios | None) -> str:
    if ratios is None:
        return "-"
    return f"{ratios.rate if ratios.latency is None else ratios.latency:.2f}"


def work_lines(comparisons: Sequence[Comparison]) -> list[str]:
    """Say for each case with a timed function what that takes inside and outside of a chain."""
    lines = []
    for each in comparisons:
        if each.work_cpu_ratio is not None:
            outside, inside = (each.figures[chain] for chain in _WORKING)
            lines.append(
                f"{each.case.label}: the stage's own function takes {_cpu_text(inside)} of CPU "
                f"for a frame, outside of a chain {_cpu_text(outside)} ({each.work_cpu_ratio:.2f})"
            )
    return lines


def _cpu_text(figure: Measurement) -> str:
    return f"{(figure.work_cpu_us or 0) / 1e3:.2f} ms"


def restarts_line(found: Restarts) -> str:
    """Say how fast a killed stage is back."""
    times = ", ".join(f"{each:.0f}" for each in sorted(found.kill_to_ready_ms))
    return f"kill -9 to READY: median {found.median_ms:.0f} ms of {times}"


def start_line(found: Start) -> str:
    """Say how fast a large chain starts and stops."""
    return (
        f"{found.stages} stages that import numpy and zmq: all READY after "
        f"{found.all_ready_s:.2f} s, stopped within {found.stop_s:.2f} s"
    )


def idle_line(found: Idle) -> str:
    """Say what an idle chain costs."""
    stages = ", ".join(f"{stage} {mib:.1f}" for stage, mib in found.stage_rss_mib.items())
    return (
        f"{found.stages} idle stages: supervisor {found.supervisor_rss_mib:.1f} MiB and "
        f"{found.supervisor_cpu_percent:.1f} % of a core; MiB per stage: {stages}"
    )
